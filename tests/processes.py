"""Processes that tests start."""

import contextlib
import os
import signal
from collections.abc import Iterable
from pathlib import Path

from django.db import connection


def on_test_database(**variables: str) -> dict[str, str]:
    """Return the environment of a process that uses the database of the running test.

    Workers need the address of a model server to start. Unless `variables` hold one, nothing
    listens at that address.
    """
    named = {
        "PRM_DATABASE_NAME": str(connection.settings_dict["NAME"]),
        "OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
    }
    return os.environ | named | variables


def kill_family(pid: int) -> None:
    """Kill a worker and the process that runs its job, before either can react."""
    signal_all(stop_family(pid), signal.SIGKILL)


def stop_family(pid: int) -> list[int]:
    """Pause a worker and the process that runs its job; return their ids."""
    signal_all([pid], signal.SIGSTOP)  # first, so that it starts no other process meanwhile
    children = Path(f"/proc/{pid}/task/{pid}/children")
    family = [pid, *map(int, children.read_text().split() if children.exists() else ())]
    signal_all(family, signal.SIGSTOP)
    return family


def signal_all(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to those processes that still run."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
