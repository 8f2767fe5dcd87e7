"""Questions to a child process that can be stopped.

What may compute for hours on ten characters runs there: a time limit by signals inside this process
fails in threads. A plain child is used, not one of `multiprocessing`, which would run the caller's
main module again and is refused to daemonic workers.
"""

import atexit
import json
import os
import select
import subprocess
import sys
import weakref
from pathlib import Path
from threading import Lock
from typing import Any

_STARTING_SECONDS = 120.0


class ChildProcess:
    """One child for this process, started when first needed, ended by the end of its input.

    Its script gets `processor_seconds` as its argument, and ends itself where a question needs
    more. It answers a blank line with "ready", and each line of JSON with one of JSON.
    """

    def __init__(self, script: Path, *, processor_seconds: float, wall_seconds: float) -> None:
        """`wall_seconds`: when a question is given up where the child gets too little processor."""
        self.script = script
        self.processor_seconds = processor_seconds
        self.wall_seconds = wall_seconds
        self.process: subprocess.Popen[str] | None = None
        self._lock = Lock()
        self._of_parent: subprocess.Popen[str] | None = None
        _children.add(self)

    def ask(self, question: Any) -> Any:
        """Return the child's reply, None where it has none or died over the question.

        Raises:
            RuntimeError: the child cannot be started.
        """
        with self._lock:
            process, reply = self._take(), ""
            try:
                reply = _reply(process, json.dumps(question), self.wall_seconds)
            finally:
                if reply:
                    self.process = process
                else:  # it died; or we are interrupted, and its reply would be taken for the next
                    _end(process)
            return json.loads(reply or "null")

    def stop(self) -> None:
        with self._lock:
            process, self.process = self.process, None
        if process is not None:
            _end(process)

    def forget(self) -> None:
        """Leave the child to the process that this one was forked from."""
        self._lock = Lock()  # the old one may be held by a thread that is not here
        self.process, self._of_parent = None, self.process

    def _take(self) -> subprocess.Popen[str]:
        process, self.process = self.process, None
        if process is not None and process.poll() is not None:
            _end(process)
            process = None
        return process or self._started()

    def _started(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", str(self.script), str(self.processor_seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            process_group=0,  # Ctrl-C is for the worker, which still grades what has arrived
        )
        if _reply(process, "", _STARTING_SECONDS) != "ready":
            _end(process)
            raise RuntimeError(f"a child does not start: see what `python {self.script} 3` says")
        return process


def _reply(process: subprocess.Popen[str], question: str, seconds: float) -> str:
    """Return the child's reply, "" where it died over the question or took too long."""
    if process.stdin is None or process.stdout is None:
        raise ValueError("the child needs pipes")
    try:
        process.stdin.write(question + "\n")
        process.stdin.flush()
    except BrokenPipeError:
        return ""
    if not select.select([process.stdout], [], [], seconds)[0]:
        return ""
    return process.stdout.readline().strip()


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()  # closes its pipes


_children: weakref.WeakSet[ChildProcess] = weakref.WeakSet()


def _stop_all() -> None:
    for child in list(_children):
        child.stop()


def _forget_all() -> None:
    for child in list(_children):
        child.forget()


atexit.register(_stop_all)
os.register_at_fork(after_in_child=_forget_all)
