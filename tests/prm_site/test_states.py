"""All that tell a forest's state are asked at once, and must say the same."""

import io
import re
from collections.abc import Callable

import pytest
from django.core.management.base import CommandError, OutputWrapper
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from forests.core.states import ForestState
from forests.models import Forest
from rollouts.commands import check_outcome
from rollouts.watching import watch_growth
from tests.forests.pages import FOREST, TREE, text_of
from tests.forests.states import IN_EACH_STATE, finished, waiting

pytestmark = pytest.mark.django_db


def on_page(client: Client, address: str) -> set[str]:
    return set(
        re.findall(r'<span class="badge state-[a-z-]+">([^<]+)</span>', text_of(client, address))
    )


def in_admin(client: Client) -> set[str]:
    cells = re.findall(
        r'<td class="field-state">([^<]+)</td>', text_of(client, "/admin/forests/forest/")
    )
    return {cell.partition(":")[0] for cell in cells}


def in_metrics(client: Client) -> set[str]:
    return {
        sample.labels["state"]
        for family in text_string_to_metric_families(text_of(client, "/metrics"))
        for sample in family.samples
        if sample.name == "prm_forest_state" and sample.value == 1
    }


def to_watcher(forest: Forest) -> str:
    """Return the line that `populate_forest --watch` and `rollout_worker` print."""
    log = io.StringIO()
    summary = watch_growth(forest.name, OutputWrapper(log), goes_on=lambda _: False)
    assert f"trees, {summary.state}" in log.getvalue()
    return summary.state


@pytest.mark.parametrize(("make", "state"), IN_EACH_STATE)
def test_list_forest_tree_admin_commands_and_metrics_tell_one_state(
    admin_client: Client, make: Callable[[], Forest], state: ForestState
):
    forest = make()

    told = {
        "list": on_page(admin_client, "/"),
        "forest": on_page(admin_client, FOREST),
        "admin": in_admin(admin_client),
        "metrics": in_metrics(admin_client),
        "watcher": {to_watcher(forest)},
    }
    if forest.num_trees:
        told["tree"] = on_page(admin_client, TREE)

    assert told == {place: {str(state)} for place in told}


@pytest.mark.parametrize(("make", "state"), IN_EACH_STATE)
def test_a_command_that_ends_before_the_trees_do_says_the_state_and_what_to_run(
    make: Callable[[], Forest], state: ForestState
):
    forest = make()
    if not forest.num_pending and not forest.num_failed:
        check_outcome(forest.name)
        return

    with pytest.raises(CommandError, match=re.escape(str(state))) as caught:
        check_outcome(forest.name)

    goes_on_by_itself = state in (ForestState.GROWING, ForestState.WAITING)
    assert ("(next: `python manage.py " in str(caught.value)) is not goes_on_by_itself
    part = {ForestState.LIMIT_SPENT, ForestState.FINISHED_WITH_FAILURES}
    assert caught.value.returncode == (3 if state in part else 1)


def test_the_metric_of_waits_follows_the_state(admin_client: Client):
    waiting()
    html = text_of(admin_client, "/metrics")
    assert 'prm_waits_for_backend{forest="ducks-test-first"} 1.0' in html


def test_a_finished_forest_is_green_and_one_with_failures_is_not(admin_client: Client):
    finished()
    assert 'class="badge state-finished"' in text_of(admin_client, "/")
