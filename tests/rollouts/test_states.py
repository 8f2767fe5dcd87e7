"""What workers write into a forest, and the state that follows from it."""

import threading
import time
from datetime import UTC, datetime
from importlib import import_module
from io import StringIO

import pytest
from django.apps import apps
from django.core.management import call_command

from forests.models import Forest
from forests.progress.reading import read_standing_of
from forests.progress.states import ForestState
from forests.storage.trees import leave_forest
from rollouts.client import failures, outages
from rollouts.client.failures import BackendRefusedError
from rollouts.growing import grower as growth
from rollouts.workers.jobs import enqueue_forest, grow_slice
from tests.openai_server import Fault, OpenAIServer
from tests.rollouts.forests import reread, seeded, statuses
from tests.rollouts.test_commands import finish, start
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(failures, "FIRST_BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(outages, "FIRST_WAIT_SECONDS", 0.05)
    monkeypatch.setattr(outages, "MAX_WAIT_SECONDS", 0.2)
    monkeypatch.setattr(growth, "SECONDS_BETWEEN_LOOKS_AT_FOREST", 0.05)


def state(forest: Forest) -> ForestState:
    return read_standing_of(reread(forest)).state


def set_fields(forest: Forest, **fields: object) -> None:
    Forest.objects.filter(pk=forest.pk).update(**fields)


class Away:
    """A model server that drops connections until it is told to come back."""

    def __init__(self, server: OpenAIServer) -> None:
        self.is_away = True
        server.misbehave = lambda: Fault(drops_connection=True) if self.is_away else None


def test_a_worker_that_waits_and_is_answered_passes_through_the_states(model_server: OpenAIServer):
    forest, away = seeded(2), Away(model_server)
    assert state(forest) is ForestState.PENDING
    working = threading.Thread(target=grow_slice, args=(forest.name, 0, 2))
    working.start()

    wait_until(lambda: state(forest) is ForestState.WAITING)
    away.is_away = False
    wait_until(lambda: state(forest) is not ForestState.WAITING)
    working.join()

    assert state(forest) is ForestState.FINISHED
    assert reread(forest).backend_message == ""


def test_a_worker_takes_back_its_own_words_alone(model_server: OpenAIServer, monkeypatch):
    """Another worker waits for longer, and a third has stopped."""
    monkeypatch.setattr(outages, "FIRST_WAIT_SECONDS", 1.0)
    forest, away = seeded(2), Away(model_server)
    set_fields(forest, stop_reason="the key is wrong")
    working = threading.Thread(target=grow_slice, args=(forest.name, 0, 2))
    working.start()
    wait_until(lambda: bool(reread(forest).backend_message))

    away.is_away = False
    set_fields(forest, backend_message="the other server is away")
    working.join()

    assert reread(forest).backend_message == "the other server is away"
    assert reread(forest).stop_reason == "the key is wrong"


def test_a_worker_that_still_waits_says_so_again_when_another_took_it_back(
    model_server: OpenAIServer,
):
    forest, away = seeded(2), Away(model_server)
    working = threading.Thread(target=grow_slice, args=(forest.name, 0, 2))
    working.start()
    wait_until(lambda: bool(reread(forest).backend_message))

    set_fields(forest, backend_message="")

    wait_until(lambda: bool(reread(forest).backend_message))
    away.is_away = False
    working.join()


@pytest.mark.parametrize("is_waiting", [True, False])
def test_a_paused_forest_has_no_worker_as_soon_as_the_workers_have_left(
    model_server: OpenAIServer, is_waiting: bool
):
    forest = seeded(4)
    if is_waiting:
        Away(model_server)
    else:
        model_server.misbehave = lambda: time.sleep(0.2)
    working = threading.Thread(target=grow_slice, args=(forest.name, 0, 4))
    working.start()
    expected = ForestState.WAITING if is_waiting else ForestState.GROWING
    wait_until(lambda: state(forest) is expected)

    set_fields(forest, is_paused=True)
    working.join()

    assert state(forest) is ForestState.PAUSED
    set_fields(forest, is_paused=False)
    assert state(forest) is ForestState.NO_WORKER
    assert reread(forest).backend_message == ""


def test_a_worker_between_two_jobs_still_works(model_server: OpenAIServer):
    forest = seeded(4)

    grow_slice(forest.name, 0, 2)

    assert state(forest) is ForestState.GROWING
    leave_forest(forest)
    assert state(forest) is ForestState.NO_WORKER


def test_a_worker_that_begins_takes_back_what_one_that_was_killed_waited_for(
    model_server: OpenAIServer,
):
    forest = seeded(2)
    set_fields(forest, backend_message="no answer")

    grow_slice(forest.name, 0, 1)

    assert reread(forest).backend_message == ""
    assert state(forest) is not ForestState.WAITING


def test_a_server_that_is_refused_before_growth_has_stopped_it_at_once(model_server: OpenAIServer):
    model_server.continues = "never"
    forest = seeded(2, api="chat")

    with pytest.raises(BackendRefusedError, match="does not continue a chat message"):
        grow_slice(forest.name, 0, 2)

    assert state(forest) is ForestState.STOPPED


def test_a_worker_that_is_stopped_while_it_asks_what_a_server_does_leaves_at_once(
    model_server: OpenAIServer, queue
):
    forest = seeded(2, request_timeout_seconds=100.0)
    model_server.misbehave_probe = lambda _: Fault(hangs_seconds=100)
    enqueue_forest(forest, 2)
    worker = start(model_server, "rqworker", "rollouts", "-v", "0")
    wait_until(lambda: bool(model_server.probes) and state(forest) is ForestState.GROWING)

    worker.terminate()
    status, _, err = finish(worker, 20)

    assert status == 0, err
    assert state(forest) is ForestState.NO_WORKER
    assert statuses(forest) == {"pending": 2}


def test_what_stopped_growth_stays_until_the_operator_goes_on(
    queue, model_server: OpenAIServer, monkeypatch
):
    forest = seeded(2)
    model_server.misbehave = lambda: Fault(status=401, body="{}")
    with pytest.raises(BackendRefusedError):
        grow_slice(forest.name, 0, 2)
    assert state(forest) is ForestState.STOPPED

    model_server.misbehave = lambda: None
    grow_slice(forest.name, 0, 1)  # a job that was in the queue
    leave_forest(forest)
    assert state(forest) is ForestState.STOPPED

    said = StringIO()
    call_command("populate_forest", forest_name=forest.name, stderr=said)
    assert "1 job enqueued, 1 tree unfinished; no worker" in said.getvalue()
    assert reread(forest).stop_reason == ""


def test_trying_failed_trees_again_takes_back_what_stopped_growth():
    forest = seeded(2)
    set_fields(forest, stop_reason="the key is wrong", growth_started_at=datetime.now(UTC))

    said = StringIO()
    call_command("retry_failed", forest_name=forest.name, stderr=said)

    assert said.getvalue().strip() == (
        "0 trees made pending; no worker (next: `python manage.py rollout_worker --num_processes "
        f"4 --forest_name {forest.name}`)"
    )


@pytest.mark.parametrize(
    ("message", "reason", "waits"),
    [
        ("stopped: 401: the key is wrong", "401: the key is wrong", ""),
        ("stopped", "stopped", ""),
        ("waiting for the model server: 503", "", "waiting for the model server: 503"),
        ("", "", ""),
    ],
)
def test_a_forest_that_an_older_version_stopped_is_stopped(message, reason, waits):
    forest = seeded(1)
    set_fields(forest, backend_message=message)

    import_module("forests.migrations.0013_stop_reasons").move_stop_reasons(apps, None)

    assert (reread(forest).stop_reason, reread(forest).backend_message) == (reason, waits)
