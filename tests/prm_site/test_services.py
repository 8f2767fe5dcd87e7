"""The embedded services, started for real on directories of their own."""

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pymongo
import pytest
import redis

from prm_site.services import processes, registry
from prm_site.services.definitions import (
    ALL,
    MODEL,
    MONGODB,
    QUEUE,
    MissingPackageError,
    Service,
)
from prm_site.services.supervisor import ServiceError, Supervisor, holder, is_ready
from tests.forked_commands import run_command
from tests.waiting import wait_until


def say(_: str) -> None:
    """Ignore the message: these tests check what happens."""


def address(data_dir: Path, service: str) -> str:
    return registry.running_addresses(data_dir)[service]


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Path]:
    """A data directory with MongoDB and queue running, and their supervisor in a process."""
    child = processes.start(
        [sys.executable, "manage.py", "services", "--only", "mongodb,queue"],
        environment=os.environ | {
            "PRM_DATA_DIR": str(tmp_path), "MONGODB_URI": "", "REDIS_URL": "",
        },
        log=tmp_path / "supervisor.log",
    )  # fmt: skip
    try:
        wait_until(lambda: is_ready(tmp_path), 90)
        yield tmp_path
    finally:
        processes.stop(child)


def test_services_start_keep_their_data_and_stop(tmp_path: Path):
    for number in range(2):
        with Supervisor(tmp_path, (MONGODB, QUEUE), say):
            with pymongo.MongoClient[dict[str, int]](address(tmp_path, "mongodb")) as client:
                client.test.numbers.insert_one({"_id": number})
                assert client.test.numbers.count_documents({}) == number + 1
            with redis.Redis.from_url(address(tmp_path, "queue")) as queue:
                assert queue.incr("runs") == number + 1

    assert registry.running_addresses(tmp_path) == {}


def test_a_directory_has_one_supervisor(tmp_path: Path):
    with (
        Supervisor(tmp_path, (), say),
        pytest.raises(ServiceError, match=f"already run on {tmp_path} .process {os.getpid()}"),
        Supervisor(tmp_path, (), say),
    ):
        pytest.fail("two supervisors on one directory")


def count_in_mongodb(uri: str) -> int:
    with pymongo.MongoClient[dict[str, Any]](uri) as client:
        client.test.counts.update_one({"_id": "runs"}, {"$inc": {"n": 1}}, upsert=True)
        found = client.test.counts.find_one({"_id": "runs"})
    assert found is not None
    return int(found["n"])


def count_in_queue(url: str) -> int:
    with redis.Redis.from_url(url) as queue:
        return int(queue.incr("runs"))


@pytest.mark.parametrize(
    ("service", "count"), [(MONGODB, count_in_mongodb), (QUEUE, count_in_queue)]
)
def test_a_killed_service_comes_back_with_all_it_acknowledged_and_its_address(
    tmp_path: Path, service: Service, count: Callable[[str], int]
):
    said: list[str] = []
    with Supervisor(tmp_path, (service,), said.append) as supervisor:
        before = registry.read_entry(tmp_path, service.name)
        assert before is not None

        def came_back() -> bool:
            supervisor.restart_dead()
            return registry.read_entry(tmp_path, service.name) != before

        assert count(before.address) == 1
        os.kill(before.pid, signal.SIGKILL)
        wait_until(came_back)

        assert address(tmp_path, service.name) == before.address
        assert count(before.address) == 2
    assert said == [f"{service.name} ended with status -9: restarting it"]


def test_services_end_with_a_killed_supervisor(supervised: Path):
    assert set(registry.running_addresses(supervised)) == {"mongodb", "queue"}

    os.kill(int(holder(supervised)), signal.SIGKILL)

    wait_until(lambda: registry.running_addresses(supervised) == {})
    assert not is_ready(supervised)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_the_services_command_stops_its_services(supervised: Path, number: int, status: int):
    process = int(holder(supervised))

    os.kill(process, number)

    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == status
    assert registry.running_addresses(supervised) == {}
    assert not is_ready(supervised)


def test_commands_find_running_services_by_themselves(supervised: Path):
    done = run_command(
        ["recount_forest", "--forest_name", "none"],
        env=os.environ | {"PRM_DATA_DIR": str(supervised), "MONGODB_URI": "", "REDIS_URL": ""},
    )

    assert done.returncode == 1
    assert done.stderr.strip() == (
        "CommandError: no forest named 'none'; none is seeded: run seed_forest"
    )


def test_a_second_services_command_is_refused_in_one_line(supervised: Path):
    done = run_command(
        ["services", "--only", "queue"],
        env=os.environ | {"PRM_DATA_DIR": str(supervised), "REDIS_URL": ""},
    )

    assert done.returncode == 1
    assert "already" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_server_named_in_the_environment_is_checked_and_not_started(tmp_path: Path):
    done = run_command(
        ["services", "--only", "queue"],
        env=os.environ | {"PRM_DATA_DIR": str(tmp_path), "REDIS_URL": "redis://127.0.0.1:1/0"},
    )

    assert done.returncode == 1
    assert done.stderr == (
        "CommandError: redis://127.0.0.1:1/0 of REDIS_URL does not answer: check it, or unset "
        "REDIS_URL to use the embedded one\n"
    )


def test_the_packaged_model_answers(tmp_path: Path):
    try:
        MODEL.command(tmp_path, 1)
    except MissingPackageError as error:
        pytest.skip(str(error))

    with Supervisor(tmp_path, (MODEL,), say):
        request = urllib.request.Request(
            f"{address(tmp_path, 'model')}/completions",
            data=json.dumps({"prompt": "1, 2, 3,", "max_tokens": 4}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)

    assert answer["choices"][0]["text"]


@pytest.mark.parametrize(
    ("status", "is_there"), [(200, True), (401, True), (403, True), (404, True), (503, False)]
)
def test_a_model_server_that_asks_for_a_key_is_there(status: int, *, is_there: bool):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert MODEL.is_ready(f"http://127.0.0.1:{server.server_port}/v1") is is_there
        thread.join()


AWAY = "http://127.0.0.1:1/v1"


@pytest.mark.parametrize(
    ("setting", "value"),
    [("OPENAI_BASE_URL", AWAY), ("OPENAI_BASE_URLS", f"{AWAY},"), ("OPENAI_SERVERS_FILE", "{}")],
)
def test_services_start_without_the_model_server_that_is_named_and_warn(
    tmp_path: Path, setting: str, value: str
):
    servers = tmp_path / "servers.json"
    servers.write_text(json.dumps([{"url": AWAY}]))
    log = tmp_path / "supervisor.log"
    child = processes.start(
        [sys.executable, "manage.py", "services"],
        environment=os.environ | {
            "PRM_DATA_DIR": str(tmp_path), "MONGODB_URI": "", "REDIS_URL": "",
            setting: value.format(servers),
        },
        log=log,
    )  # fmt: skip
    try:
        wait_until(lambda: is_ready(tmp_path), 90)
        assert set(registry.running_addresses(tmp_path)) == {"mongodb", "queue"}
        warnings = [line for line in log.read_text().splitlines() if "warning" in line]
        assert warnings == [
            f"warning: {AWAY} of {setting} does not answer: check it, or unset {setting} to use "
            "the embedded one"
        ]
    finally:
        processes.stop(child)


def test_a_process_id_that_came_back_is_not_taken_for_the_service(tmp_path: Path):
    registry.write_entry(tmp_path, "queue", registry.Entry(os.getpid(), "0", "redis://x", 1))

    assert registry.running_addresses(tmp_path) == {}


def test_a_stranger_who_got_the_process_id_of_a_service_is_not_stopped(tmp_path: Path):
    with Supervisor(tmp_path, (QUEUE,), say):
        ran = registry.read_entry(tmp_path, "queue")
    stranger = subprocess.Popen(["sleep", "60"])
    assert ran is not None
    registry.write_entry(tmp_path, "queue", replace(ran, pid=stranger.pid))

    with Supervisor(tmp_path, (QUEUE,), say):
        assert address(tmp_path, "queue") == ran.address
        assert stranger.poll() is None

    stranger.kill()
    stranger.wait()


def test_a_service_that_lost_its_supervisor_is_ended_before_the_next_starts(tmp_path: Path):
    left = subprocess.Popen(["sleep", "60"])
    registry.write_entry(tmp_path, "queue", registry.Entry.of(left.pid, "redis://x", 1))

    with Supervisor(tmp_path, (QUEUE,), say):
        assert left.wait(10) == -signal.SIGTERM


def test_of_a_service_that_was_stopped_the_port_is_kept_and_no_process(tmp_path: Path):
    with Supervisor(tmp_path, (QUEUE,), say):
        ran = registry.read_entry(tmp_path, "queue")
        assert ran is not None

    assert registry.read_entry(tmp_path, "queue") == replace(ran, pid=0, started="")
    assert registry.running_addresses(tmp_path) == {}


def test_asking_for_the_holder_keeps_nobody_from_starting(tmp_path: Path):
    registry.services_directory(tmp_path).mkdir()
    (registry.services_directory(tmp_path) / "lock").touch()
    asking = threading.Event()

    def ask() -> None:
        while not asking.is_set():
            holder(tmp_path)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        for _ in range(50):
            with Supervisor(tmp_path, (), say):
                pass
    finally:
        asking.set()
        thread.join()


def test_several_model_servers_in_the_environment_are_all_named():
    environment = {
        "OPENAI_BASE_URL": " ",
        "OPENAI_BASE_URLS": "http://a/v1, http://b/v1,",
        "MONGODB_URI": "mongodb://a,b/",
        "REDIS_URLS": "not a setting",
    }

    assert MODEL.named_addresses(environment) == ["http://a/v1", "http://b/v1"]
    assert MONGODB.named_addresses(environment) == ["mongodb://a,b/"]
    assert QUEUE.named_addresses(environment) == []


def test_every_service_that_can_be_registered_is_defined():
    assert tuple(service.name for service in ALL) == registry.SERVICES
