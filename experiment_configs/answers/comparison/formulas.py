"""Compare formulas in a child process that can be stopped.

SymPy may compute for hours on a formula of ten characters, and a time limit by signals inside this
process fails in threads. A plain child is used, not one of `multiprocessing`, which would run the
caller's main module again and is refused to daemonic workers.
"""

import atexit
import json
import os
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Literal, TypeAlias

from experiment_configs.answers.comparison.spelling import FUNCTIONS
from experiment_configs.answers.errors import NotComparedError

PROCESSOR_SECONDS = 3.0
"""Processor time of one comparison, so that a busy machine changes no verdict."""
WALL_SECONDS = 90.0
"""Time after which a comparison is given up, though it has not had its processor time."""

MOST_COMPARISONS = 256
MOST_FAILURES = 2
"""Of formulas, for one pair of answers."""
_STARTING_SECONDS = 120.0

Kind: TypeAlias = Literal["value", "equation", "inequality"]

_limits: ContextVar[dict[str, int]] = ContextVar("limits", default={})  # noqa: B039  never changed

_CHILD = Path(__file__).with_name("formula_process.py")
_COMMAND = re.compile(r"\\(?:begin|end)\s*\{[a-z]*\*?\}|\\text\{[A-Za-z]\}|\\(?!text)[A-Za-z]+")
_WORD = re.compile(r"[A-Za-z]{3,}|\\text|[^\x00-\x7f°€£¥₹]")


def is_formula(text: str) -> bool:
    """Return whether a text is free of words, whose letters would be read as a product."""
    words = _WORD.findall(_COMMAND.sub(" ", text))
    return bool(text.strip()) and all(word.lower() in FUNCTIONS for word in words)


@contextmanager
def limited_comparisons() -> Iterator[None]:
    """Limit what one pair of answers may cost: lists of formulas may ask for thousands."""
    token = _limits.set({"comparisons": MOST_COMPARISONS, "failures": MOST_FAILURES})
    try:
        yield
    finally:
        _limits.reset(token)


def compare_formulas(kind: Kind, answer: str, label: str) -> bool:
    """Return whether two formulas are the same: see `formula_process.answer` for the kinds.

    Raises:
        NotComparedError: time or memory ran out, or the label is unreadable.
        RuntimeError: the child cannot be started.
    """
    left = _limits.get()
    if min(left.values(), default=1) <= 0:
        raise NotComparedError("the answers have too many formulas to be compared")
    try:
        same = _compare(kind, answer, label)
    except NotComparedError:
        _count_down(left, "failures")
        raise
    _count_down(left, "comparisons")
    return same


def _count_down(left: dict[str, int], what: str) -> None:
    if what in left:
        left[what] -= 1


@lru_cache(maxsize=4096)  # the samples of a tree repeat few answers; errors are not kept
def _compare(kind: Kind, answer: str, label: str) -> bool:
    reply = _child.ask(kind, answer, label)
    if not isinstance(reply, bool):
        raise NotComparedError(f"{answer!r:.80} and {label!r:.80} cannot be compared")
    return reply


@lru_cache(maxsize=4096)
def evaluate_formula(text: str) -> Fraction | None:
    """Return the real value of a formula to 120 digits; None where it has none.

    Raises: as `compare_formulas`.
    """
    reply = _child.ask("evaluate", text, "")
    return Fraction(reply) if isinstance(reply, str) else None


class _Child:
    """One child for this process, started when first needed, ended by the end of its input."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._process: subprocess.Popen[str] | None = None
        self._of_parent: subprocess.Popen[str] | None = None

    def ask(self, kind: str, first: str, second: str) -> bool | str | None:
        """Return the child's reply, None where it has none or died over the question."""
        with self._lock:
            process, reply = self._take(), ""
            try:
                reply = _reply(process, json.dumps([kind, first, second]), WALL_SECONDS)
            finally:
                if reply:
                    self._process = process
                else:  # it died; or we are interrupted, and its reply would be taken for the next
                    _end(process)
            found: bool | str | None = json.loads(reply or "null")
            return found

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
        [sys.executable, "-P", str(_CHILD), str(PROCESSOR_SECONDS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
        process_group=0,  # Ctrl-C is for the worker, which still grades what has arrived
    )
    if _reply(process, "", _STARTING_SECONDS) != "ready":
        _end(process)
        raise RuntimeError(f"formulas cannot be compared: see what `python {_CHILD} 3` says")
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


_child = _Child()
atexit.register(_child.stop)
os.register_at_fork(after_in_child=_child.forget)
