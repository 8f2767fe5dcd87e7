"""A child process that answers questions and can be killed while it works on one.

Time limits by signals do not work in threads. `multiprocessing` would run the caller's main module
again and is not available to daemonic workers, so this is a plain child process.
"""

import atexit
import json
import os
import select
import subprocess
import sys
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakSet

_STARTING_SECONDS = 120.0

_children: "WeakSet[ChildProcess]" = WeakSet()


class ChildProcess:
    """One child of this process. It starts when first needed and ends when its input is closed.

    The script reads one JSON question per line and writes one JSON reply per line. It replies
    `ready` to an empty line. It limits its own memory and processor time.
    """

    def __init__(self, script: Path, *arguments: str) -> None:
        self.script = script
        self._arguments = arguments
        self._lock = Lock()
        self._process: subprocess.Popen[str] | None = None
        self._of_parent: subprocess.Popen[str] | None = None
        _children.add(self)

    def ask(self, question: Any, wall_seconds: float) -> Any:
        """Return the child's reply; None if it has none, or died over the question.

        Raises:
            RuntimeError: the child does not start.
            TypeError, ValueError: the question cannot be written as JSON.
        """
        line = json.dumps(question)
        with self._lock:
            process, reply = self._take(), ""
            try:
                reply = _reply(process, line, wall_seconds)
            finally:
                if reply:
                    self._process = process
                else:  # it died, or an interrupt left a reply that the next question would read
                    _end(process)
            return json.loads(reply or "null")

    def stop(self) -> None:
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            _end(process)

    def forget(self) -> None:
        """Leave the child to the process that this one was forked from."""
        self._lock = Lock()  # a thread of the parent process may hold the old one
        self._process, self._of_parent = None, self._process

    def _take(self) -> subprocess.Popen[str]:
        process, self._process = self._process, None
        if process is not None and process.poll() is not None:
            _end(process)
            process = None
        return process or self._started()

    def _started(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", str(self.script), *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            process_group=0,  # Ctrl-C is for the worker, which still uses answers that have arrived
        )
        if _reply(process, "", _STARTING_SECONDS) != "ready":
            _end(process)
            command = " ".join(("python", str(self.script), *self._arguments))
            raise RuntimeError(f"a child process does not start: run `{command}` to see why")
        return process


def _reply(process: subprocess.Popen[str], question: str, seconds: float) -> str:
    """Return the child's reply; "" if it died over the question or took too long."""
    if process.stdin is None or process.stdout is None:
        raise ValueError("the child needs pipes")
    try:
        process.stdin.write(question + "\n")
        process.stdin.flush()
    except BrokenPipeError:
        return ""
    if not select.select([process.stdout], [], [], seconds)[0]:
        return ""
    line = process.stdout.readline()
    return line.strip() if line.endswith("\n") else ""


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()  # closes the child's pipes


def _stop_all() -> None:
    for child in list(_children):
        child.stop()


def _forget_all() -> None:
    for child in list(_children):
        child.forget()


atexit.register(_stop_all)
os.register_at_fork(after_in_child=_forget_all)
