"""The demo as a process: real services and commands, with a scripted model server."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import pytest
from datasets import load_from_disk
from django.contrib.auth.models import User
from django.core.management import call_command

from prm_site.services import registry
from prm_site.services.supervisor import holder
from tests.openai_server import Fault, OpenAIServer


@pytest.fixture
def start_demo(tmp_path: Path, scripted: OpenAIServer):
    """Starts a demo of two trees that ends after the export, and returns it with its log."""
    started: list[tuple[subprocess.Popen[bytes], IO[bytes]]] = []

    def start(*arguments: str, model: str = scripted.url) -> tuple[subprocess.Popen[bytes], Path]:
        log = tmp_path / f"demo-{len(started)}.log"
        file = log.open("wb")
        demo = subprocess.Popen(
            [
                sys.executable, "manage.py", "demo", "--exit", "--limit", "2",
                "--output", str(tmp_path / "export"), *arguments,
            ],
            env=os.environ | {
                "PRM_DATA_DIR": str(tmp_path / "data"), "MONGODB_URI": "", "REDIS_URL": "",
                "OPENAI_BASE_URL": model,
            },
            stdout=file,
            stderr=file,
        )  # fmt: skip
        started.append((demo, file))
        return demo, log

    yield start
    for demo, file in started:
        demo.kill()
        demo.wait()
        file.close()


@pytest.fixture
def scripted():
    with OpenAIServer() as server:
        yield server


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def stages(log: Path) -> Sequence[str]:
    """Return the commands that a demo went through."""
    return [
        line.partition("manage.py ")[2].split()[0]
        for line in log.read_text().splitlines()
        if line.startswith("=== ") and "manage.py" in line
    ]


@pytest.mark.slow
def test_an_interrupted_demo_stops_all_and_the_next_one_ends_with_a_dataset(
    tmp_path: Path, scripted: OpenAIServer, start_demo
):
    data_dir = tmp_path / "data"
    demo, log = start_demo()
    wait_for(lambda: stages(log)[-1:] == ["seed_forest"])
    asked = len(scripted.requests)
    scripted.faults.extend([Fault(hangs_seconds=120)] * 50)
    wait_for(lambda: len(scripted.requests) > asked)
    assert set(registry.running_addresses(data_dir)) == {"mongodb", "queue"}

    demo.send_signal(signal.SIGINT)

    assert demo.wait(60) == 130
    assert registry.running_addresses(data_dir) == {}
    assert holder(data_dir) == ""
    assert stages(log)[-1] == "rollout_worker"
    assert "Traceback" not in log.read_text()

    scripted.faults.clear()
    demo, log = start_demo()

    assert demo.wait(120) == 0, log.read_text()
    assert stages(log) == [
        "verify_config", "seed_forest", "rollout_worker", "beam_search", "create_preferences",
        "export_preferences",
    ]  # fmt: skip
    rows = list(load_from_disk(str(tmp_path / "export" / "dataset"))["train"])
    assert rows
    assert all(row["chosen"] != row["rejected"] for row in rows)
    assert registry.running_addresses(data_dir) == {}


def test_a_demo_without_its_model_server_says_so(tmp_path: Path, start_demo):
    demo, log = start_demo(model="http://127.0.0.1:1/v1")

    assert demo.wait(60) == 1
    lines = log.read_text().splitlines()
    assert lines[:2] == [
        "starting the services",
        "warning: OPENAI_BASE_URL=http://127.0.0.1:1/v1 does not answer: check it, or unset it to "
        "use the embedded one",
    ]
    assert any(line.startswith("FAIL backend: ") for line in lines)
    assert lines[-1] == "CommandError: stage 'Verify the config' ended with status 1"


def test_a_demo_needs_a_port_that_exists(start_demo):
    demo, log = start_demo("--port", "70000")

    assert demo.wait(60) == 2
    assert "invalid choice: 70000" in log.read_text()


@pytest.mark.django_db
def test_the_demo_user_keeps_a_password_that_only_the_owner_reads(
    tmp_path: Path, settings, client, capsys
):
    settings.DATA_DIR = tmp_path / "not" / "there"

    call_command("demo_user")
    first = json.loads(capsys.readouterr().out)
    call_command("demo_user")
    second = json.loads(capsys.readouterr().out)

    assert first == second
    assert client.post("/login/", first).status_code == 302
    assert User.objects.get(username=first["username"]).is_staff
    assert (settings.DATA_DIR / "demo_password").stat().st_mode & 0o777 == 0o600
