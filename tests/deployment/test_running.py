"""Health checks of real processes, and workers and sites that are replaced while they work."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Self

import pytest
from django.conf import settings
from rq.queue import Queue

from deploy.healthcheck import main, problem_of_site, problem_of_workers
from forests.models import Forest, Tree
from prm_site.services.processes import free_port
from rollouts.workers.jobs import enqueue_forest
from tests.openai_server import OpenAIServer, write_two_steps
from tests.processes import on_test_database
from tests.rollouts.forests import assert_whole, reread, seeded
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

SITE_UNIT = Path("deploy/systemd/prm-site@.service")


@contextmanager
def process(*command: str, **variables: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a process, and end it with all its children."""
    child = subprocess.Popen(
        [sys.executable, *command], env=on_test_database(**variables), start_new_session=True
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def pool(server: OpenAIServer, num_workers: int = 1):
    return process(
        "manage.py", "rqworker-pool", "rollouts", "--num-workers", str(num_workers), "-v", "0",
        OPENAI_BASE_URL=server.url,
    )  # fmt: skip


def production(**more: str) -> dict[str, str]:
    """Return the settings that the site needs in production mode, beside a model server."""
    return {
        "PRM_PRODUCTION": "1",
        "PRM_SECRET_KEY": "0123456789" * 6,
        "PRM_ALLOWED_HOSTS": ".forests.example.org,other.example.org",
        "MONGODB_URI": settings.MONGODB_URI,
        "REDIS_URL": settings.REDIS_URL,
    } | more


def line_of_unit(name: str) -> list[str]:
    """Return the words of a setting that the site's systemd unit has once."""
    (line,) = re.findall(rf"^{name}=(.*)$", SITE_UNIT.read_text(), re.MULTILINE)
    return shlex.split(line.removeprefix("-"))


def arguments_of_granian() -> list[str]:
    """Return how the unit of systemd starts the site."""
    return line_of_unit("ExecStart")[1:]


def at_port(port: int) -> list[str]:
    """Return how the unit starts the site, on a port in place of a socket."""
    command = " ".join(arguments_of_granian())
    return re.sub(r"--uds \S+ --uds-permissions \S+", f"--port {port}", command).split()


def at(place: Path, words: list[str]) -> list[str]:
    """Return words of the unit, with the socket at another place."""
    return [word.replace("/run/prm-site/%i.sock", str(place)) for word in words]


def test_the_check_of_the_site_says_what_is_wrong(monkeypatch: pytest.MonkeyPatch):
    port = free_port(0)
    nobody = f"http://127.0.0.1:{free_port(0)}/v1"
    variables = production(OPENAI_BASE_URL=nobody)
    monkeypatch.setenv("PRM_ALLOWED_HOSTS", variables["PRM_ALLOWED_HOSTS"])
    assert "refused" in problem_of_site("/healthz", port)

    with process(*at_port(port), **variables):
        wait_until(lambda: "refused" not in problem_of_site("/healthz", port))

        assert problem_of_site("/healthz", port) == ""  # though no model server answers
        not_ready = problem_of_site("/readyz", port)
        assert not_ready.startswith("503")
        assert "backend: does not answer" in not_ready
        assert "database: ok" in not_ready
        assert problem_of_site("/metrics", port).startswith("401: log in")
        assert leads_elsewhere(port) == "https://other.example.org/healthz"
        monkeypatch.setenv("PRM_ALLOWED_HOSTS", "stranger.example.org")
        assert problem_of_site("/healthz", port).startswith("400")


def leads_elsewhere(port: int) -> str | None:
    """Return where the site redirects a request that does not say that it came by HTTPS."""
    with closing(HTTPConnection("127.0.0.1", port)) as connection:
        connection.request("GET", "/healthz", headers={"Host": "other.example.org"})
        return connection.getresponse().headers["Location"]


def test_a_page_that_leads_elsewhere_is_not_well():
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_login = self.path == "/login/"
            self.send_response(200 if is_login else 302)
            self.send_header("Location", "/login/")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        problem = problem_of_site("/healthz", server.server_port)
        server.shutdown()

    assert problem.endswith("/login/ answered 200")


class Proxy:
    """Asks the sockets of the site in turn; if one does not answer, it asks the next one."""

    def __init__(self, *sockets: Path) -> None:
        self.sockets = deque(sockets)
        self.statuses: list[int] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._go_on)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _go_on(self) -> None:
        while not self._stopped.wait(0.01):
            self.sockets.rotate()
            answers = (status_of(one, "/readyz") for one in self.sockets)
            self.statuses.append(next(filter(None, answers), 502))


def status_of(address: Path, path: str) -> int:
    """Return the status of the site's answer at a socket; 0 if nobody answers there."""
    with closing(HTTPConnection("forests.example.org")) as connection:
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.connect(str(address))
            connection.request("GET", path, headers={"X-Forwarded-Proto": "https"})
            return connection.getresponse().status
        except (OSError, HTTPException):
            return 0


def test_a_release_of_the_site_takes_over_from_another_without_a_gap(
    tmp_path_factory: pytest.TempPathFactory, model_server: OpenAIServer
):
    """The new one starts on its own socket, answers, then the old one gets SIGTERM."""
    directory = tmp_path_factory.mktemp("run")  # a socket's path may have 107 characters
    variables = production(OPENAI_BASE_URL=model_server.url)

    def site(release: str):
        return process(*at(directory / f"{release}.sock", arguments_of_granian()), **variables)

    a, b = directory / "a.sock", directory / "b.sock"
    with site("a") as old:
        wait_until(lambda: status_of(a, "/readyz") == 200)
        with site("b"), Proxy(a, b) as proxy:
            wait_until(lambda: status_of(b, "/readyz") == 200 and len(proxy.statuses) > 20)
            old.send_signal(signal.SIGTERM)
            assert old.wait(30) == 0
            before = len(proxy.statuses)
            wait_until(lambda: len(proxy.statuses) > before + 20)

    assert set(proxy.statuses) == {200}


def connected(address: Path) -> HTTPConnection:
    """Return a connection that has been answered once and stays open, as a browser's does."""
    connection = HTTPConnection("forests.example.org", timeout=30)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(30)
    connection.sock.connect(str(address))
    connection.request("GET", "/healthz", headers={"X-Forwarded-Proto": "https"})
    assert connection.getresponse().read() == b"ok\n"
    return connection


def test_connections_that_ask_nothing_do_not_keep_a_new_visitor_waiting(
    tmp_path_factory: pytest.TempPathFactory, model_server: OpenAIServer
):
    place = tmp_path_factory.mktemp("run") / "a.sock"
    variables = production(OPENAI_BASE_URL=model_server.url)
    with process(*at(place, arguments_of_granian()), **variables), ExitStack() as idle:
        wait_until(lambda: status_of(place, "/healthz") == 200)
        began = time.monotonic()
        for _ in range(200):
            idle.enter_context(closing(connected(place)))

        assert time.monotonic() - began < 20  # granian ends an idle connection after 30 s


def test_a_site_that_was_killed_starts_again(
    tmp_path_factory: pytest.TempPathFactory, model_server: OpenAIServer
):
    place = tmp_path_factory.mktemp("run") / "a.sock"
    variables = production(OPENAI_BASE_URL=model_server.url)

    for _ in range(2):
        subprocess.run(at(place, line_of_unit("ExecStartPre")), check=True)
        with process(*at(place, arguments_of_granian()), **variables):
            wait_until(lambda: status_of(place, "/healthz") == 200)
        assert place.exists()  # the killed process left it


def test_the_check_of_workers_looks_for_those_of_this_machine(
    queue: Queue, model_server: OpenAIServer, capfd: pytest.CaptureFixture[str]
):
    assert main(["workers", "rollouts"]) == 1
    assert "no worker of" in capfd.readouterr().err
    with pool(model_server):
        wait_until(lambda: problem_of_workers("rollouts") == "")
        assert main(["workers", "rollouts"]) == 0


def test_it_fails_without_a_queue(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    assert "does not answer" in problem_of_workers("rollouts")


def test_a_wrong_check_is_bad_usage(capsys: pytest.CaptureFixture[str]):
    assert main(["site"]) == 2
    assert "usage" in capsys.readouterr().err


@pytest.mark.slow
def test_workers_are_exchanged_while_a_forest_grows_and_nothing_is_lost(
    queue: Queue, model_server: OpenAIServer
):
    """The new ones start, then the old ones get SIGTERM, as `docs/deployment.md` says."""

    def write(prefix: str, seed: int) -> str:
        time.sleep(0.05)
        return write_two_steps(prefix, seed)

    model_server.write = write
    forest = seeded(40, concurrency=2)
    enqueue_forest(forest, 5)
    with pool(model_server, 2) as old:
        wait_until(lambda: reread(forest).num_complete > 4)
        with pool(model_server, 2):
            wait_until(lambda: queue.connection.scard("rq:workers") == 4)
            old.send_signal(signal.SIGTERM)
            status = old.wait(30)
            kept = Tree.objects.filter(forest=forest, num_nodes__gt=0).count()
            assert reread(forest).num_pending > 0  # else there was nothing to hand over
            wait_until(lambda: enqueue_forest(reread(forest), 5) == 0 and is_grown(forest), 60)

    grown = reread(forest)
    assert status == 0
    assert kept > 0
    assert (grown.num_complete, grown.num_failed) == (40, 0)
    assert_whole(grown)
    # Only what was in flight may be drawn again: two requests in each of two workers.
    assert model_server.num_answered - grown.requests <= 4


def is_grown(forest: Forest) -> bool:
    return reread(forest).num_pending == 0
