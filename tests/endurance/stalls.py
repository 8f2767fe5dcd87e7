"""Workers are stopped, or cut off from the database, for longer than their leases: `make stalls`.

Meanwhile other workers take their trees, and writes that had begun arrive late. At its end each
forest is recounted from the answers of the model server.
"""

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.conf import settings

from forests.models import Forest, Tree
from tests.endurance.answers import FIELD_OF_FOREST, STRATEGIES, NotingServer, Recount, recount
from tests.endurance.holding_proxy import LEASE_SECONDS, HoldingProxy, Way
from tests.openai_server import OpenAIServer
from tests.processes import kill_family, on_test_database, signal_all, stop_family
from tests.rollouts.forests import reread, seeded

pytestmark = pytest.mark.django_db(transaction=True)

NUM_WORKERS = 5
MAX_AWAY = 3
NUM_TREES = 40
MAX_SECONDS_OF_ANSWER = 1.0
SECONDS_TO_FINISH = 240
WAYS: tuple[Way, ...] = ("requests", "replies")


class Worker:
    """A process with short leases, which reaches the database through a proxy of its own."""

    def __init__(self, proxy: HoldingProxy, model_server: OpenAIServer, log: Path) -> None:
        self.proxy = proxy
        self.is_away = False
        self._variables = {
            "MONGODB_URI": f"mongodb://127.0.0.1:{proxy.port}/?directConnection=true",
            "OPENAI_BASE_URL": model_server.url,
            "PRM_LOG_LEVEL": "WARNING",
        }
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, forest: Forest, share: int) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable, "-m", "tests.endurance.short_lease_worker",
                    forest.name, str(share), str(NUM_WORKERS),
                ],
                env=on_test_database(**self._variables),
                stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def explain(self) -> None:
        """Let the worker write to its log what its threads do."""
        if self._process and not self.has_ended():
            signal_all([self._process.pid], signal.SIGUSR1)

    def end(self) -> None:
        if self._process:
            kill_family(self._process.pid)
            self._process.wait()

    def stall(self, seconds: float, way: Way, after: int) -> None:
        self.proxy.hold(way, after)
        time.sleep(seconds)
        self.proxy.forward()

    def stop(self, seconds: float) -> None:
        if self._process:
            stopped = stop_family(self._process.pid)
            time.sleep(seconds)
            signal_all(stopped, signal.SIGCONT)


@dataclass
class Row:
    """What happened to the forests of one strategy."""

    strategy: str
    stalls: int = 0
    stops: int = 0
    taken: int = 0
    """How often a tree was claimed again, mostly by another worker."""
    trees: int = 0
    nodes: int = 0
    answers: int = 0
    wasted: int = 0
    late: int = 0
    """Nodes that arrived too late and are still stored."""
    mismatches: list[str] = field(default_factory=list)

    def add(self, found: Recount, num_answers: int) -> None:
        self.trees += found.num_trees
        self.nodes += found.num_nodes
        self.answers += num_answers
        self.wasted += num_answers - found.num_used
        self.late += found.num_late
        self.mismatches += found.mismatches


class Mishaps:
    """Takes a worker away for some seconds, again and again, up to `most` times."""

    def __init__(self, workers: Sequence[Worker], row: Row, most: int, chance: random.Random):
        self._workers = workers
        self._row = row
        self._most = most
        self._chance = chance
        self._ending = threading.Event()
        self._threads: list[threading.Thread] = []

    @property
    def are_left(self) -> bool:
        return self._row.stalls + self._row.stops < self._most

    def go_on(self) -> None:
        """Take one more worker away, unless too many are away already."""
        at_work = [one for one in self._workers if not one.is_away and not one.has_ended()]
        num_away = sum(one.is_away for one in self._workers)
        if not self.are_left or num_away >= MAX_AWAY or not at_work:
            return
        worker = self._chance.choice(at_work)
        worker.is_away = True
        seconds = LEASE_SECONDS * self._chance.uniform(1.2, 2.5)
        arguments = (worker, seconds, self._chance.choice(WAYS), self._chance.randrange(12))
        is_stop = self._chance.random() < 0.4
        if is_stop:
            self._row.stops += 1
        else:
            self._row.stalls += 1
        thread = threading.Thread(target=self._be_away, args=(*arguments, is_stop))
        thread.start()
        self._threads.append(thread)

    def end(self) -> None:
        for thread in self._threads:
            thread.join()

    def _be_away(self, worker: Worker, seconds: float, way: Way, after: int, is_stop: bool) -> None:
        try:
            if is_stop:
                worker.stop(seconds)
            else:
                worker.stall(seconds, way, after)
            time.sleep(0.3)  # until the held messages have arrived
        finally:
            worker.is_away = False


def grow(forest: Forest, workers: Sequence[Worker], mishaps: Mishaps) -> None:
    """Let the workers grow a forest while some of them are away; return when all have ended."""
    for share, worker in enumerate(workers):
        worker.start(forest, share)
    deadline = time.monotonic() + SECONDS_TO_FINISH
    while not all(worker.has_ended() for worker in workers):
        time.sleep(0.2)
        now = reread(forest)
        if time.monotonic() > deadline:
            for worker in workers:
                worker.explain()
            time.sleep(1)
            running = [not worker.has_ended() for worker in workers]
            log = workers[0].log.read_text()[-10_000:]
            pytest.fail(
                f"{forest.name}: {now.num_pending} trees are not done; {running} run\n{log}"
            )
        is_growing = bool(now.num_pending)
        for share, worker in enumerate(workers):
            if is_growing and worker.has_ended():
                worker.start(forest, share)
        if is_growing and now.num_nodes:  # workers have trees
            mishaps.go_on()
    mishaps.end()


def table(rows: Sequence[Row]) -> str:
    names = [one.name for one in fields(Row)]
    lines = [names]
    for row in rows:
        values = [getattr(row, name) for name in names[:-1]]
        lines.append([*map(str, values), str(len(row.mismatches))])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(value.rjust(width) for value, width in zip(line, widths, strict=True))
        for line in lines
    )


def test_stalls_and_stops_leave_what_was_answered(
    pytestconfig: pytest.Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    most = pytestconfig.getoption("--stalls")
    chance = random.Random(pytestconfig.getoption("--seed"))
    address = urlsplit(settings.MONGODB_URI)
    rows: list[Row] = []
    with ExitStack() as stack:
        server = stack.enter_context(NotingServer(MAX_SECONDS_OF_ANSWER))
        proxies = [
            stack.enter_context(HoldingProxy(str(address.hostname), int(address.port or 27017)))
            for _ in range(NUM_WORKERS)
        ]
        workers = [Worker(proxy, server, tmp_path / "workers.log") for proxy in proxies]
        for worker in workers:
            stack.callback(worker.end)
        for number, strategy in enumerate(STRATEGIES, start=1):
            row = Row(strategy)
            rows.append(row)
            mishaps = Mishaps(
                workers, row, most * number // len(STRATEGIES) - row_sum(rows), chance
            )
            while mishaps.are_left:
                endure(row, workers, mishaps, server)
            with capsys.disabled():
                print(f"\n{table(rows)}", *row.mismatches, sep="\n")  # noqa: T201  the result

    assert row_sum(rows) == most
    assert [one for row in rows for one in row.mismatches] == []


def endure(row: Row, workers: Sequence[Worker], mishaps: Mishaps, server: NotingServer) -> None:
    """Grow one more forest, and recount it from the answers of the server."""
    suffix = f"{row.strategy.replace('_', '-')}-{row.trees}"
    forest = seeded(NUM_TREES, suffix, strategy=row.strategy, **STRATEGIES[row.strategy])
    forest.worker_config["extra_body"] = {FIELD_OF_FOREST: forest.name}
    forest.save()
    of_forest = Tree.objects.filter(forest_id=forest.name)
    seeded_with = dict(of_forest.values_list("pk", "generation"))
    grow(forest, workers, mishaps)
    given = server.given.pop(forest.name)
    row.add(recount(forest, given), given.number)
    for tree, generation in of_forest.values_list("pk", "generation"):
        row.taken += generation - seeded_with[tree] - 1  # the first claim takes it from nobody


def row_sum(rows: Sequence[Row]) -> int:
    return sum(row.stalls + row.stops for row in rows)
