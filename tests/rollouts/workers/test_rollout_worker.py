"""`rollout_worker`: processes that grow one forest, and nothing else, without the queue."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from forests.core.naming import tree_id
from forests.models import Forest
from forests.progress.reading import read_standing_of
from forests.progress.states import ForestState
from rollouts.growing import leases
from rollouts.sampling.in_flight import shares
from rollouts.workers.jobs import enqueue_forest, grow_slice
from tests.forked_commands import ForkedCommand
from tests.openai_server import Fault, OpenAIServer, write_two_steps
from tests.rollouts.forests import assert_whole, reread, seeded, seeded_of, shape, statuses
from tests.rollouts.test_commands import finish, start
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def grow(server: OpenAIServer, forest: Forest, *arguments: str) -> tuple[int, str, str]:
    return finish(start(server, "rollout_worker", "--forest_name", forest.name, *arguments))


def children_of(process: ForkedCommand) -> list[int]:
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in path.read_text().split()] if path.exists() else []


def slowly(seconds: float) -> Callable[[str, int], str]:
    def write(prefix: str, seed: int) -> str:
        time.sleep(seconds)
        return write_two_steps(prefix, seed)

    return write


def test_it_leaves_other_forests_and_the_whole_queue_alone(queue, model_server: OpenAIServer):
    mine, other = seeded(3, "mine"), seeded(4, "other")
    enqueue_forest(other, 2)
    enqueue_forest(mine, 3)
    before = queue.get_job_ids()

    status, _, err = grow(model_server, mine, "--num_processes", "2")

    assert status == 0, err
    assert_whole(mine)
    assert queue.get_job_ids() == before
    assert reread(mine).requests == model_server.num_asked
    assert statuses(other) == {"pending": 4}


def test_it_needs_no_queue(model_server: OpenAIServer, monkeypatch):
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
    forest = seeded(2)

    status, _, err = grow(model_server, forest)

    assert status == 0, err
    assert_whole(forest)


def test_it_grows_beside_workers_of_the_queue(queue, model_server: OpenAIServer):
    whole, forest = seeded(12, "whole"), seeded(12, "shared")
    grow_slice(whole.name, 0, 12)
    model_server.write = slowly(0.05)
    enqueue_forest(forest, 3)
    worker = start(model_server, "rqworker", "rollouts", "--burst", "-v", "0")

    status, _, err = grow(model_server, forest, "--num_processes", "2")

    assert status == 0, err
    assert finish(worker)[0] == 0
    assert shape(forest) == shape(whole)
    assert_whole(forest)
    assert queue.get_job_ids() == []
    assert queue.failed_job_registry.get_job_ids() == []


def test_processes_wait_for_the_last_trees_of_others_and_are_not_started_again(
    model_server: OpenAIServer,
):
    forest = seeded(3)
    held = tree_id(forest.name, 1)
    assert leases.claim([held], "elsewhere/1")
    process = start(model_server, "rollout_worker", "--forest_name", forest.name)
    wait_until(lambda: statuses(forest) == {"complete": 2, "growing": 1})
    first = children_of(process)

    time.sleep(5)
    assert children_of(process) == first
    leases.release([held], "elsewhere/1")

    status, _, err = finish(process)
    assert status == 0, err
    assert len(first) == 1
    assert_whole(forest)


@pytest.mark.slow
def test_a_process_that_is_killed_is_replaced(model_server: OpenAIServer):
    model_server.write = slowly(0.2)
    whole, forest = seeded(8, "whole"), seeded(8, "torn")
    process = start(
        model_server, "rollout_worker", "--forest_name", forest.name, "--num_processes", "2"
    )
    wait_until(lambda: reread(forest).num_nodes > 0)
    killed = children_of(process)[0]

    os.kill(killed, signal.SIGKILL)

    status, _, err = finish(process)
    assert status == 0, err
    assert "worker process replaced" in err
    model_server.write = write_two_steps
    grow_slice(whole.name, 0, 8)
    assert shape(forest) == shape(whole)
    assert_whole(forest)


DYING_CONFIG = """
import os, signal
from experiment_configs.rollout.demo_arithmetic import Config as Demo

class Config(Demo):
    def extract_answer(self, completion):
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_processes_that_die_again_and_again_are_given_up(
    model_server: OpenAIServer, tmp_path: Path, monkeypatch
):
    forest = of_config(tmp_path, DYING_CONFIG, monkeypatch)

    status, _, err = grow(model_server, forest)

    assert status == 1
    last = err.strip().splitlines()[-1]
    assert "trees are unfinished; 6 worker processes ended before a tree was finished" in last
    assert "the last was killed by signal 9" in last


PLAIN_CONFIG = """
from experiment_configs.rollout.demo_arithmetic import Config as Demo

class Config(Demo):
    pass
"""


def of_config(directory: Path, source: str, monkeypatch) -> Forest:
    """Return a forest of a config that the commands of this test find."""
    (directory / "own.py").write_text(source)
    monkeypatch.setenv("PRM_CONFIG_PATH", str(directory))
    return seeded_of(directory / "own.py", 2)


def test_a_config_that_changes_meanwhile_is_told_in_one_line(
    model_server: OpenAIServer, tmp_path: Path, monkeypatch
):
    forest = of_config(tmp_path, PLAIN_CONFIG, monkeypatch)
    assert leases.claim([tree_id(forest.name, 0)], "elsewhere/1")
    process = start(model_server, "rollout_worker", "--forest_name", forest.name)
    wait_until(lambda: statuses(forest).get("complete", 0) == 1)
    (tmp_path / "own.py").write_text(PLAIN_CONFIG + "# changed\n")

    os.kill(children_of(process)[0], signal.SIGKILL)

    status, _, err = finish(process)
    assert status == 1
    last = err.strip().splitlines()[-1]
    assert "1 tree is unfinished; config" in last
    assert "has changed since" in last
    assert "put it back" in last


def test_a_server_that_refuses_is_told_in_one_line(model_server: OpenAIServer):
    forest = seeded(2)
    model_server.misbehave = lambda: Fault(status=401, body="{}")

    status, out, err = grow(model_server, forest, "--num_processes", "2")

    assert (status, out) == (1, "")
    assert "OPENAI_API_KEY" in err.strip().splitlines()[-1]
    assert statuses(forest) == {"pending": 2}
    assert read_standing_of(reread(forest)).state is ForestState.STOPPED


def test_a_forest_that_is_paused_meanwhile_is_told_in_one_line(model_server: OpenAIServer):
    model_server.write = slowly(0.5)
    forest = seeded(6, concurrency=1)
    process = start(model_server, "rollout_worker", "--forest_name", forest.name)
    wait_until(lambda: reread(forest).requests > 0)

    Forest.objects.update(is_paused=True)

    status, _, err = finish(process)
    assert status == 1
    assert (
        "paused: workers leave it alone until it is resumed in the admin"
        in err.strip().splitlines()[-1]
    )


def test_a_forest_that_is_deleted_meanwhile_is_told_in_one_line(model_server: OpenAIServer):
    model_server.write = slowly(0.5)
    forest = seeded(6, concurrency=1)
    process = start(model_server, "rollout_worker", "--forest_name", forest.name)
    wait_until(lambda: reread(forest).requests > 0)

    Forest.objects.all().delete()

    status, _, err = finish(process)
    assert status == 1
    assert "deleted" in err.strip().splitlines()[-1]
    assert "Traceback" not in err


class Busiest:
    """Writes as the scripted server does, and counts how many requests run at once."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._lock = threading.Lock()

    def __call__(self, prefix: str, seed: int) -> str:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.2)
        with self._lock:
            self.now -= 1
        return write_two_steps(prefix, seed)


@pytest.mark.parametrize(("concurrency", "told"), [(3, "as concurrency says"), (None, "slots")])
def test_processes_share_the_requests_in_flight(
    model_server: OpenAIServer, concurrency: int | None, told: str
):
    model_server.style, model_server.num_slots = "llama", 3
    model_server.write = busiest = Busiest()
    forest = seeded(6, concurrency=concurrency, branching=[1])

    status, _, err = grow(model_server, forest, "--num_processes", "2")

    assert status == 0, err
    assert 1 < busiest.most <= 3
    assert "3 requests in flight" in err
    assert told in err


@pytest.mark.parametrize(("trees", "concurrency"), [(3, 2), (2, 3)])
def test_fewer_requests_or_trees_than_processes_are_fewer_processes(
    model_server: OpenAIServer, trees: int, concurrency: int
):
    forest = seeded(trees, concurrency=concurrency)

    status, out, err = grow(model_server, forest, "--num_processes", "5", "--json")

    assert status == 0, err
    assert json.loads(out)["num_complete"] == trees
    assert (
        f"{concurrency} requests in flight (as concurrency says) and {trees} unfinished trees, so "
        "2 processes instead of 5"
    ) in err


def test_shares_are_as_even_as_can_be():
    assert shares(16, 1) == [16]
    assert shares(10, 4) == [3, 3, 2, 2]
    assert shares(2, 5) == [1, 1]
