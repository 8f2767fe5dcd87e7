"""Messages when the database, the queue or the model server was not started before."""

import os
from pathlib import Path

import pytest
from django.db import DatabaseError
from django.test import Client
from pymongo.errors import ServerSelectionTimeoutError
from redis.exceptions import ConnectionError as NoQueueError

from prm_site.management.commands.runserver import Command as RunServer
from tests.forked_commands import run_command
from tests.processes import on_test_database
from tests.rollouts.forests import seeded

NOTHING = {
    "MONGODB_URI": "", "REDIS_URL": "", "OPENAI_BASE_URL": "", "PRM_MONGODB_TIMEOUT_SECONDS": "1",
}  # fmt: skip
NOBODY = "127.0.0.1:1"
REMEDY = "in .env, or start the embedded services with `python manage.py services`"
COUNT = "from django.contrib.auth.models import User; User.objects.count()"


def run(*arguments: str, **environment: str) -> tuple[int, str]:
    """Return the status of a command and what it says on stderr."""
    done = run_command(arguments, env=environment, timeout=60)
    return done.returncode, done.stderr.strip()


@pytest.mark.parametrize(
    "arguments",
    [
        ["migrate"],
        ["rqworker", "rollouts"],
        ["rqworker-pool", "rollouts", "--num-workers", "2"],
        ["createsuperuser", "--noinput", "--username", "x", "--email", "x@example.org"],
        ["shell", "-v", "0", "-c", COUNT],
    ],
    ids=lambda arguments: arguments[0],
)
@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("", f"no database: set MONGODB_URI {REMEDY}"),
        (f"mongodb://me:secret@{NOBODY}/", f"MongoDB at mongodb://{NOBODY}/ failed: {NOBODY}: "),
    ],
)
def test_a_command_without_a_database_says_so_in_one_line(
    tmp_path: Path, arguments: list[str], uri: str, said: str
):
    environment = NOTHING | {"MONGODB_URI": uri, "REDIS_URL": f"redis://{NOBODY}/0"}

    status, err = run(*arguments, **os.environ | environment | {"PRM_DATA_DIR": str(tmp_path)})

    assert status == 1
    assert err.startswith(said)
    assert len(err.splitlines()) == 1
    assert "secret" not in err


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("command", ["rqworker", "rqworker-pool"])
@pytest.mark.parametrize(
    ("without", "said"),
    [
        ({"REDIS_URL": ""}, f"no queue: set REDIS_URL {REMEDY}"),
        ({"REDIS_URL": f"redis://{NOBODY}/0"}, f"the queue at redis://{NOBODY}/0 failed: "),
        ({"OPENAI_BASE_URL": ""}, f"no model server: set OPENAI_BASE_URL {REMEDY}"),
    ],
)
def test_a_worker_without_a_queue_or_a_model_server_says_so_in_one_line(
    tmp_path: Path, queue, command: str, without: dict[str, str], said: str
):
    seeded(1)
    environment = on_test_database(OPENAI_BASE_URL=f"http://{NOBODY}/v1") | without

    status, err = run(command, "rollouts", **environment | {"PRM_DATA_DIR": str(tmp_path)})

    assert status == 1
    assert err.startswith(said)
    assert len(err.splitlines()) == 1


@pytest.mark.django_db(transaction=True)
def test_workers_start_where_a_forest_names_model_servers_of_its_own(tmp_path: Path, queue):
    seeded(1, base_urls=[f"http://{NOBODY}/v1"])
    environment = on_test_database(OPENAI_BASE_URL="") | {"PRM_DATA_DIR": str(tmp_path)}

    assert run("rqworker", "rollouts", "--burst", "-v", "0", **environment) == (0, "")


def test_help_and_tracebacks_are_there_for_those_who_ask(tmp_path: Path):
    environment = os.environ | NOTHING | {"PRM_DATA_DIR": str(tmp_path)}

    assert run("rqworker", "--help", **environment) == (0, "")
    status, err = run("migrate", "--traceback", **environment)
    assert status == 1
    assert "ServerSelectionTimeoutError" in err


def away(*_: object) -> None:
    raise ServerSelectionTimeoutError(f"{NOBODY}: Connection refused\nTopology: …")


def away_for_the_orm(*_: object) -> None:
    raise DatabaseError from ServerSelectionTimeoutError(f"{NOBODY}: Connection refused")


def without_queue(*_: object) -> None:
    raise NoQueueError(f"Error 111 connecting to {NOBODY}")


def fault_of_ours(*_: object) -> None:
    raise DatabaseError("no such field")


@pytest.mark.parametrize("fail", [away, away_for_the_orm])
def test_runserver_starts_without_a_database_and_says_so(monkeypatch, capsys, fail):
    monkeypatch.setattr("django.core.management.base.BaseCommand.check_migrations", fail)

    RunServer().check_migrations()

    said = capsys.readouterr().err
    assert f"failed: {NOBODY}: Connection refused" in said
    assert "pages answer 503" in said
    assert len(said.splitlines()) == 1


def test_runserver_does_not_hide_a_fault_of_ours(monkeypatch):
    monkeypatch.setattr("django.core.management.base.BaseCommand.check_migrations", fault_of_ours)

    with pytest.raises(DatabaseError):
        RunServer().check_migrations()


@pytest.mark.django_db
@pytest.mark.parametrize("fail", [away, away_for_the_orm])
def test_a_page_without_a_database_is_a_503_and_one_line_in_the_log(
    admin_client: Client, monkeypatch, caplog, fail
):
    monkeypatch.setattr("forests.pages.overview.list_views.read_forests", fail)
    admin_client.raise_request_exception = False

    response = admin_client.get("/")

    assert response.status_code == 503
    assert "Temporarily unavailable" in response.text
    assert NOBODY not in response.text
    (record,) = caplog.records
    assert f"failed: {NOBODY}: Connection refused" in record.getMessage()
    assert record.exc_info is None
    assert len(record.getMessage().splitlines()) == 1


@pytest.mark.django_db
def test_a_page_that_fails_through_a_fault_of_ours_is_a_500_with_its_traceback(
    admin_client: Client, monkeypatch, caplog
):
    monkeypatch.setattr("forests.pages.overview.list_views.read_forests", fault_of_ours)
    admin_client.raise_request_exception = False

    response = admin_client.get("/")

    assert response.status_code == 500
    assert "Something went wrong" in response.text
    (record,) = caplog.records
    assert record.exc_info is not None
