"""Pytest plugin: the embedded MongoDB and queue, on a directory of their own, for the session.

Loaded with `-p tests.servers`, before Django reads its settings. `TEST_MONGODB_URI` and
`TEST_REDIS_URL` name servers to use instead.
"""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from prm_site.services.definitions import MONGODB, QUEUE
from prm_site.services.registry import running_addresses
from prm_site.services.supervisor import Supervisor

_directory = Path(tempfile.mkdtemp(prefix="prm-tests-"))
_services = (MONGODB, QUEUE)
_supervisor = Supervisor(
    _directory,
    [service for service in _services if not os.environ.get(f"TEST_{service.setting}")],
    print,
)


def _prepare_environment() -> None:
    """Let nothing of the developer's own `.env` or services reach the tests."""
    for name in list(os.environ):
        if name.startswith(("PRM_", "OPENAI_", "SCORER_", "GSM8K_", "MATH_500_", "LIAR_NEW_")):
            del os.environ[name]
    os.environ["PRM_ENV_FILE"] = ""
    os.environ["PRM_DATA_DIR"] = str(_directory / "data")
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_HOME"] = str(_directory / "huggingface")
    started = running_addresses(_directory)
    for service in _services:
        os.environ[service.setting] = (
            os.environ.get(f"TEST_{service.setting}") or started[service.name]
        )


def pytest_unconfigure(config: pytest.Config) -> None:
    _supervisor.__exit__(None, None, None)
    shutil.rmtree(_directory, ignore_errors=True)


_supervisor.__enter__()  # on its own; should pytest be killed, the servers end with it
_prepare_environment()
