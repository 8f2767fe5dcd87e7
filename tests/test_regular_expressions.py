"""No regular expression takes more than linear time, whatever text it meets.

The tests find every pattern that a module keeps, so a new pattern needs no change here. They
measure growth, not seconds: twice the text may take about twice the time.
"""

import importlib
import pkgutil
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from experiment_configs.answers import (
    MAX_ANSWER_LENGTH,
    NotComparedError,
    extract_last_answer,
    is_same_answer,
)

PACKAGES = ("experiment_configs", "forests", "metrics", "preferences", "prm_site", "rollouts")
LENGTHS = (24, 100, 400, 2_000, 8_000)
"""Shortest first, so that exponential time shows while it is still bearable."""
MAX_GROWTH = 3
"""Growth of the time when the text doubles: 2 is linear, 4 is quadratic."""
MIN_SECONDS = 0.004
"""Shorter times say nothing about growth: even the whole text of a page takes less."""

_ANSWERS = "answers of at most 1,000 characters, with single blanks"
BOUNDED = {
    "experiment_configs.answers.comparison.equivalence._QUALIFIER": _ANSWERS,
    "experiment_configs.answers.comparison.equivalence._UNIT_BEHIND": _ANSWERS,
    "experiment_configs.answers.comparison.equivalence._MODULUS": _ANSWERS,
    "experiment_configs.answers.comparison.quantities._NUMBER": _ANSWERS,
    "experiment_configs.answers.comparison.units._POWER": _ANSWERS,
    "experiment_configs.answers.comparison.units._IN_TOTAL": _ANSWERS,
    "experiment_configs.answers.extraction.cleaning._STEP_TAG": "lines of at most 1,000 characters",
    "experiment_configs.answers.extraction.cleaning._LATEX_SPACE": "the same",
    "experiment_configs.answers.extraction.statements._EXPLANATION": "the same",
    "experiment_configs.step_delimiters.NUMBERED_STEPS": "a process of its own, with a time limit",
}
"""Patterns that take more than linear time, and what bounds the texts that they meet.

The functions that use them are tried with hostile texts below, and in `test_markup`."""

PIECES = (
    " ", "\n", "\t", "1", "a", "A", "\\", "{", "}", "$", "(", ")", "[", "]", "*", "_", "-", ".",
    ",", "|", "`", "<", ">", "=", "#", "~", "'", '"', "/", ":", "&", "^", "é", "1.", "1,", "a ",
    "1 ", "<a", "\\a", "{a", "[a", "(a", "a\n", "| ", "-|", " |", "**", "*a", "\\{", "$a", "1e",
    "\\text{", "\\boxed{", "\\begin{align}", "aA", "a=", "()", "{}", "[]", "\\\\", ". ",
)  # fmt: skip
ENDS = ("", "!\0")
"""Endings of the texts. No pattern matches the second, so all ways to match before it are tried."""


def kept_patterns() -> Iterator[tuple[str, re.Pattern[str]]]:
    """Yield each pattern of the packages once, by the name under which a module keeps it."""
    seen: set[tuple[str, int]] = set()
    for package in PACKAGES:
        paths = importlib.import_module(package).__path__
        for module in pkgutil.walk_packages(paths, f"{package}."):
            if ".migrations" in module.name or module.name.endswith("__main__"):
                continue
            for name, value in vars(importlib.import_module(module.name)).items():
                for pattern in _patterns_in(value, 3):
                    if (pattern.pattern, pattern.flags) not in seen:
                        seen.add((pattern.pattern, pattern.flags))
                        yield f"{module.name}.{name}", pattern


def _patterns_in(value: Any, levels: int) -> Iterator[re.Pattern[str]]:
    if isinstance(value, re.Pattern):
        if isinstance(value.pattern, str):
            yield value
    elif levels and isinstance(value, dict):
        yield from _patterns_in([*value, *value.values()], levels - 1)
    elif levels and isinstance(value, list | tuple | set | frozenset):
        for one in value:
            yield from _patterns_in(one, levels - 1)


def is_only_matched(name: str) -> bool:
    """Return whether the code only matches a pattern at one place, and never searches with it."""
    module, _, variable = name.rpartition(".")
    source = Path(f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
    used = set(re.findall(rf"\b{variable}\.(\w+)\(", source))
    return bool(used) and used <= {"match", "fullmatch"}


def hostile_pieces(pattern: re.Pattern[str]) -> list[str]:
    """Return the pieces of hostile texts: those that slow many patterns, and this one's words."""
    words = sorted(set(re.findall(r"[A-Za-z]{2,}", re.sub(r"\\[a-zA-Z]", " ", pattern.pattern))))
    return [*PIECES, *words[:20], *(f"{word} " for word in words[:20])]


def seconds(pattern: re.Pattern[str], text: str, *, only_matched: bool) -> float:
    began = time.thread_time()
    if only_matched:
        pattern.match(text)
    else:
        for _ in pattern.finditer(text):
            pass
    return time.thread_time() - began


def worst_growth(name: str, pattern: re.Pattern[str]) -> tuple[float, str]:
    """Return the largest growth of the time when a text doubles, and the piece it is made of."""
    worst = (0.0, "")
    only_matched = is_only_matched(name)
    for piece in hostile_pieces(pattern):
        for end in ENDS:
            for length in LENGTHS:
                taken = _least_seconds(pattern, piece, length, end, only_matched=only_matched)
                if taken < MIN_SECONDS:
                    continue
                half = _least_seconds(pattern, piece, length // 2, end, only_matched=only_matched)
                growth = taken / max(half, 1e-6)
                worst = max(worst, (growth, f"{piece!r} * … + {end!r}: {length}"))
                if growth > MAX_GROWTH:
                    return worst
    return worst


def _least_seconds(
    pattern: re.Pattern[str], piece: str, length: int, end: str, *, only_matched: bool
) -> float:
    """Return the time that a text takes, the least of three where it matters."""
    text = (piece * length)[:length] + end
    taken = seconds(pattern, text, only_matched=only_matched)
    if MIN_SECONDS < taken < 100 * MIN_SECONDS:
        taken = min(taken, *(seconds(pattern, text, only_matched=only_matched) for _ in "12"))
    return taken


PATTERNS = [
    pytest.param(name, one, id=f"{name}-{number}")
    for number, (name, one) in enumerate(kept_patterns())
]


@pytest.mark.parametrize(
    ("name", "pattern"), [one for one in PATTERNS if one.values[0] not in BOUNDED]
)
def test_twice_the_text_takes_at_most_about_twice_the_time(name: str, pattern: re.Pattern[str]):
    growth, piece = worst_growth(name, pattern)

    assert growth < MAX_GROWTH, piece


def test_what_is_bounded_is_there():
    assert set(BOUNDED) <= {param.values[0] for param in PATTERNS}


@pytest.mark.parametrize("piece", PIECES)
def test_hostile_answers_and_solutions_are_read_in_linear_time(piece: str):
    def shortest(length: int) -> float:
        text = f"The answer is {(piece * length)[:length]}x"
        return min(_seconds_of_answer(text) for _ in "123")

    half, whole = shortest(10_000), shortest(20_000)

    assert whole < MAX_GROWTH * max(half, 10 * MIN_SECONDS)


def _seconds_of_answer(text: str) -> float:
    began = time.thread_time()
    extract_last_answer(text)
    with suppress(NotComparedError):
        is_same_answer(text[:MAX_ANSWER_LENGTH], "5")
    return time.thread_time() - began


@pytest.mark.parametrize(
    "hostile", [re.compile(r"\s+$"), re.compile(r"(a+)+b"), re.compile(r"<[^>]*>")]
)
def test_a_pattern_of_more_than_linear_time_is_found(hostile: re.Pattern[str], monkeypatch):
    monkeypatch.setitem(globals(), "is_only_matched", lambda _: False)
    growth, _ = worst_growth("none", hostile)

    assert growth > MAX_GROWTH
