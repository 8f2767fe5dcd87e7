"""The pages of the queue run no code that somebody has written into it."""

import os
import pickle
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rq.job import Job
from rq.queue import Queue

from rollouts.workers.jobs import enqueue_forest, grow_slice
from rollouts.workers.rq_worker import RolloutWorker
from tests.rollouts.forests import seeded

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/admin/queue/"
POSTED = [{"job": "all", "action": "requeue"}, {"job": "planted", "action": "delete"}]

called: list[str] = []


def planted_callback(job: Job, *_: object) -> None:
    called.append(job.id)


class Hostile:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("staff"))
    client.raise_request_exception = False
    called.clear()
    return client


@pytest.fixture
def worker(queue: Queue) -> RolloutWorker:
    worker = RolloutWorker([queue], connection=queue.connection, name="one")
    worker.register_birth()
    return worker


def plant(queue: Queue, worker: RolloutWorker, **fields: bytes) -> None:
    """Put one job into every place where the pages look for jobs."""
    job = queue.enqueue(grow_slice, "none", 0, 1, job_id="planted")
    execution = worker.prepare_execution(job)
    for registry in ("finished", "failed", "deferred", "scheduled"):
        queue.connection.zadd(f"rq:{registry}:{queue.name}", {job.id: 1})
    queue.connection.zadd(f"rq:wip:{queue.name}", {execution.composite_key: 1})
    for name, value in ({"status": b"started"} | fields).items():
        queue.connection.hset(job.key, name, value)


@pytest.mark.parametrize("field", ["data", "meta", "result"])
def test_code_in_a_job_is_not_run_by_looking_at_it(
    staff: Client, queue: Queue, worker: RolloutWorker, tmp_path: Path, field: str
):
    for form in (None, *POSTED):
        plant(queue, worker, **{field: pickle.dumps(Hostile(tmp_path / "made"))})
        answer = staff.get(PAGE) if form is None else staff.post(PAGE, form)
        assert answer.status_code < 500
        assert list(tmp_path.iterdir()) == [], form


def test_callbacks_of_a_job_are_not_called_by_looking_at_it(
    staff: Client, queue: Queue, worker: RolloutWorker
):
    name = f"{__name__}.{planted_callback.__name__}".encode()
    names = {f"{kind}_callback_name": name for kind in ("success", "failure", "stopped")}
    plant(queue, worker, **names)
    assert staff.get(PAGE).status_code == 200
    for form in POSTED:
        plant(queue, worker, **names)
        assert staff.post(PAGE, form).status_code == 302, form

    assert called == []


def test_the_page_shows_the_job_that_a_worker_does(
    staff: Client, queue: Queue, worker: RolloutWorker
):
    forest = seeded(1)
    enqueue_forest(forest, 1)
    (job,) = queue.jobs
    worker.prepare_execution(job)

    page = staff.get(PAGE)

    assert page.status_code == 200
    assert page.text.count(f'<a href="/{forest.name}/">') == 3  # of the worker, running, waiting
    assert "trees 0 to 0" in page.text
