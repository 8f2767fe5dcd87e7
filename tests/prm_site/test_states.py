"""All places that show a forest's state show the same state at the same time."""

import re
from collections.abc import Callable

import pytest
from django.core.management.base import CommandError
from django.test import Client

from forests.models import Forest
from forests.progress.states import ForestState
from rollouts.growth_arguments import check_outcome
from tests.forests.addresses import text_of
from tests.forests.states import IN_EACH_STATE, finished, waiting
from tests.prm_site.told_states import told_states

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(("make", "state"), IN_EACH_STATE)
def test_list_forest_tree_admin_commands_and_metrics_tell_one_state(
    admin_client: Client, make: Callable[[], Forest], state: ForestState
):
    forest = make()

    told = told_states(admin_client, [forest])[forest.name]

    assert len(told) == 5 + bool(forest.num_trees)
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
