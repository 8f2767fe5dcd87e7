"""Which state follows from which facts."""

from dataclasses import replace
from typing import Any

import pytest

from forests.progress.states import ForestFacts, ForestState, standing_of, state_of

PENDING = ForestFacts("f", num_trees=4)
GROWING = replace(PENDING, has_started=True, is_worked_on=True)
ABANDONED = replace(PENDING, has_started=True)


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        (PENDING, "pending"),
        (GROWING, "growing"),
        (ABANDONED, "no worker"),
        (replace(PENDING, is_worked_on=True), "growing"),
        (replace(PENDING, is_seeded=False), "seeding"),
        (ForestFacts("f"), "empty"),
        (replace(GROWING, is_graded=False), "regrading"),
        (replace(GROWING, num_complete=4), "finished"),
        (replace(GROWING, num_complete=3, num_failed=1), "finished with failures"),
        (replace(ABANDONED, num_failed=4), "finished with failures"),
        (replace(GROWING, num_failed=3), "growing"),
    ],
)
def test_a_state_follows_from_what_is_there(facts, state):
    assert state_of(facts) == state


@pytest.mark.parametrize("facts", [PENDING, GROWING, ABANDONED])
@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"is_paused": True}, "paused"),
        ({"spent_limit": "5 of 5 requests"}, "limit spent"),
        ({"is_paused": True, "spent_limit": "5 of 5 requests"}, "paused"),
        ({"spent_limit": "5 of 5 requests", "wait_reason": "503"}, "limit spent"),
        ({"spent_limit": "5 of 5 requests", "stop_reason": "401"}, "limit spent"),
    ],
)
def test_what_the_operator_set_counts_before_what_workers_do(facts, fields, state):
    assert state_of(replace(facts, **fields)) == state


@pytest.mark.parametrize("field", ["stop_reason", "wait_reason", "spent_limit"])
def test_a_finished_forest_is_finished_whatever_happened_on_the_way(field):
    fields: dict[str, Any] = {"num_complete": 4, field: "x"}
    assert state_of(replace(GROWING, **fields)) is ForestState.FINISHED


def test_a_worker_that_waits_is_not_hidden_by_one_that_is_served():
    standing = standing_of(replace(GROWING, wait_reason="503"))
    assert (standing.state, standing.reason) == ("waiting for the server", "503")


def test_nobody_waits_once_the_last_worker_is_gone():
    standing = standing_of(replace(ABANDONED, wait_reason="503"))
    assert standing.state == "no worker"
    assert standing.reason == "the last one waited for the server: 503"


def test_an_error_that_stopped_one_worker_does_not_hide_that_others_grow():
    standing = standing_of(replace(GROWING, stop_reason="401"))
    assert (standing.state, standing.reason) == ("growing", "a worker stopped: 401")
    standing = standing_of(replace(ABANDONED, stop_reason="401"))
    assert (standing.state, standing.reason) == ("stopped by an error", "401")


@pytest.mark.parametrize("facts", [PENDING, ABANDONED])
def test_why_a_worker_refused_is_the_reason_why_none_works(facts):
    assert standing_of(replace(facts, worker_message="another config")).reason == "another config"


def test_a_spent_limit_names_the_larger_one():
    (command,) = standing_of(
        replace(GROWING, spent_limit="5 of 5 requests", raised_limit="--max_requests 10")
    ).next_commands
    assert command.command == (
        "python manage.py rollout_worker --num_processes 4 --forest_name f --max_requests 10"
    )


def test_failed_trees_of_a_forest_that_takes_no_rollouts_are_not_tried_again():
    failed = replace(ABANDONED, num_complete=3, num_failed=1)
    purposes = [one.purpose for one in standing_of(failed).next_commands]
    assert purposes[0] == "Give the failed tree another try"
    assert len(standing_of(replace(failed, is_growable=False)).next_commands) == len(purposes) - 1
