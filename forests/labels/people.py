"""Names of the people who label. A label keeps the id of its user, because names may change."""

from collections.abc import Iterable, Mapping

from bson import ObjectId
from django.contrib.auth.models import User

FORMER = "a former user"


def names_of(people: Iterable[str]) -> Mapping[str, str]:
    """Return the user names of people, by their ids; `FORMER` for deleted users."""
    wanted = set(people)
    known = [one for one in wanted if ObjectId.is_valid(one)]
    found = User.objects.filter(pk__in=known).values_list("pk", "username") if known else ()
    return {**dict.fromkeys(wanted, FORMER), **{str(key): name for key, name in found}}
