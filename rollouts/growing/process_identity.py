"""Identify processes by id and start time: systems reuse ids, but not together with the start."""

import os

import psutil

_TOLERANCE_SECONDS = 0.1
"""Systems record start times in hundredths of a second."""


def started_at(pid: int) -> float | None:
    """Return when a process started, in seconds after boot; None if it is gone or hidden.

    A zombie counts as gone.
    """
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        # Relative to boot: setting the clock shifts both times equally.
        return float(process.create_time() - psutil.boot_time())
    except psutil.Error:
        return None


def is_alive(pid: int, started: float | None = None) -> bool | None:
    """Return whether a process with this start time is alive; None if the system hides it."""
    found = started_at(pid)
    if found is None:
        return None if _is_hidden(pid) else False
    return started is None or abs(found - started) < _TOLERANCE_SECONDS


def _is_hidden(pid: int) -> bool:
    """Return whether a process belongs to another user: some systems hide its details."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return False
