"""Everything is killed at random while a forest grows: nothing may be lost, doubled or torn.

`CHAOS_SECONDS` sets how long the kills last. The default is short, for every run of the tests.
"""

import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from rq.queue import Queue

from forests.models import Forest, Node
from forests.progress.reading import read_standing_of
from forests.storage.trees import is_held
from rollouts.workers.jobs import enqueue_forest, grow_slice
from tests.forked_commands import ForkedCommand
from tests.openai_server import PASSING_FAULTS, Fault, OpenAIServer, write_two_steps
from tests.prm_site.told_states import told_states
from tests.processes import kill_family, on_test_database, signal_all, stop_family
from tests.rollouts.forests import assert_whole, reread, seeded, seeded_of, shape
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

SECONDS = float(os.environ.get("CHAOS_SECONDS", "12"))
NUM_WORKERS = 4
NUM_TREES = 60
CONCURRENCY = 4


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
        """Number of answers that were sent whole, also by servers that have stopped since."""
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
        kill_family(self.workers[number].pid)
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
            kill_family(worker.pid)
            worker.wait()
        self._stop_server()

    def _start_server(self) -> OpenAIServer:
        server = OpenAIServer(_slowly, port=self.port)
        server.misbehave = self._maybe_a_fault
        return server.__enter__()

    def _stop_server(self) -> None:
        self.servers[-1].__exit__(None, None, None)

    def _maybe_a_fault(self) -> Fault | None:
        return self.chance.choice(PASSING_FAULTS) if self.chance.random() < 0.15 else None

    def _start_worker(self) -> ForkedCommand:
        return ForkedCommand(
            ["manage.py", "rqworker", "rollouts", "-v", "0"],
            env=on_test_database(OPENAI_BASE_URL=f"http://127.0.0.1:{self.port}/v1"),
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip


def _slowly(prefix: str, seed: int) -> str:
    time.sleep(0.02)
    return write_two_steps(prefix, seed)


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
    # A kill loses the requests in flight and the answers since the last write. If a server goes
    # down, or hangs until its client gives up, nobody receives its answers.
    wasted = chaos.answered - needed
    lost_in_flight = CONCURRENCY * (2 * chaos.worker_kills + NUM_WORKERS * chaos.server_restarts)
    assert wasted <= lost_in_flight, f"{wasted} of {chaos.answered} answers were wasted"


class TwoForests:
    """Two forests with different configs and models in one queue; each worker can grow one of them.

    Two of the four workers have one config each, and the server of its model. The other two have
    both configs, and a server with one of the models.
    """

    def __init__(self, directory: Path, servers: Sequence[OpenAIServer]) -> None:
        self.chance = random.Random(2)
        self.num_kills = 0
        self.log = directory / "workers.log"
        places = [directory / name for name in OWN_CONFIGS]
        for place in places:
            place.mkdir()
            (place / f"{place.name}.py").write_text(OWN_CONFIG.format(name=place.name))
        self.forests = [
            seeded_of(
                place / f"{place.name}.py", NUM_TREES // 2, concurrency=CONCURRENCY,
                model=server.models[0],
            )
            for place, server in zip(places, servers, strict=True)
        ]  # fmt: skip
        both = ":".join(map(str, places))
        self.settings = [
            {"OPENAI_BASE_URL": server.url, "PRM_CONFIG_PATH": path}
            for place, server in zip(places, servers, strict=True)
            for path in (str(place), both)
        ]
        self.workers = [self._start_worker(one) for one in self.settings]

    def kill_a_worker(self) -> None:
        number = self.chance.randrange(len(self.workers))
        kill_family(self.workers[number].pid)
        self.workers[number].wait()
        self.num_kills += 1
        self.workers[number] = self._start_worker(self.settings[number])

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Stop all workers for a while, so that the states of the forests do not change."""
        stopped: list[int] = []
        try:
            for worker in self.workers:
                stopped += stop_family(worker.pid)
            yield
        finally:
            signal_all(stopped, signal.SIGCONT)

    def end(self) -> None:
        for worker in self.workers:
            kill_family(worker.pid)
            worker.wait()

    def _start_worker(self, variables: dict[str, str]) -> ForkedCommand:
        with self.log.open("ab") as log:
            return ForkedCommand(
                ["manage.py", "rqworker", "rollouts", "-v", "0"],
                env=on_test_database(**variables, PRM_LOG_LEVEL="WARNING"),
                stderr=log,
                start_new_session=True,
            )


OWN_CONFIGS = ("first", "second")
OWN_CONFIG = """
from experiment_configs.rollout.demo_arithmetic import Config as Demo

class Config(Demo):
    def extract_answer(self, completion):
        return "{name}"
"""
MAX_REQUESTS = 40
"""Limit of the second forest, until its operator lifts it: about a third of what it needs."""


def with_model(name: str) -> OpenAIServer:
    server = OpenAIServer(_slowly)
    server.models = [name]
    return server


def assert_told_alike(chaos: TwoForests, client: Client) -> set[str]:
    """Check that all places tell the same state of a forest at one moment; return the states."""
    with chaos.standing_still():
        before = [read_standing_of(reread(forest)).state for forest in chaos.forests]
        told = told_states(client, chaos.forests)
        after = [read_standing_of(reread(forest)).state for forest in chaos.forests]
    seen: set[str] = set()
    for forest, state, still in zip(chaos.forests, before, after, strict=True):
        if state is still:  # else a lease has ended or a last write has arrived meanwhile
            assert told[forest.name] == {place: {str(state)} for place in told[forest.name]}
            seen.add(str(state))
    return seen


def test_two_forests_two_models_and_two_configs_in_one_queue_with_a_limit_and_kills(
    queue: Queue, tmp_path: Path, admin_client: Client, settings
):
    """Each tree is grown by its model, the limit holds, nothing is lost, and all places agree."""
    with with_model("one") as one, with_model("other") as other:
        servers = (one, other)
        chaos = TwoForests(tmp_path, servers)
        free, limited = chaos.forests
        Forest.objects.filter(pk=limited.name).update(max_requests=MAX_REQUESTS)
        deadline = time.monotonic() + SECONDS + 150
        kills_until = time.monotonic() + SECONDS
        seen: set[str] = set()
        try:
            while reread(free).num_pending or not reread(limited).spent_limit:
                assert time.monotonic() < deadline, "the forests did not grow as far as they may"
                for forest in chaos.forests:
                    enqueue_forest(forest, 3)
                time.sleep(chaos.chance.uniform(0.3, 1.2))
                seen |= assert_told_alike(chaos, admin_client)
                if time.monotonic() < kills_until:
                    chaos.kill_a_worker()
            wait_until(lambda: not queue.get_job_ids() and not is_held(reread(limited)))
            seen |= assert_told_alike(chaos, admin_client)
            spent = reread(limited)
            num_sent = len(other.requests) + len(other.probes)

            settings.CONFIG_PATH = [tmp_path / name for name in OWN_CONFIGS]
            settings.OPENAI_BASE_URL = other.url
            call_command("populate_forest", "--forest_name", limited.name, "--no_limit")
            while reread(limited).num_pending:
                assert time.monotonic() < deadline, "the forest did not grow without its limit"
                enqueue_forest(limited, 3)
                time.sleep(0.5)
                seen |= assert_told_alike(chaos, admin_client)
            wait_until(lambda: not queue.get_job_ids())
            seen |= assert_told_alike(chaos, admin_client)
        finally:
            chaos.end()

    assert chaos.num_kills > 0
    assert seen >= {"growing", "limit spent", "finished"}
    assert num_sent <= spent.used.requests == MAX_REQUESTS
    assert spent.num_pending > 0
    assert_each_grown_by_its_own(chaos, servers)
    for registry in (queue.failed_job_registry, queue.intermediate_queue):
        assert registry.get_job_ids() == []


def assert_each_grown_by_its_own(chaos: TwoForests, servers: Sequence[OpenAIServer]) -> None:
    """Check that only its own config and model made the nodes of each forest."""
    for forest, server in zip(chaos.forests, servers, strict=True):
        call_command("recount_forest", "--forest_name", forest.name, "--json")
        assert_whole(forest)
        nodes = Node.objects.filter(forest_id=forest.name)
        answers = nodes.filter(terminal=True, truncated=False)
        assert set(answers.values_list("answer", flat=True)) == {forest.config_name}
        assert set(nodes.values_list("model", flat=True)) == set(server.models)
        assert {body["model"] for body in server.requests} == set(server.models)
        grown = reread(forest)
        assert [entry["model"] for entry in grown.grown_by] == server.models
        assert (grown.worker_message, grown.stop_reason) == ("", "")
        assert grown.reservations == {}
    log = chaos.log.read_text()
    assert "no config named" in log
    assert re.search("has no model|is grown by", log)
