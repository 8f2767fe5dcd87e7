"""Labels that people give in tests."""

from django.contrib.auth.models import User

from forests.core.opinions.verdicts import Verdict
from forests.core.tree import NodePath
from forests.labels.storage import NewLabel, StepLabels, record_label
from forests.models import Forest


def say(
    forest: Forest,
    index: int,
    path: NodePath,
    person: str,
    verdict: Verdict | None,
    note: str | None = None,
    *,
    is_blind: bool = False,
) -> StepLabels:
    """Let a person label a step."""
    return record_label(forest, index, path, NewLabel(person, verdict, note, is_blind))


def person(name: str) -> str:
    """Return the id of the user with this name; create the user if there is none."""
    return str(User.objects.get_or_create(username=name)[0].pk)
