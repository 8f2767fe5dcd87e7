"""Compare formulas with math-verify, in a child process that can be stopped.

SymPy may compute for hours on a formula of ten characters, and math-verify's own time limit works
by `signal.alarm`, which fails in threads and cancels the alarm of whoever called. A plain child is
used, not one of `multiprocessing`, which would run the caller's main module again and is refused to
daemonic workers.
"""

import atexit
import json
import os
import re
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from threading import Lock

DEADLINE_SECONDS = 3
"""Time of one comparison."""

_CHILD = Path(__file__).with_name("formula_process.py")
_COMMAND = re.compile(r"\\(?:begin|end)\s*\{[a-z]*\*?\}|\\[A-Za-z]+")
_WORD = re.compile(r"[A-Za-z]{3,}")
_FUNCTIONS = frozenset(
    {
        "abs", "and", "arccos", "arcsin", "arctan", "cos", "cosh", "cot", "csc", "exp", "gcd",
        "inf", "infty", "lcm", "log", "max", "min", "mod", "sec", "sin", "sinh", "sqrt", "tan",
        "tanh",
    }
)  # fmt: skip


def is_formula(text: str) -> bool:
    """Return whether a text is free of words, whose letters would be read as a product."""
    words = _WORD.findall(_COMMAND.sub(" ", text))
    return bool(text.strip()) and all(word.lower() in _FUNCTIONS for word in words)


@lru_cache(maxsize=4096)  # the samples of a tree repeat few answers
def is_same_formula(answer: str, label: str) -> bool:
    """Return whether two formulas are equal; False where math-verify fails or needs too long.

    Raises:
        RuntimeError: math-verify cannot be started.
    """
    return _child.compare(answer, label)


class _Child:
    """One child for this process, started when first needed, ended by the end of its input."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._process: subprocess.Popen[str] | None = None
        self._of_parent: subprocess.Popen[str] | None = None

    def compare(self, answer: str, label: str) -> bool:
        with self._lock:
            process, reply = self._take(), ""
            try:
                reply = _reply(process, json.dumps([answer, label]))
            finally:
                if reply:
                    self._process = process
                else:  # it died; or we are interrupted, and its reply would be taken for the next
                    _end(process)
            return reply == "true"

    def _take(self) -> subprocess.Popen[str]:
        process, self._process = self._process, None
        if process is not None and process.poll() is not None:
            _end(process)
            process = None
        return process or _started()

    def stop(self) -> None:
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            _end(process)

    def forget(self) -> None:
        """Leave the child to the process that this one was forked from."""
        self._lock = Lock()  # the old one may be held by a thread that is not here
        self._process, self._of_parent = None, self._process


def _started() -> subprocess.Popen[str]:
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-P", str(_CHILD), str(DEADLINE_SECONDS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
        process_group=0,  # Ctrl-C is for the worker, which still grades what has arrived
    )
    if _reply(process, "") != "ready":
        _end(process)
        raise RuntimeError(f"math-verify does not start: try `python {_CHILD}`")
    return process


def _reply(process: subprocess.Popen[str], question: str) -> str:
    """Return the child's reply, "" where it died over the question."""
    if process.stdin is None or process.stdout is None:
        raise ValueError("the child needs pipes")
    try:
        process.stdin.write(question + "\n")
        process.stdin.flush()
    except BrokenPipeError:
        return ""
    return process.stdout.readline().strip()


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()  # closes its pipes


_child = _Child()
atexit.register(_child.stop)
os.register_at_fork(after_in_child=_child.forget)
