"""Which process is it: a process id alone comes back, one with its time of start does not."""

import os

import psutil

_TOLERANCE_SECONDS = 0.1
"""Systems count in hundredths of a second."""


def started_at(pid: int) -> float | None:
    """Return when a process started, in seconds after the boot; None where none can be seen.

    A process that has ended and waits for its parent (a zombie) counts as ended.
    """
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        # After the boot, as setting the clock changes both times alike.
        return float(process.create_time() - psutil.boot_time())
    except psutil.Error:
        return None


def is_alive(pid: int, started: float | None = None) -> bool | None:
    """Return whether a process is there, and started then; None where the system hides it."""
    found = started_at(pid)
    if found is None:
        return None if _is_hidden(pid) else False
    return started is None or abs(found - started) < _TOLERANCE_SECONDS


def _is_hidden(pid: int) -> bool:
    """Return whether a process is another user's: some systems tell no more of it."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return False
