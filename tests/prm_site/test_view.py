"""`view`: the pages on this machine, with one command."""

import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from prm_site.services.processes import free_port
from tests.processes import on_test_database
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def view(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path, int]]:
    """The process of the command, the path of its log, and its port."""
    log, port = tmp_path / "log", free_port()
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "view", "--port", str(port)],
            env=on_test_database(),
            stdout=file,
            stderr=file,
        )
        try:
            yield process, log, port
        finally:
            process.kill()
            process.wait()


def test_it_serves_the_pages_until_it_is_stopped(view):
    process, log, port = view

    wait_until(lambda: "Ctrl-C stops it" in log.read_text(), 60)

    lines = log.read_text().splitlines()
    assert lines[0] == f"The forests: http://127.0.0.1:{port}/"
    # The settings name the database, so the command makes no user in it.
    assert re.fullmatch(r"Log in as a user of the site; `.* add_user` makes one", lines[1])
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as page:
        assert b"Log in" in page.read()
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130


def test_it_is_refused_where_the_site_is_for_others():
    done = subprocess.run(
        [sys.executable, "manage.py", "view"],
        env=on_test_database(
            PRM_PRODUCTION="1", PRM_SECRET_KEY="x" * 60, PRM_ALLOWED_HOSTS="a.example.org"
        ),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.startswith("CommandError: view serves this machine alone, without HTTPS: ")
