"""What a worker takes from the queue, what it refuses, and how it ends."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rq import SimpleWorker
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.queue import Queue
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer
from rq.webhook import Webhook

from rollouts.growing import leases
from rollouts.workers.jobs import enqueue_forest
from rollouts.workers.rq_worker import RolloutWorker
from tests.forked_commands import ForkedCommand
from tests.openai_server import OpenAIServer, write_two_steps
from tests.processes import on_test_database
from tests.rollouts.forests import assert_whole, reread, seeded, statuses
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def work(queue: Queue) -> None:
    RolloutWorker([queue], connection=queue.connection).work(burst=True)


@pytest.mark.parametrize("name", ["os.mkdir", "rollouts.workers.jobs.rollout_queue", "no.such"])
def test_a_job_with_another_function_fails_and_calls_nothing(
    queue: Queue, tmp_path: Path, name: str
):
    job = queue.enqueue(name, str(tmp_path / "made"))

    work(queue)

    assert list(tmp_path.iterdir()) == []
    assert job.get_status() is JobStatus.FAILED
    result = job.latest_result()
    assert result is not None
    assert f"job {job.id} calls {name}, which is not a job of this site" in (
        result.exc_string or ""
    )


def test_a_job_that_an_earlier_version_put_into_the_queue_is_done(
    queue: Queue, model_server: OpenAIServer
):
    forest = seeded(2)
    job = queue.enqueue("rollouts.jobs.grow_slice", forest.name, 0, 2)

    work(queue)

    assert job.get_status() is JobStatus.FINISHED
    assert_whole(forest)


def test_callbacks_and_webhooks_in_a_job_are_not_called(queue: Queue, model_server: OpenAIServer):
    forest = seeded(1)
    enqueue_forest(forest, 1)
    (id_,) = queue.get_job_ids()
    webhook = Webhook(f"{model_server.url}/completions", "finished", method="POST")
    queue.connection.hset(
        f"rq:job:{id_}",
        mapping={
            "success_callback_name": "os.mkdir",
            "failure_callback_name": "os.mkdir",
            "webhooks": json.dumps([webhook.to_dict()]),
        },
    )

    work(queue)

    job = queue.fetch_job(id_)
    assert job is not None
    assert job.get_status() is JobStatus.FINISHED
    grown = reread(forest)
    assert grown.num_complete == 1
    assert grown.requests == len(model_server.requests) + len(model_server.probes)


@contextmanager
def pool(num_workers: int) -> Iterator[ForkedCommand]:
    command = ["manage.py", "rqworker-pool", "rollouts", "--num-workers", str(num_workers)]
    child = ForkedCommand([*command, "-v", "0"], env=on_test_database())
    try:
        yield child
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize("there", [1, 2, 3])
def test_a_pool_that_is_stopped_while_its_workers_start_ends_with_them(queue: Queue, there: int):
    with pool(3) as child:
        wait_until(lambda: queue.connection.scard("rq:workers") >= there)
        child.send_signal(signal.SIGTERM)
        child.wait(30)

    wait_until(lambda: not queue.connection.scard("rq:workers"))


def test_workers_end_when_their_pool_is_killed(queue: Queue):
    with pool(2) as child:
        wait_until(lambda: queue.connection.scard("rq:workers") == 2)
        child.kill()

        wait_until(lambda: not queue.connection.scard("rq:workers"))


def test_a_worker_sees_that_it_is_to_stop_where_the_exception_was_caught(queue: Queue):
    worker = RolloutWorker([queue], connection=queue.connection)
    worker._stop_requested = True
    assert worker.dequeue_job_and_maintain_ttl(600) is None


def test_a_worker_starts_no_scheduler(queue: Queue):
    worker = RolloutWorker([queue], connection=queue.connection)
    worker.work(burst=True, with_scheduler=True)
    assert worker.scheduler is None


def work_until_stopped(queue: Queue, trees: int) -> None:
    """Work until the trap that a test has set stops the worker; check that it finished no tree."""
    forest = seeded(trees, concurrency=1)
    enqueue_forest(forest, trees)

    work(queue)

    assert statuses(forest) == {"pending": trees}


def test_a_stop_just_before_a_job_is_begun_stops_it(
    queue: Queue, model_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
):
    prepare = RolloutWorker.prepare_execution

    def stop_then_prepare(self: RolloutWorker, job: Job) -> Execution:
        execution = prepare(self, job)
        os.kill(os.getpid(), signal.SIGTERM)
        return execution

    monkeypatch.setattr(RolloutWorker, "prepare_execution", stop_then_prepare)

    work_until_stopped(queue, 3)

    assert model_server.requests == []


def test_a_stop_before_the_worker_knows_the_process_of_its_job_stops_it(
    queue: Queue, model_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
):
    model_server.write = slowly
    fork = os.fork

    def fork_and_stop() -> int:
        if pid := fork():
            time.sleep(1)  # the job has begun
            os.kill(os.getpid(), signal.SIGTERM)
        return pid

    monkeypatch.setattr(os, "fork", fork_and_stop)

    work_until_stopped(queue, 3)

    assert model_server.requests


def status_of(queue: Queue, job_id: str) -> JobStatus | None:
    return Job.fetch(job_id, connection=queue.connection, serializer=JSONSerializer).get_status()


def test_a_job_that_a_living_worker_has_taken_is_left_alone_before_it_claims_a_tree(
    queue: Queue, model_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    forest = seeded(2)
    enqueue_forest(forest, 2)
    (id_,) = queue.get_job_ids()
    seen: list[tuple[JobStatus | None, int]] = []
    prepare, claim = RolloutWorker.prepare_job_execution, leases.claim

    def look(name: str) -> None:
        (tmp_path / name).touch()
        wait_until((tmp_path / f"{name} seen").exists)

    def prepare_slowly(self: RolloutWorker, *args: object) -> None:
        look("taken")
        prepare(self, *args)  # type: ignore[arg-type]

    def claim_slowly(*args: object) -> dict[str, int]:
        look("started")
        return claim(*args)  # type: ignore[arg-type]

    def enqueue_meanwhile() -> None:
        for name in ("taken", "started"):
            wait_until((tmp_path / name).exists)
            seen.append((status_of(queue, id_), enqueue_forest(forest, 2)))
            (tmp_path / f"{name} seen").touch()

    monkeypatch.setattr(RolloutWorker, "prepare_job_execution", prepare_slowly)
    monkeypatch.setattr(leases, "claim", claim_slowly)
    other = threading.Thread(target=enqueue_meanwhile)
    other.start()
    work(queue)
    other.join()

    assert seen == [(JobStatus.QUEUED, 0), (JobStatus.STARTED, 0)]
    assert status_of(queue, id_) is JobStatus.FINISHED
    assert_whole(forest)


STUCK_WORKER = """
import os, sys, time
from pathlib import Path
import django
django.setup()
import django_rq
from rollouts.growing import leases
from rollouts.workers.rq_worker import RolloutWorker

def claim(*_):
    written = Path(sys.argv[1] + ".partial")
    written.write_text(str(os.getpid()))
    written.rename(sys.argv[1])
    time.sleep(600)

leases.claim = claim
queue = django_rq.get_queue("rollouts")
RolloutWorker([queue], connection=queue.connection).work()
"""


def test_a_job_whose_worker_was_killed_before_it_claimed_a_tree_is_replaced(
    queue: Queue, model_server: OpenAIServer, tmp_path: Path
):
    forest = seeded(2)
    enqueue_forest(forest, 2)
    (id_,) = queue.get_job_ids()
    environment = on_test_database(
        OPENAI_BASE_URL=model_server.url, DJANGO_SETTINGS_MODULE="prm_site.settings"
    )
    command = [sys.executable, "-c", STUCK_WORKER, str(tmp_path / "pid")]
    with subprocess.Popen(command, env=environment) as worker:
        wait_until((tmp_path / "pid").exists)
        assert status_of(queue, id_) is JobStatus.STARTED
        assert enqueue_forest(forest, 2) == 0
        worker.kill()
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
        worker.wait()

    assert enqueue_forest(forest, 2) == 1

    assert status_of(queue, id_) is JobStatus.QUEUED
    assert StartedJobRegistry(queue=queue).get_job_ids() == []
    work(queue)
    assert_whole(forest)


def test_a_worker_elsewhere_lives_as_long_as_its_heartbeat(queue: Queue):
    forest = seeded(2)
    enqueue_forest(forest, 2)
    (job,) = queue.jobs
    queue.remove(job)
    worker = SimpleWorker([queue], connection=queue.connection, serializer=JSONSerializer)
    worker.register_birth()
    worker.prepare_execution(job)
    worker.prepare_job_execution(job)

    assert enqueue_forest(forest, 2) == 0
    queue.connection.delete(worker.key)
    assert enqueue_forest(forest, 2) == 1
    assert queue.get_job_ids() == [job.id]


def slowly(prefix: str, seed: int) -> str:
    time.sleep(2)
    return write_two_steps(prefix, seed)
