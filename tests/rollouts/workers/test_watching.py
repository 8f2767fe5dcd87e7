"""The reports to somebody who watches a forest."""

import io
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from django.core.management.base import OutputWrapper

from forests.models import Forest
from rollouts.workers import watching
from rollouts.workers.watching import watch_growth
from tests.rollouts.forests import seeded

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_waits(monkeypatch):
    monkeypatch.setattr(watching, "SECONDS_BETWEEN_LOOKS", 0.01)
    monkeypatch.setattr(watching, "_SECONDS_BETWEEN_PLAIN_LINES", 0.0)


def changing(name: str, **fields: object) -> Callable[[Forest], bool]:
    """Change a forest after the first look, and stop watching after the second."""
    looks = iter([True, False])

    def goes_on(_: Forest) -> bool:
        Forest.objects.filter(pk=name).update(**fields)
        return next(looks)

    return goes_on


def test_requests_retries_and_failures_by_kind_are_told_as_they_come():
    forest = seeded(2)
    log = io.StringIO()
    spent = {
        "num_complete": 1, "requests": 9, "retries": 3, "prompt_tokens": 70,
        "failures": {"timeout": 2, "http_500": 1},
    }  # fmt: skip

    summary = watch_growth(forest.name, OutputWrapper(log), goes_on=changing(forest.name, **spent))

    before, after = log.getvalue().splitlines()
    assert before == "0/2 trees, pending, 0.0 rollouts/s, 0.0 tokens/s, 0 requests"
    assert after.startswith("1/2 trees, ")
    assert after.endswith("9 requests, 3 retries, failed attempts: http_500 1, timeout 2")
    assert (summary.requests, summary.retries, summary.prompt_tokens) == (9, 3, 70)
    assert summary.failures == {"timeout": 2, "http_500": 1}


def test_why_workers_wait_is_told_instead_of_a_speed():
    forest = seeded(2)
    log = io.StringIO()

    watch_growth(
        forest.name,
        OutputWrapper(log),
        goes_on=changing(forest.name, backend_message="no answer", worked_at=datetime.now(UTC)),
    )

    assert log.getvalue().splitlines()[1] == "0/2 trees, waiting for the server: no answer"


def test_the_summary_tells_what_holds_when_all_has_ended():
    forest = seeded(2)

    def end() -> None:
        Forest.objects.filter(pk=forest.name).update(requests=9, stop_reason="the key is wrong")

    summary = watch_growth(
        forest.name, OutputWrapper(io.StringIO()), goes_on=lambda _: False, at_end=end
    )

    assert (summary.requests, summary.state) == (9, "stopped by an error")


@pytest.mark.parametrize(("fields", "times"), [({}, 1), ({"stop_reason": "the key is wrong"}, 1)])
def test_why_a_worker_leaves_the_forest_to_others_is_told_once(fields, times):
    forest = seeded(2)
    Forest.objects.update(
        worker_message="no such config", worker_message_at=datetime.now(UTC), **fields
    )
    log = io.StringIO()

    watch_growth(forest.name, OutputWrapper(log), goes_on=lambda _: False)

    assert log.getvalue().count("no such config") == times
