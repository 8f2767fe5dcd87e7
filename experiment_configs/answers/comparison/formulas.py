"""Compare formulas in a child process that can be killed.

SymPy may compute for hours on a formula of ten characters.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeAlias

from common.child_process import ChildProcess
from experiment_configs.answers.comparison.spelling import FUNCTIONS
from experiment_configs.answers.errors import NotComparedError

PROCESSOR_SECONDS = 3.0
"""Processor time of one comparison. Wall time would let a busy machine change a verdict."""
WALL_SECONDS = 90.0
"""Wall time after which a comparison is abandoned, even if it has processor time left."""

MAX_COMPARISONS = 256
"""Most comparisons of formulas with a verdict, for one pair of answers."""
MAX_FAILURES = 2
"""Most comparisons of formulas without a result, for one pair of answers."""

Kind: TypeAlias = Literal["value", "equation", "inequality"]

_limits: ContextVar[dict[str, int]] = ContextVar("limits", default={})  # noqa: B039  never changed

_SCRIPT = Path(__file__).with_name("formula_process.py")
_COMMAND = re.compile(r"\\(?:begin|end)\s*\{[a-z]*\*?\}|\\text\{[A-Za-z]\}|\\(?!text)[A-Za-z]+")
_WORD = re.compile(r"[A-Za-z]{3,}|\\text|[^\x00-\x7f°€£¥₹]")


def is_formula(text: str) -> bool:
    """Return whether a text has no words: their letters would be read as a product."""
    words = _WORD.findall(_COMMAND.sub(" ", text))
    return bool(text.strip()) and all(word.lower() in FUNCTIONS for word in words)


@contextmanager
def limited_comparisons() -> Iterator[None]:
    """Limit the cost of comparing one pair of answers: lists of formulas may need thousands."""
    token = _limits.set({"comparisons": MAX_COMPARISONS, "failures": MAX_FAILURES})
    try:
        yield
    finally:
        _limits.reset(token)


def compare_formulas(kind: Kind, answer: str, label: str) -> bool:
    """Return whether two formulas are the same. `formula_process.answer` describes the kinds.

    Raises:
        NotComparedError: time or memory ran out, or the label is unreadable.
        RuntimeError: the child does not start.
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


@lru_cache(maxsize=4096)  # the samples of a tree repeat few answers; errors are not cached
def _compare(kind: Kind, answer: str, label: str) -> bool:
    reply = _child.ask([kind, answer, label], WALL_SECONDS)
    if not isinstance(reply, bool):
        raise NotComparedError(f"{answer!r:.80} and {label!r:.80} cannot be compared")
    return reply


def evaluate_formula(text: str) -> Fraction | None:
    """Return the real value of a formula to 120 digits; None if it has none or is unreadable.

    Raises:
        NotComparedError: time or memory ran out.
        RuntimeError: the child does not start.
    """
    try:
        return _evaluate(text)
    except NotComparedError:
        _count_down(_limits.get(), "failures")
        raise


@lru_cache(maxsize=4096)  # errors are not cached
def _evaluate(text: str) -> Fraction | None:
    reply = _child.ask(["evaluate", text, ""], WALL_SECONDS)
    if reply is None:
        raise NotComparedError(f"{text!r:.80} cannot be evaluated")
    return Fraction(reply) if isinstance(reply, str) else None


_child = ChildProcess(_SCRIPT, str(PROCESSOR_SECONDS))
