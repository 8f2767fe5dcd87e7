"""Many readers while a forest grows: `make readers`.

Two workers grow a forest. First one reader asks for pages, then 64 at once, beside 200 connections
that ask nothing and 16 that read their answers byte by byte. The site runs as in production.
"""

import random
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client

from forests.models import Forest
from prm_site.services.processes import free_port
from rollouts.workers.jobs import enqueue_forest
from tests.deployment.test_running import at_port, pool, process, production
from tests.endurance.answers import FIELD_OF_FOREST, NotingServer
from tests.endurance.soak import HOST, Memory, Site
from tests.rollouts.forests import reread, seeded
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

NUM_READERS = 64
NUM_IDLE = 200
NUM_SLOW = 16
SECONDS_BETWEEN_BYTES = 0.05
NUM_TREES = 200
NUM_WORKERS = 2
MAX_MEBIBYTES = 64
"""How much more memory the site may hold with all readers than with one."""


@dataclass
class Phase:
    """What readers met in one stretch of time."""

    name: str
    site: Site
    requests_grown: int = 0
    seconds: float = 0.0
    memory: list[float] = field(default_factory=list)

    def row(self) -> str:
        times = sorted(self.site.seconds)
        errors = sum(number for status, number in self.site.statuses.items() if status != 200)
        p50, p95 = (1000 * times[int(share * (len(times) - 1))] for share in (0.5, 0.95))
        return (
            f"{self.name:36} {len(times) / self.seconds:7.1f} {errors:6} {p50:8.0f} {p95:8.0f}"
            f" {max(self.memory):6.0f} {self.requests_grown / self.seconds:9.1f}"
        )


def test_readers(pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("reader"))
    session = client.cookies[settings.SESSION_COOKIE_NAME].value
    port = free_port(0)
    minutes = pytestconfig.getoption("--minutes")
    with ExitStack() as stack:
        server = stack.enter_context(NotingServer(0.2))
        variables = production(
            OPENAI_BASE_URL=server.url,
            PRM_SECRET_KEY=str(settings.SECRET_KEY),
            PRM_LOG_LEVEL="ERROR",
        )
        with process("manage.py", "collectstatic", "--noinput", "-v", "0", **variables) as made:
            assert made.wait() == 0
        web = stack.enter_context(process(*at_port(port), **variables))
        stack.enter_context(pool(server, NUM_WORKERS))
        wait_until(lambda: Site(port, session).ask("/healthz") == 200, 120)
        forest = seeded(
            NUM_TREES, "readers", branching=[4, 4, 4, 4],
            extra_body={FIELD_OF_FOREST: "demo_arithmetic-train-readers"},
        )  # fmt: skip
        enqueue_forest(forest, 25)
        wait_until(lambda: reread(forest).num_nodes > 100, 120)

        one = _read(Phase("1 reader", Site(port, session)), 1, web.pid, forest, 30 * minutes)
        for _ in range(NUM_IDLE):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        is_over = threading.Event()
        slow = [
            threading.Thread(target=_read_slowly, args=(port, session, forest, is_over))
            for _ in range(NUM_SLOW)
        ]
        for thread in slow:
            thread.start()
        name = f"{NUM_READERS} readers, {NUM_IDLE} idle, {NUM_SLOW} slow"
        many = _read(Phase(name, Site(port, session)), NUM_READERS, web.pid, forest, 60 * minutes)
        is_over.set()
        for thread in slow:
            thread.join()
        still_grows = reread(forest).num_pending
    with capsys.disabled():
        heading = f"{'':36} pages/s errors   p50 ms   p95 ms    MiB  asked/s"
        print(f"\n{heading}", one.row(), many.row(), sep="\n")  # noqa: T201  the result

    assert still_grows, "the forest was grown before the readers were done: give it more trees"
    assert set(many.site.statuses) == {200}
    assert max(many.memory) <= max(one.memory) + MAX_MEBIBYTES


def _read(phase: Phase, num_readers: int, pid: int, forest: Forest, seconds: float) -> Phase:
    """Let readers ask for pages. Each asks for the next page as soon as it has the last one."""
    ends_at = time.monotonic() + seconds
    before = reread(forest).requests
    readers = [
        threading.Thread(target=_read_pages, args=(phase.site, number, forest, ends_at))
        for number in range(num_readers)
    ]
    memory = Memory(pid)
    began = time.monotonic()
    for reader in readers:
        reader.start()
    while any(reader.is_alive() for reader in readers):
        memory.look()
        time.sleep(0.5)
    phase.seconds = time.monotonic() - began
    phase.requests_grown = reread(forest).requests - before
    phase.memory = memory.samples
    return phase


def _read_pages(site: Site, number: int, forest: Forest, ends_at: float) -> None:
    chance = random.Random(number)
    own = f"/{forest.name}/"
    while time.monotonic() < ends_at:
        tree = f"{own}trees/{chance.randrange(NUM_TREES)}/"
        site.ask(chance.choice(("/", own, f"{own}?page=2", tree, tree, f"{own}metrics/")))


def _read_slowly(port: int, session: str, forest: Forest, is_over: threading.Event) -> None:
    """Ask for the forest's page again and again, and take its answer byte by byte."""
    request = (
        f"GET /{forest.name}/ HTTP/1.1\r\nHost: {HOST}\r\nX-Forwarded-Proto: https\r\n"
        f"Cookie: {settings.SESSION_COOKIE_NAME}={session}\r\n\r\n"
    ).encode()
    _until(is_over, lambda: _take_slowly(port, request, is_over))


def _until(is_over: threading.Event, work: Callable[[], None]) -> None:
    while not is_over.is_set():
        work()


def _take_slowly(port: int, request: bytes, is_over: threading.Event) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as reader:
        reader.sendall(request)
        while not is_over.wait(SECONDS_BETWEEN_BYTES) and reader.recv(1):
            pass
