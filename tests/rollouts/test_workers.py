"""What a worker takes from the queue, and what not."""

import json
from pathlib import Path

import pytest
from rq.job import JobStatus
from rq.queue import Queue
from rq.webhook import Webhook

from rollouts.jobs import enqueue_forest
from rollouts.workers import RolloutWorker
from tests.openai_server import OpenAIServer
from tests.rollouts.forests import reread, seeded

pytestmark = pytest.mark.django_db(transaction=True)


def work(queue: Queue) -> None:
    RolloutWorker([queue], connection=queue.connection).work(burst=True)


@pytest.mark.parametrize("name", ["os.mkdir", "rollouts.jobs.rollout_queue", "no.such"])
def test_a_job_with_another_function_fails_and_calls_nothing(
    queue: Queue, tmp_path: Path, name: str
):
    job = queue.enqueue(name, str(tmp_path / "made"))

    work(queue)

    assert list(tmp_path.iterdir()) == []
    assert job.get_status() is JobStatus.FAILED
    result = job.latest_result()
    assert result is not None
    assert f"job {job.id} calls {name}, which is no job of this site" in (result.exc_string or "")


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
    assert grown.requests == len(model_server.requests)
