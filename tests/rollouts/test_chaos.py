"""Everything is killed at random while a forest grows: nothing may be lost, doubled or torn.

`CHAOS_SECONDS` sets how long it goes on; the default is the short form for every run of the tests.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from forests.models import Forest, Node
from rollouts.jobs import enqueue_forest, grow_slice
from tests.openai_server import Fault, OpenAIServer, write_two_steps
from tests.processes import on_test_database
from tests.rollouts.forests import assert_whole, reread, seeded, seeded_of, shape
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

SECONDS = float(os.environ.get("CHAOS_SECONDS", "12"))
NUM_WORKERS = 4
NUM_TREES = 60
CONCURRENCY = 4

FAULTS = (
    Fault(status=429, headers={"Retry-After": "0"}),
    Fault(status=500, body="oops"),
    Fault(cuts_body=True),
    Fault(body="not JSON"),
    Fault(body='{"choices": []}'),
    Fault(hangs_seconds=30),
    Fault(drops_connection=True),
)


class Chaos:
    """Workers, a queue and a model server, and what happens to them."""

    def __init__(self, forest: Forest, queue: Any, port: int) -> None:
        self.forest = forest
        self.queue = queue
        self.port = port
        self.chance = random.Random(1)
        self.worker_kills = 0
        self.server_restarts = 0
        self.servers = [self._start_server()]
        self.workers = [self._start_worker() for _ in range(NUM_WORKERS)]

    @property
    def answered(self) -> int:
        """Answers that were sent whole, by servers that were stopped meanwhile too."""
        return sum(server.num_answered for server in self.servers)

    def go_on(self, seconds: float) -> None:
        """Do something bad again and again."""
        bad_things: tuple[Callable[[], None], ...] = (
            self.kill_a_worker, self.lose_the_queue, self.restart_the_server,
        )  # fmt: skip
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(self.chance.uniform(0.3, 1.2))
            self.chance.choice(bad_things)()
            enqueue_forest(self.forest, 4)

    def kill_a_worker(self) -> None:
        number = self.chance.randrange(NUM_WORKERS)
        _kill_family(self.workers[number].pid)
        self.workers[number].wait()
        self.worker_kills += 1
        self.workers[number] = self._start_worker()

    def lose_the_queue(self) -> None:
        self.queue.connection.flushdb()

    def restart_the_server(self) -> None:
        self.server_restarts += 1
        self._stop_server()
        time.sleep(0.3)
        self.servers.append(self._start_server())

    def end(self) -> None:
        for worker in self.workers:
            _kill_family(worker.pid)
            worker.wait()
        self._stop_server()

    def _start_server(self) -> OpenAIServer:
        server = OpenAIServer(_slowly, port=self.port)
        server.misbehave = self._maybe_a_fault
        return server.__enter__()

    def _stop_server(self) -> None:
        self.servers[-1].__exit__(None, None, None)

    def _maybe_a_fault(self) -> Fault | None:
        return self.chance.choice(FAULTS) if self.chance.random() < 0.15 else None

    def _start_worker(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "manage.py", "rqworker", "rollouts", "-v", "0"],
            env=on_test_database(OPENAI_BASE_URL=f"http://127.0.0.1:{self.port}/v1"),
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip


def _slowly(prefix: str, seed: int) -> str:
    time.sleep(0.02)
    return write_two_steps(prefix, seed)


def _kill_family(pid: int) -> None:
    """Kill a worker and the process that runs its job, without a word."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        children = []
    for one in (pid, *map(int, children)):
        try:
            os.kill(one, signal.SIGKILL)
        except ProcessLookupError:
            continue


def test_a_forest_survives_chaos(queue, settings):
    limits = {"concurrency": CONCURRENCY, "max_attempts": 20, "request_timeout_seconds": 1.0}
    chaotic = seeded(NUM_TREES, "chaos", **limits)
    quiet = seeded(NUM_TREES, "quiet", **limits)
    with OpenAIServer() as server:
        settings.OPENAI_BASE_URL = server.url
        grow_slice(quiet.name, 0, NUM_TREES)
        needed = server.num_answered
        port = int(server.url.rpartition(":")[2].partition("/")[0])
    enqueue_forest(chaotic, 4)
    chaos = Chaos(chaotic, queue, port)

    try:
        chaos.go_on(SECONDS)
        settings.OPENAI_BASE_URL = f"http://127.0.0.1:{port}/v1"
        deadline = time.monotonic() + 90
        while reread(chaotic).num_pending:
            assert time.monotonic() < deadline, "the forest did not grow to its end"
            enqueue_forest(chaotic, 4)
            time.sleep(1)
    finally:
        chaos.end()
    call_command("recount_forest", "--forest_name", chaotic.name, "--json")

    assert chaos.worker_kills > 0
    assert shape(chaotic) == shape(quiet)
    assert_whole(chaotic)
    # A kill loses what is in flight and what was answered since the last write; a server that goes
    # down, or hangs until its client gives up, answers into the void.
    wasted = chaos.answered - needed
    lost_in_flight = CONCURRENCY * (2 * chaos.worker_kills + NUM_WORKERS * chaos.server_restarts)
    assert wasted <= lost_in_flight, f"{wasted} of {chaos.answered} answers were wasted"


class TwoConfigs:
    """Two forests of two configs in one queue, and workers that each have one of the configs."""

    def __init__(self, directory: Path, server: OpenAIServer) -> None:
        self.server = server
        self.chance = random.Random(2)
        self.num_kills = 0
        self.directories = [directory / name for name in OWN_CONFIGS]
        for place in self.directories:
            place.mkdir()
            source = OWN_CONFIG.format(name=place.name)
            (place / f"{place.name}.py").write_text(source)
        self.forests = [
            seeded_of(place / f"{place.name}.py", NUM_TREES // 2, concurrency=CONCURRENCY)
            for place in self.directories
        ]
        self.workers = [self._start_worker(place) for place in self.directories]

    def kill_a_worker(self) -> None:
        number = self.chance.randrange(len(self.workers))
        _kill_family(self.workers[number].pid)
        self.workers[number].wait()
        self.num_kills += 1
        self.workers[number] = self._start_worker(self.directories[number])

    def end(self) -> None:
        for worker in self.workers:
            _kill_family(worker.pid)
            worker.wait()

    def _start_worker(self, directory: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "manage.py", "rqworker", "rollouts", "-v", "0"],
            env=on_test_database(
                OPENAI_BASE_URL=self.server.url,
                PRM_CONFIG_PATH=str(directory),
                PRM_LOG_LEVEL="CRITICAL",
            ),
            start_new_session=True,
        )  # fmt: skip


OWN_CONFIGS = ("first", "second")
OWN_CONFIG = """
from experiment_configs.rollout.demo_arithmetic import Config as Demo

class Config(Demo):
    def extract_answer(self, completion):
        return "{name}"
"""


def test_workers_with_one_config_each_grow_two_forests_of_one_queue(queue, tmp_path: Path):
    """None grows a tree of the other config, none fails a job, and none loses one."""
    with OpenAIServer(_slowly) as server:
        chaos = TwoConfigs(tmp_path, server)
        deadline = time.monotonic() + SECONDS + 120
        kills_until = time.monotonic() + SECONDS
        messages: set[str] = set()
        try:
            while any(reread(forest).num_pending for forest in chaos.forests):
                assert time.monotonic() < deadline, "the forests did not grow to their end"
                for forest in chaos.forests:
                    enqueue_forest(forest, 3)
                    messages.add(reread(forest).worker_message)
                time.sleep(chaos.chance.uniform(0.3, 1.2))
                if time.monotonic() < kills_until:
                    chaos.kill_a_worker()
            wait_until(lambda: not queue.get_job_ids())
        finally:
            chaos.end()

    assert chaos.num_kills > 0
    for forest in chaos.forests:
        call_command("recount_forest", "--forest_name", forest.name, "--json")
        assert_whole(forest)
        answers = Node.objects.filter(forest_id=forest.name, terminal=True, truncated=False)
        assert set(answers.values_list("answer", flat=True)) == {forest.config_name}
        assert reread(forest).worker_message == ""
    assert any("no config named" in message for message in messages)
    for registry in (queue.failed_job_registry, queue.intermediate_queue):
        assert registry.get_job_ids() == []
