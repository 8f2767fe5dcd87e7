"""What this project uses of RQ beyond its documented interface: see docs/decisions/005.

`pyproject.toml` pins RQ's minor version. If one of these tests fails with another version, look at
the code that uses the name, then change the table and the pin together.
"""

import inspect
import tomllib
from pathlib import Path
from typing import Any

import pytest
from rq import Worker
from rq.job import Job
from rq.queue import Queue
from rq.serializers import DefaultSerializer
from rq.worker import BaseWorker

from rollouts.workers import queue_guard

METHODS: dict[tuple[Any, str], tuple[str, ...]] = {
    # Overridden by `rollouts.workers.rq_worker.RolloutWorker`.
    (Worker, "__init__"): ("queues", "name"),
    (Worker, "serialize"): (),
    (Worker, "work"): ("burst", "logging_level"),
    (Worker, "dequeue_job_and_maintain_ttl"): ("timeout", "max_idle_time"),
    (Worker, "execute_job"): ("job", "queue"),
    (Worker, "fork_work_horse"): ("job", "queue"),
    (Worker, "main_work_horse"): ("job", "queue"),
    (Worker, "handle_warm_shutdown_request"): (),
    # Called by `RolloutWorker`.
    (Worker, "_install_signal_handlers"): (),
    (Worker, "setup_work_horse_signals"): (),
    (Worker, "register_death"): (),
    (Worker, "heartbeat"): ("timeout",),
    # Called by `rollouts.workers.jobs`.
    (BaseWorker, "get_current_executions"): ("refresh",),
    (Job, "key_for"): ("job_id",),
    # Wrapped or replaced by `rollouts.workers.queue_guard`; test_rq_worker.py tries `Job.func`.
    (queue_guard, "_restore"): ("self", "raw_data"),
    (DefaultSerializer, "dumps"): (),
    (DefaultSerializer, "loads"): (),
}
"""Methods, each with its first parameters."""

PROPERTIES = (
    (Job, "func_name"),
    (Worker, "horse_pid"),
    (Worker, "death_date"),
    (Worker, "key"),
    (Queue, "intermediate_queue"),
    (Queue, "intermediate_queue_key"),
)

ATTRIBUTES = {
    Worker: ("_stop_requested",),
    Job: ("_success_callback_name", "_failure_callback_name", "_stopped_callback_name", "webhooks"),
}

CHANGED = "this RQ has another {}: see tests/rollouts/workers/test_rq_internals.py for what to do"


@pytest.mark.parametrize(("owner", "name"), METHODS)
def test_a_method_is_as_it_was(owner: Any, name: str):
    method = getattr(owner, name, None)
    where = CHANGED.format(f"{owner.__name__}.{name}")
    assert callable(method), where
    if expected := METHODS[owner, name]:
        parameters = list(inspect.signature(method).parameters)
        if isinstance(owner, type) and parameters[0] == "self":
            del parameters[0]
        assert tuple(parameters[: len(expected)]) == expected, where


@pytest.mark.parametrize(("owner", "name"), PROPERTIES)
def test_a_property_is_as_it_was(owner: type, name: str):
    found = inspect.getattr_static(owner, name, None)
    assert isinstance(found, property), CHANGED.format(f"{owner.__name__}.{name}")


@pytest.mark.parametrize("owner", ATTRIBUTES)
def test_attributes_are_as_they_were(owner: type, queue: Queue):
    makers = {
        Worker: lambda: Worker([queue], connection=queue.connection),
        Job: lambda: Job.create("os.getcwd", connection=queue.connection),
    }
    made = makers[owner]()
    for name in ATTRIBUTES[owner]:
        assert hasattr(made, name), CHANGED.format(f"{owner.__name__}.{name}")


def test_what_stands_in_the_queues_server_is_as_it_was(queue: Queue):
    """Jobs read a field of workers, and recognise a torn job by the field that it lacks."""
    job = queue.enqueue("os.getcwd", job_id="some")
    worker = Worker([queue], connection=queue.connection)
    worker.register_birth()

    assert queue.connection.hexists(job.key, "data"), CHANGED.format("format of jobs")
    assert queue.connection.hexists(worker.key, "birth"), CHANGED.format("format of workers")
    assert worker.serialize().keys() >= {"birth", "pid"}, CHANGED.format("format of workers")
    assert queue.connection.lrange(queue.key, 0, -1) == [b"some"], CHANGED.format(
        "format of queues"
    )


def test_the_minor_version_is_pinned():
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = [one for one in project["dependencies"] if one.startswith(("rq", "django-rq"))]
    assert len(pins) == 2
    for pin in pins:
        assert "~=" in pin
        assert pin.count(".") == 2
