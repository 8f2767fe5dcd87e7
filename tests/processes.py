"""Processes that tests start."""

import contextlib
import os
import signal
from collections.abc import Iterable
from pathlib import Path

from django.db import connection


def on_test_database(**variables: str) -> dict[str, str]:
    """Return the environment of a process that uses the database of the running test.

    It names a model server, which workers need to start, and which is away unless given.
    """
    named = {
        "PRM_DATABASE_NAME": str(connection.settings_dict["NAME"]),
        "OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
    }
    return os.environ | named | variables


def kill_family(pid: int) -> None:
    """Kill a worker and the process that runs its job, without a word."""
    signal_all(stop_family(pid), signal.SIGKILL)


def stop_family(pid: int) -> list[int]:
    """Let a worker and the process that runs its job stand still; return both."""
    signal_all([pid], signal.SIGSTOP)  # first, so that it starts no other process meanwhile
    children = Path(f"/proc/{pid}/task/{pid}/children")
    family = [pid, *map(int, children.read_text().split() if children.exists() else ())]
    signal_all(family, signal.SIGSTOP)
    return family


def signal_all(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to those processes that are still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
