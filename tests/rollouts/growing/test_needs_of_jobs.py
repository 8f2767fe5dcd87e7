"""A worker puts back the jobs that it cannot do, as it has another config, model or server."""

import os
import time
from pathlib import Path

import pytest
from django.test import Client
from rq.queue import Queue

from forests.models import Forest, Tree
from forests.progress.reading import read_standing_of
from forests.progress.states import ForestState
from rollouts.client.failures import NotForThisWorkerError
from rollouts.growing import growing_process
from rollouts.growing.needs_of_jobs import Needs
from rollouts.workers import jobs
from rollouts.workers.jobs import enqueue_forest, forest_of, grow_slice, job_id_of
from rollouts.workers.rq_worker import RolloutWorker
from tests.openai_server import OpenAIServer
from tests.rollouts.forests import assert_whole, reread, seeded, seeded_of, statuses
from tests.rollouts.test_commands import finish, run, start

pytestmark = pytest.mark.django_db(transaction=True)

OWN_CONFIG = """
from experiment_configs.rollout.demo_arithmetic import Config as Demo

class Config(Demo):
    pass
"""


def of_own_config(directory: Path, suffix: str = "own") -> Forest:
    """Return a forest of a config that a worker without this directory does not have."""
    (directory / "own.py").write_text(OWN_CONFIG)
    return seeded_of(directory / "own.py", 2, suffix)


def work(queue: Queue) -> RolloutWorker:
    """Let a new worker do what it can."""
    worker = RolloutWorker([queue], connection=queue.connection)
    worker.work(burst=True)
    return worker


def assert_put_back(queue: Queue, forest: Forest, *facts: str) -> None:
    """Check that a forest's job waits as before, and that its page says why."""
    assert [forest_of(id_) for id_ in queue.get_job_ids()] == [forest.name]
    assert queue.failed_job_registry.get_job_ids() == []
    assert queue.intermediate_queue.get_job_ids() == []
    assert set(statuses(forest)) == {"pending"}
    message = reread(forest).worker_message
    for fact in (os.uname().nodename, *facts):
        assert fact in message
    assert reread(forest).worker_message_at is not None


def test_jobs_carry_what_their_worker_needs(queue: Queue):
    forest = seeded(2, model="big", base_urls=["http://10.0.0.1/v1"])

    enqueue_forest(forest, 2)

    (job,) = queue.jobs
    assert job.args[3] == {
        "config_sha256": forest.config_sha256,
        "model": "big",
        "servers": ["http://10.0.0.1/v1"],
    }


def test_a_job_of_an_older_version_is_done(queue: Queue, model_server: OpenAIServer):
    forest = seeded(2)
    queue.enqueue(grow_slice, forest.name, 0, 2, job_id=job_id_of(forest.name, 0, 2))

    work(queue)

    assert_whole(forest)
    assert queue.get_job_ids() == []


def test_a_config_that_the_worker_does_not_have(
    queue: Queue, model_server: OpenAIServer, tmp_path: Path
):
    forest = of_own_config(tmp_path)
    enqueue_forest(forest, 2)

    work(queue)

    assert_put_back(queue, forest, "no config named 'own'", "PRM_CONFIG_PATH")
    assert model_server.requests == []


def test_a_config_that_is_another_one_here(
    queue: Queue, model_server: OpenAIServer, tmp_path: Path, settings
):
    settings.CONFIG_PATH = [tmp_path]
    forest = of_own_config(tmp_path)
    enqueue_forest(forest, 2)
    (tmp_path / "own.py").write_text(OWN_CONFIG + "# another\n")

    work(queue)

    assert_put_back(queue, forest, "has changed since", "put it back")


def test_a_config_that_cannot_be_loaded_here(
    queue: Queue, model_server: OpenAIServer, tmp_path: Path, settings
):
    settings.CONFIG_PATH = [tmp_path]
    forest = of_own_config(tmp_path)
    enqueue_forest(forest, 2)
    (tmp_path / "own.py").write_text("import no_such_package\n")

    work(queue)

    assert_put_back(queue, forest, "no_such_package")


def test_no_model_server(queue: Queue, settings):
    settings.OPENAI_BASE_URL = ""
    forest = seeded(2)
    enqueue_forest(forest, 2)

    work(queue)

    assert_put_back(queue, forest, "no model server", "set OPENAI_BASE_URL")


def test_a_server_with_another_model(queue: Queue, model_server: OpenAIServer):
    forest = seeded(2, model="big")
    enqueue_forest(forest, 2)

    work(queue)

    assert_put_back(queue, forest, "no model 'big': it has scripted", "set OPENAI_BASE_URL")
    assert model_server.requests == []
    left = reread(forest)
    assert (left.growth_started_at, left.worked_at, left.stop_reason) == (None, None, "")
    assert read_standing_of(left).state is ForestState.PENDING


def test_whatever_says_that_another_worker_can_do_it(
    queue: Queue, model_server: OpenAIServer, monkeypatch
):
    async def refuse(_: object) -> None:
        raise NotForThisWorkerError("this worker is too small")

    monkeypatch.setattr(growing_process, "_begin_with_models", refuse)
    forest = seeded(2)
    enqueue_forest(forest, 2)

    work(queue)

    assert_put_back(queue, forest, "this worker is too small")


def test_the_worker_does_what_it_can_and_leaves_the_rest_where_it_is(
    queue: Queue, model_server: OpenAIServer, tmp_path: Path, monkeypatch
):
    put_back = jobs._put_back

    def count(name: str, *arguments: object) -> object:
        with (tmp_path / "tried").open("a") as file:
            file.write(f"{name}\n")
        return put_back(name, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(jobs, "_put_back", count)
    other, mine = of_own_config(tmp_path), seeded(6)
    enqueue_forest(other, 1)
    enqueue_forest(mine, 2)
    enqueue_forest(other, 1)

    work(queue)

    assert_whole(mine)
    assert sorted(queue.get_job_ids()) == sorted(
        job_id_of(other.name, start, start + 1) for start in (0, 1)
    )
    # The worker did not even begin the second job of `other`.
    tried = (tmp_path / "tried").read_text().split()
    assert tried == [other.name]


def test_a_worker_looks_again_after_a_while(
    queue: Queue, model_server: OpenAIServer, tmp_path: Path, settings, monkeypatch
):
    forest = of_own_config(tmp_path)
    enqueue_forest(forest, 2)
    worker = work(queue)
    settings.CONFIG_PATH = [tmp_path]

    worker.work(burst=True)
    assert statuses(forest) == {"pending": 2}

    monkeypatch.setattr(time, "monotonic", lambda: 1e12)
    worker.work(burst=True)
    monkeypatch.undo()
    assert_whole(forest)


def test_a_worker_that_has_only_jobs_of_others_looks_once_a_second(
    queue: Queue, model_server: OpenAIServer, tmp_path: Path, monkeypatch
):
    forest = of_own_config(tmp_path)
    enqueue_forest(forest, 2)
    worker = work(queue)
    looks: list[float] = []
    look = RolloutWorker._has_only_others_jobs

    def count(self: RolloutWorker) -> bool:
        looks.append(time.monotonic())
        return look(self)

    monkeypatch.setattr(RolloutWorker, "_has_only_others_jobs", count)

    assert worker.dequeue_job_and_maintain_ttl(5, max_idle_time=3) is None

    assert looks[-1] - looks[0] >= 2
    assert len(looks) <= 4
    assert len(queue.get_job_ids()) == 1


def test_a_job_that_comes_to_the_front_meanwhile_goes_back_whole(
    queue: Queue, model_server: OpenAIServer, tmp_path: Path, monkeypatch
):
    """Another worker moves the queue on after this one looks and before it takes a job."""
    other, mine = of_own_config(tmp_path), seeded(2)
    enqueue_forest(other, 2)
    worker = work(queue)
    looks = iter([False])
    look = RolloutWorker._has_only_others_jobs
    monkeypatch.setattr(
        RolloutWorker,
        "_has_only_others_jobs",
        lambda self: next(looks, None) is None and look(self),
    )
    enqueue_forest(mine, 2)

    worker.work(burst=True)

    assert_whole(mine)
    assert_put_back(queue, other)


def test_the_message_goes_away_when_a_fitting_worker_takes_the_job(
    queue: Queue, model_server: OpenAIServer, tmp_path: Path, settings
):
    forest = of_own_config(tmp_path)
    enqueue_forest(forest, 2)
    work(queue)
    settings.CONFIG_PATH = [tmp_path]

    work(queue)

    assert_whole(forest)
    assert reread(forest).worker_message == ""
    assert reread(forest).worker_message_at is None
    assert queue.get_job_ids() == []


def test_jobs_of_a_finished_forest_end_whatever_the_worker_has(
    queue: Queue, model_server: OpenAIServer, tmp_path: Path
):
    forest = of_own_config(tmp_path)
    enqueue_forest(forest, 2)
    Tree.objects.update(status="complete")

    work(queue)

    assert queue.get_job_ids() == []
    assert reread(forest).worker_message == ""


def test_a_job_in_the_hands_of_a_worker_that_was_killed_as_it_put_it_back_is_enqueued_again(
    queue: Queue, tmp_path: Path
):
    forest = of_own_config(tmp_path)
    enqueue_forest(forest, 2)
    queue.connection.lmove(queue.key, queue.intermediate_queue_key)

    assert enqueue_forest(forest, 2) == 1

    assert len(queue.get_job_ids()) == 1
    assert queue.intermediate_queue.get_job_ids() == []


class TestWhereTheUserLooks:
    def left(self, queue: Queue, directory: Path) -> Forest:
        forest = of_own_config(directory)
        enqueue_forest(forest, 2)
        work(queue)
        return forest

    def test_the_worker_says_it_in_one_line(
        self, queue: Queue, model_server: OpenAIServer, tmp_path: Path
    ):
        enqueue_forest(of_own_config(tmp_path), 2)

        status, _, err = finish(start(model_server, "rqworker", "rollouts", "--burst", "-v", "0"))

        (line,) = [one for one in err.splitlines() if "job put back" in one]
        assert status == 0
        assert "no config named 'own'" in line
        assert "Traceback" not in err

    def test_the_page_says_it_to_readers(self, queue: Queue, tmp_path: Path, admin_client: Client):
        forest = self.left(queue, tmp_path)

        page = admin_client.get(forest.get_absolute_url()).text

        assert page.count("cannot grow this forest, and leaves its jobs to others") == 1
        assert "no config named &#x27;own&#x27;" in page

    def test_the_page_names_no_machine_to_everybody(
        self, queue: Queue, tmp_path: Path, client: Client, settings
    ):
        settings.PUBLIC = True
        forest = self.left(queue, tmp_path)

        page = client.get(forest.get_absolute_url())

        assert page.status_code == 200
        assert "A worker cannot grow this forest" in page.text
        assert os.uname().nodename not in page.text

    def test_populate_forest_says_it_and_begins_without(
        self, queue: Queue, model_server: OpenAIServer, tmp_path: Path, settings
    ):
        forest = self.left(queue, tmp_path)
        settings.CONFIG_PATH = [tmp_path]

        run("populate_forest", "--forest_name", forest.name)

        assert reread(forest).worker_message == ""


def test_needs_are_those_of_the_forest_as_it_is_now():
    forest = seeded(1)
    assert Needs.of(forest).as_dict() == {
        "config_sha256": forest.config_sha256,
        "model": None,
        "servers": [],
    }

    forest.worker_config |= {"model": "other", "base_urls": ["http://gpu1/v1"]}

    assert Needs.of(forest).as_dict() == {
        "config_sha256": forest.config_sha256,
        "model": "other",
        "servers": ["http://gpu1/v1"],
    }
