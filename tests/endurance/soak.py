"""Everything at once, for half an hour: `make soak`.

Forests are seeded, grown with faults of the model server, paired while they grow and again at
their end, reviewed on the site, exported, imported, compared and deleted. Meanwhile readers ask
for pages. At the end everything adds up, memory is flat, and nothing is left in the queue.
"""

import io
import itertools
import random
import signal
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client
from rq import Worker
from rq.queue import Queue

from forests.core.naming import forest_name
from forests.models import COUNTERS, Forest, Node, Tree
from preferences.models import Preference, PreferenceSet, Review, set_id
from prm_site.services.processes import free_port
from rollouts.workers.jobs import enqueue_forest
from tests.deployment.test_running import at_port, pool, process, production
from tests.endurance.answers import FIELD_OF_FOREST, STRATEGIES, NotingServer, recount
from tests.openai_server import PASSING_FAULTS, Fault
from tests.rollouts.forests import reread, seeded, shape
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

NUM_LIVES = 3
"""How many forests live at the same time. Their imported copies are extra."""
NUM_TREES = 12
TREES_PER_JOB = 3
NUM_WORKERS = 2
NUM_READERS = 4
NUM_REVIEWS = 6
SHARE_OF_FAULTS = 0.12
SECONDS_BETWEEN_PAGES = 0.1
SECONDS_TO_GROW = 240
MAX_MEMORY = 1.05
"""Limit for the memory of the last fifth of a run, relative to the second fifth. A leak of a few MB
a minute exceeds it in half an hour. In a shorter run caches still fill, so `MAX_MEBIBYTES` more are
always allowed."""
MAX_MEBIBYTES = 16
HOST = "forests.example.org"


class Site:
    """The site as visitors see it, behind a proxy that speaks HTTPS."""

    def __init__(self, port: int, session: str) -> None:
        self.port = port
        self.statuses: Counter[int] = Counter()
        self.seconds: list[float] = []
        token = "0123456789abcdef" * 2
        self._headers = {
            "Host": HOST,
            "Referer": f"https://{HOST}/",
            "X-Forwarded-Proto": "https",
            "X-CSRFToken": token,
            "Cookie": f"{settings.SESSION_COOKIE_NAME}={session}; csrftoken={token}",
        }

    def ask(self, path: str, fields: dict[str, str] | None = None) -> int:
        """Return the status of the answer to a GET, or to a POST of fields; 0 where none came."""
        began = time.monotonic()
        headers = self._headers | {"Content-Type": "application/x-www-form-urlencoded"}
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=30)) as asked:
            try:
                method, body = ("POST", urlencode(fields)) if fields else ("GET", None)
                asked.request(method, path, body, headers)
                response = asked.getresponse()
                response.read()
                status = response.status
            except (OSError, HTTPException):
                status = 0
        self.seconds.append(time.monotonic() - began)
        self.statuses[status] += 1
        return status


class Memory:
    """Resident memory of long-lived processes in MiB, second by second."""

    def __init__(self, parent: int) -> None:
        self._parent = psutil.Process(parent)
        # Only these children are long-lived: jobs are processes that come and go.
        self._processes = [self._parent, *self._parent.children()]
        self.samples: list[float] = []

    def look(self) -> None:
        self.samples.append(sum(one.memory_info().rss for one in self._processes) / 2**20)

    def fifths(self) -> tuple[float, float]:
        """Return the median of the second fifth and of the last."""
        fifth = max(1, len(self.samples) // 5)
        second, last = self.samples[fifth : 2 * fifth], self.samples[-fifth:]
        return statistics.median(second or last), statistics.median(last)


class Soak:
    """The threads of a run, and their counts and problems."""

    def __init__(self, site: Site, server: NotingServer, directory: Path, minutes: float) -> None:
        self.site = site
        self.server = server
        self.directory = directory
        self.ends_at = time.monotonic() + 60 * minutes
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self.living: dict[int, str] = {}
        self._numbers = itertools.count()
        self._is_over = threading.Event()
        self._lock = threading.Lock()

    def go_on(self, look: Callable[[], None]) -> None:
        """Run the lives of forests and the readers; return when the last forest is deleted."""
        lives = [self._thread(self._live, number) for number in range(NUM_LIVES)]
        readers = [self._thread(self._read, number) for number in range(NUM_READERS)]
        while any(life.is_alive() for life in lives):
            look()
            time.sleep(1)
        self._is_over.set()
        for reader in readers:
            reader.join()

    def _thread(self, work: Callable[[int], None], number: int) -> threading.Thread:
        def run() -> None:
            try:
                work(number)
            except BaseException as error:  # noqa: BLE001  whatever it is, the run has failed
                self.problems.append(f"{work.__name__} {number}: {type(error).__name__}: {error}")
            finally:
                connection.close()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def _live(self, number: int) -> None:
        while time.monotonic() < self.ends_at:
            with self._lock:
                count = next(self._numbers)
            strategy = [*STRATEGIES][count % len(STRATEGIES)]
            forest = seeded(
                NUM_TREES, f"soak-{count}", strategy=strategy, **STRATEGIES[strategy],
                request_timeout_seconds=2.0, max_attempts=30,
                extra_body={
                    FIELD_OF_FOREST: forest_name("demo_arithmetic", "train", f"soak-{count}")
                },
            )  # fmt: skip
            self.living[number] = forest.name
            self._grow(forest)
            self._pair_and_review(forest)
            self._move(forest)
            del self.living[number]
            run("delete_forest", "--forest_name", forest.name, "--yes")
            self.counts["forests"] += 1

    def _grow(self, forest: Forest) -> None:
        """Grow a forest, make pairs once a tree is complete, and recount the forest."""
        deadline = time.monotonic() + SECONDS_TO_GROW
        paired = False
        while (now := reread(forest)).num_pending:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{forest.name}: {now.num_pending} trees are not done")
            enqueue_forest(now, TREES_PER_JOB)
            if now.num_complete and not paired:
                run(
                    "create_preferences",
                    "--min_confidence",
                    "0",
                    "--forest_name",
                    forest.name,
                    "--set_name",
                    "twice",
                )
                paired = True
            time.sleep(0.5)
        wait_until(lambda: not any(tree.lease_holder for tree in trees_of(forest)))
        given = self.server.given.pop(forest.name)
        found = recount(forest, given)
        self.problems += found.mismatches
        self.counts["trees"] += found.num_trees
        self.counts["nodes"] += found.num_nodes
        self.counts["answers"] += given.number
        self.counts["wasted answers"] += given.number - found.num_used

    def _pair_and_review(self, forest: Forest) -> None:
        """Compare a set that was begun while the forest grew with one of the grown forest."""
        made: list[PreferenceSet] = []
        for name in ("twice", "once"):
            run(
                "create_preferences",
                "--min_confidence",
                "0",
                "--forest_name",
                forest.name,
                "--set_name",
                name,
            )
            made.append(PreferenceSet.objects.get(pk=set_id(forest.name, name)))
        pairs = [
            sorted(Preference.objects.filter(preference_set_id=one.pk).values_list(*SIDES))
            for one in made
        ]
        if pairs[0] != pairs[1] or made[0].num_pairs != len(pairs[0]):
            self.problems.append(
                f"{forest.name}: {len(pairs[0])} and {len(pairs[1])} pairs, told "
                f"{made[0].num_pairs}"
            )
        self.counts["pairs"] += len(pairs[1])
        reviewed = Preference.objects.filter(preference_set_id=made[1].pk)[:NUM_REVIEWS]
        for number, pair in enumerate(reviewed):
            address = f"{pair.preference_set_id}/{pair.tree_index}/{pair.id.rpartition('/')[2]}"
            name, _, rest = address.partition("/")
            state = ("accepted", "rejected")[number % 2]
            status = self.site.ask(f"/{name}/preferences/{rest}/review/", {"state": state})
            if status != 302:
                self.problems.append(f"{address}: a review was answered {status}")
            self.counts["reviews"] += 1
        made[1].refresh_from_db()
        if made[1].num_accepted + made[1].num_rejected != len(reviewed):
            self.problems.append(f"{forest.name}: {len(reviewed)} reviews, told {made[1]}")

    def _move(self, forest: Forest) -> None:
        """Export a forest, import it under another name, compare and delete the copy."""
        place = self.directory / forest.name
        run("export_forest", "--forest_name", forest.name, "--output", str(place))
        suffix = f"copy-of-{forest.name.rpartition('-')[2]}"
        run("import_forest", str(place), "--forest_name_suffix", suffix)
        copy = Forest.objects.get(pk=forest_name("demo_arithmetic", "train", suffix))
        told = [[getattr(reread(one), name) for name in COUNTERS] for one in (forest, copy)]
        if shape(copy) != shape(forest) or told[0] != told[1]:
            self.problems.append(f"{copy.name} is not as {forest.name}: {told}")
        run("delete_forest", "--forest_name", copy.name, "--yes")
        self.counts["exports and imports"] += 1

    def _read(self, number: int) -> None:
        chance = random.Random(number)
        while not self._is_over.wait(SECONDS_BETWEEN_PAGES):
            names = [*self.living.values()]
            if not names:
                continue
            own = f"/{chance.choice(names)}/"
            tree = f"{own}trees/{chance.randrange(NUM_TREES)}/"
            path = chance.choice(
                ("/", own, f"{own}?page=1", tree, f"{tree}nodes/0.0/", f"{own}metrics/",
                 f"{own}preferences/", "/healthz"),
            )  # fmt: skip
            status = self.site.ask(path)
            # Forests come and go, and the first node may not be there yet.
            if status not in (200, 404):
                self.problems.append(f"{path} was answered {status}")
            self.counts["pages"] += status == 200


SIDES = ("tree_index", "chosen_id", "rejected_id")


def run(name: str, *arguments: str) -> None:
    call_command(name, *arguments, stdout=io.StringIO(), stderr=io.StringIO())


def trees_of(forest: Forest) -> Sequence[Tree]:
    return list(Tree.objects.filter(forest_id=forest.name))


def left_in(queue: Queue) -> list[str]:
    """Return what should not be in the queue's server once all is done and workers have ended.

    Keys that expire are left out: results of jobs stay for an hour, and records of workers that
    signed off for a minute.
    """
    redis = queue.connection
    registries = (
        queue.started_job_registry, queue.failed_job_registry, queue.deferred_job_registry,
        queue.scheduled_job_registry, queue.canceled_job_registry, queue.intermediate_queue,
    )  # fmt: skip
    jobs = [*queue.get_job_ids(), *(job for one in registries for job in one.get_job_ids())]
    keys = [key.decode() for key in redis.scan_iter()]
    names = {"rq:queues", queue.finished_job_registry.key}
    lasting = [key for key in keys if redis.ttl(key) == -1 and key not in names]
    return [*jobs, *lasting, *(worker.name for worker in Worker.all(queue=queue))]


def left_in_database() -> dict[str, int]:
    models: tuple[Any, ...] = (Forest, Tree, Node, PreferenceSet, Preference, Review)
    numbers = {model.__name__: model.objects.count() for model in models}
    return {name: number for name, number in numbers.items() if number}


def test_soak(
    pytestconfig: pytest.Config, queue: Queue, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(pytestconfig.getoption("--seed"))
    client = Client()
    client.force_login(User.objects.create_superuser("reviewer"))
    port = free_port(0)
    with ExitStack() as stack:
        server = stack.enter_context(NotingServer(0.2))
        server.misbehave = lambda: maybe_a_fault(chance)
        variables = production(
            OPENAI_BASE_URL=server.url,
            PRM_SECRET_KEY=str(settings.SECRET_KEY),
            PRM_LOG_LEVEL="ERROR",
        )
        with process(
            "manage.py", "collectstatic", "--noinput", "-v", "0", **variables
        ) as collecting:
            assert collecting.wait() == 0
        web = stack.enter_context(process(*at_port(port), **variables))
        workers = stack.enter_context(pool(server, NUM_WORKERS))
        site = Site(port, client.cookies[settings.SESSION_COOKIE_NAME].value)
        wait_until(lambda: site.ask("/healthz") == 200, 120)
        wait_until(lambda: len(psutil.Process(workers.pid).children()) >= NUM_WORKERS, 120)
        memories = {"site": Memory(web.pid), "workers": Memory(workers.pid)}
        site.statuses.clear()
        soak = Soak(site, server, tmp_path, pytestconfig.getoption("--minutes"))

        def look() -> None:
            for memory in memories.values():
                memory.look()

        soak.go_on(look)

        workers.send_signal(signal.SIGTERM)
        workers.wait(60)
        left = left_in(queue)
    with capsys.disabled():
        print(f"\n{table(soak, memories)}", *soak.problems[:50], sep="\n")  # noqa: T201  the result

    assert soak.problems == []
    assert left == []
    assert left_in_database() == {}
    for name, memory in memories.items():
        second, last = memory.fifths()
        assert last <= max(MAX_MEMORY * second, second + MAX_MEBIBYTES), name


def maybe_a_fault(chance: random.Random) -> Fault | None:
    return chance.choice(PASSING_FAULTS) if chance.random() < SHARE_OF_FAULTS else None


def table(soak: Soak, memories: dict[str, Memory]) -> str:
    seconds = sorted(soak.site.seconds)
    rows: dict[str, object] = dict(soak.counts)
    rows["page statuses"] = dict(soak.site.statuses)
    rows["page p95"] = f"{seconds[int(0.95 * (len(seconds) - 1))]:.2f} s"
    for name, memory in memories.items():
        second, last = memory.fifths()
        rows[f"memory of {name}"] = f"{second:.0f} MiB in the second fifth, {last:.0f} in the last"
    rows["problems"] = len(soak.problems)
    width = max(map(len, rows))
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in rows.items())
