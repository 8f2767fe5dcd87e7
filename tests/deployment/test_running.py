"""Health checks of real processes, and workers that are exchanged while a forest grows."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.conf import settings
from django.db import connection
from rq.queue import Queue

from deploy.healthcheck import main, problem_of_site, problem_of_workers
from forests.models import Forest, Tree
from prm_site.services.processes import free_port
from rollouts.jobs import enqueue_forest
from tests.openai_server import OpenAIServer, write_two_steps
from tests.rollouts.forests import assert_whole, reread, seeded
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"PRM_DATABASE_NAME": str(connection.settings_dict["NAME"])} | more


@contextmanager
def process(*command: str, **variables: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a process, and end it with all its children."""
    child = subprocess.Popen(
        [sys.executable, *command], env=environment(**variables), start_new_session=True
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


@pytest.fixture
def production(monkeypatch: pytest.MonkeyPatch, model_server: OpenAIServer) -> Iterator[int]:
    """The port of the site, served as in production."""
    port = free_port(0)
    monkeypatch.setenv("PRM_ALLOWED_HOSTS", ".forests.example.org,other.example.org")
    variables = {
        "PRM_PRODUCTION": "1",
        "PRM_SECRET_KEY": "0123456789" * 6,
        "MONGODB_URI": settings.MONGODB_URI,
        "REDIS_URL": settings.REDIS_URL,
        "OPENAI_BASE_URL": model_server.url,
    }
    arguments = (
        "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port),
        "--no-ws", "--log-level", "warning", "prm_site.wsgi:application",
    )  # fmt: skip
    with process(*arguments, **variables):
        wait_until(lambda: "refused" not in problem_of_site("/healthz", port))
        yield port


def test_the_check_of_the_site_passes_where_the_site_is_well(production: int):
    assert problem_of_site("/healthz", production) == ""
    assert problem_of_site("/readyz", production) == ""


def test_it_fails_with_what_is_wrong(production: int, monkeypatch: pytest.MonkeyPatch):
    assert problem_of_site("/metrics", production).startswith("401: log in")
    monkeypatch.setenv("PRM_ALLOWED_HOSTS", "stranger.example.org")
    assert problem_of_site("/healthz", production).startswith("400")
    assert "refused" in problem_of_site("/healthz", free_port(0))


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
            assert reread(forest).num_pending > 0  # or there was nothing to hand over
            wait_until(lambda: enqueue_forest(reread(forest), 5) == 0 and is_grown(forest), 60)

    grown = reread(forest)
    assert status == 0
    assert kept > 0
    assert (grown.num_complete, grown.num_failed) == (40, 0)
    assert_whole(grown)
    # What was in flight in two workers with two requests each is all that may be drawn again.
    assert model_server.num_answered - grown.requests <= 4


def is_grown(forest: Forest) -> bool:
    return reread(forest).num_pending == 0
