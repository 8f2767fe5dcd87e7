"""The demo of a checkout as a process; tests/prm_site/test_installed.py runs a whole one."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import CommandError

from tests.forked_commands import ForkedCommand
from tests.prm_site.demos import Demos
from tests.processes import on_test_database


@pytest.fixture
def demos(tmp_path: Path) -> Iterator[Demos]:
    """Demos of the checkout, with a model server that does not answer."""
    environment = os.environ | {
        "PRM_DATA_DIR": str(tmp_path / "data"), "MONGODB_URI": "", "REDIS_URL": "",
        "OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
    }  # fmt: skip
    with Demos([sys.executable, str(Path("manage.py").resolve())], tmp_path, environment) as demos:
        yield demos


def test_a_demo_without_its_model_server_says_so(demos: Demos):
    demo, log = demos.start()

    assert demo.wait(60) == 1
    lines = log.read_text().splitlines()
    assert lines[:2] == [
        "starting the services",
        "warning: http://127.0.0.1:1/v1 of OPENAI_BASE_URL does not answer: check it, or unset "
        "OPENAI_BASE_URL to use the embedded one",
    ]
    assert any(line.startswith("FAIL backend: ") for line in lines)
    assert lines[-1] == "CommandError: stage 'Verify the config' ended with status 1"


def test_a_demo_needs_a_port_that_exists(demos: Demos):
    demo, log = demos.start("--port", "70000")

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


@pytest.mark.django_db(transaction=True)
def test_demos_that_start_at_once_get_one_user_with_one_password(tmp_path: Path, settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
    environment = on_test_database(PRM_DATA_DIR=str(tmp_path))
    started = [
        ForkedCommand(["manage.py", "demo_user"], env=environment, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    told = [json.loads(one.communicate(timeout=60)[0]) for one in started]

    assert told == [told[0]] * 3
    assert User.objects.get().check_password(told[0]["password"])


@pytest.mark.django_db
def test_an_interrupted_demo_leaves_no_empty_password(tmp_path: Path, settings, capsys):
    settings.DATA_DIR = tmp_path
    (tmp_path / "demo_password").touch()

    call_command("demo_user")

    assert len(json.loads(capsys.readouterr().out)["password"]) == 16


@pytest.mark.django_db
def test_a_password_that_cannot_be_kept_makes_no_user(tmp_path: Path, settings):
    settings.DATA_DIR = tmp_path
    (tmp_path / "demo_password").mkdir()

    with pytest.raises(CommandError, match="demo_password cannot be read or written: Is a dir"):
        call_command("demo_user")
    assert not User.objects.exists()
