"""Pytest plugin: the embedded MongoDB and queue, on a directory of their own, for the session.

Loaded with `-p tests.servers`, before Django reads its settings. `TEST_MONGODB_URI` and
`TEST_REDIS_URL` name servers to use instead. There, each process of xdist has its own databases:
pytest-django chooses the MongoDB database, and this plugin the Redis database, counting up from the
one that the address names. Tests empty these databases, so a Redis database with keys is refused.
"""

import dataclasses
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import redis
from redis.connection import parse_url

from prm_site.services.definitions import MONGODB, QUEUE
from prm_site.services.registry import running_addresses
from prm_site.services.supervisor import Supervisor

# Else each of the hundreds of processes that tests start compiles all our modules again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A shell's background job ignores Ctrl-C, and all processes that tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def _without_sync(directory: Path, port: int) -> list[str]:
    return [one for one in MONGODB.command(directory, port) if one != "--sync-on-commit"]


_directory = Path(tempfile.mkdtemp(prefix="prm-tests-"))
# These servers are never killed while a test runs, so no write has to wait for the disk. Tests of
# the services start their own, as the product does.
_services = (dataclasses.replace(MONGODB, command=_without_sync), QUEUE)
_supervisor = Supervisor(
    _directory,
    [service for service in _services if not os.environ.get(f"TEST_{service.setting}")],
    print,
)


def _prepare_environment() -> None:
    """Use the services of the tests, and no `.env`, cache or token of the developer."""
    os.environ["PRM_ENV_FILE"] = ""
    os.environ["PRM_DATA_DIR"] = str(_directory / "data")
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_HOME"] = str(_directory / "huggingface")
    started = running_addresses(_directory)
    for service in _services:
        os.environ[service.setting] = (
            os.environ.get(f"TEST_{service.setting}") or started[service.name]
        )
    if shared := os.environ.get("TEST_REDIS_URL"):
        worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
        os.environ["REDIS_URL"] = _redis_database(shared, int(worker))


def _redis_database(address: str, worker: int) -> str:
    """Return the address of a worker's database; without xdist, the worker is 0."""
    parts = urlsplit(address)
    number = parse_url(address).get("db", 0) + worker
    return parts._replace(query=urlencode({**dict(parse_qsl(parts.query)), "db": number})).geturl()


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a shared Redis with too few databases, or with something in one of them."""
    shared = os.environ.get("TEST_REDIS_URL")
    if not shared or "PYTEST_XDIST_WORKER" in os.environ:
        return
    for worker in range(config.getoption("numprocesses", None) or 1):
        with redis.Redis.from_url(_redis_database(shared, worker)) as client:
            number = client.connection_pool.connection_kwargs["db"]
            try:
                num_keys = client.dbsize()
            except redis.RedisError as error:
                raise pytest.UsageError(
                    f"TEST_REDIS_URL: database {number} cannot be used: {error}"
                ) from error
        if num_keys:
            raise pytest.UsageError(
                f"TEST_REDIS_URL: database {number} holds {num_keys} keys, and tests would empty "
                f"it: name another one, or empty it with `redis-cli -n {number} flushdb`"
            )


def pytest_unconfigure(config: pytest.Config) -> None:
    _supervisor.__exit__(None, None, None)
    shutil.rmtree(_directory, ignore_errors=True)


_supervisor.__enter__()  # without `with`; if pytest is killed, the servers end too
_prepare_environment()
