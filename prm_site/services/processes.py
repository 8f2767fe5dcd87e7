"""Child processes that do not outlive their parent."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

SECONDS_TO_STOP = 10.0

_PR_SET_PDEATHSIG = 1
# Load it before any fork: the child must not take the loader's lock.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def start(
    command: Sequence[str],
    *,
    log: Path | None = None,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a child in its own session, so that Ctrl-C reaches only the parent.

    On Linux the child ends when its parent dies, for any reason. Linux takes the calling thread as
    the parent, so call this from a thread that stays alive.
    """
    parent = os.getpid()

    def die_with_parent() -> None:
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:  # the parent died before the call
                os._exit(1)

    output = log.open("ab") if log else None
    try:
        return subprocess.Popen(  # noqa: S603
            command,
            stdout=output,
            stderr=output,
            cwd=cwd,
            env=environment,
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509  one call into the kernel
        )
    finally:
        if output:
            output.close()


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a child to end, and kill it after `SECONDS_TO_STOP`."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port(preferred: int | None = None) -> int:
    """Return a free port of this machine: the preferred one if it is free."""
    for port in (preferred, 0):
        if port is None:
            continue
        with socket.socket() as found:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                found.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(found.getsockname()[1])
    raise OSError("this machine has no free port")
