"""The rows of `import_scores`: scores and labels of steps that somebody else gave.

A row has `tree` (the index of the tree), `step` (a path such as "0.2.1", or in a tree with only one
path the number of the step, from 0), `score`, and optionally `rationale`. A score is a word (right,
neutral, wrong, or a word that means the same), true or false, null (no result), or a number, also
as a text. On the scale `unit` a number is from 0 to 1. On the scale `signed` it is from -1 (wrong)
to 1 (right), so 0 is neutral, as in AgentProcessBench.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from common.json_lines import is_number
from forests.core.opinions.judged import JudgedTree
from forests.core.opinions.verdicts import (
    MAX_RATIONALE,
    MAX_RATIONALES_OF_A_TREE,
    SCORES,
    Verdict,
    bounded_rationale,
    is_score,
    signed_score,
    verdict_in,
)
from forests.core.tree import NodePath, ReasoningTree, format_path, parse_path

Scale: TypeAlias = Literal["unit", "signed"]
SCALES: tuple[Scale, ...] = get_args(Scale)

_KEYS = ("tree", "step", "score", "rationale")
MAX_WORD = 40
MAX_INDEX = 10**9
_NUMBER = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d{1,3})?\s*", re.ASCII | re.IGNORECASE)


class ScoreRowError(Exception):
    """A row cannot be read. The message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One row, with its step and number as written."""

    tree: int
    step: str | int
    score: float | Verdict | None
    rationale: str


def read_score_row(row: Any) -> ScoreRow:
    """Return a row of the file.

    Raises:
        ScoreRowError: it is not in the format described above.
    """
    if not isinstance(row, Mapping):
        raise ScoreRowError("the line must be a JSON object with tree, step and score")
    if unknown := [key for key in row if key not in _KEYS]:
        raise ScoreRowError(f"unknown key {unknown[0]!r:.60}: use {', '.join(_KEYS)}")
    if missing := [key for key in _KEYS[:3] if key not in row]:
        raise ScoreRowError(f"no `{missing[0]}`: give tree, step and score")
    tree, step, rationale = row["tree"], row["step"], row.get("rationale") or ""
    if type(tree) is not int or not 0 <= tree <= MAX_INDEX:
        raise ScoreRowError(f"`tree` is {_shown(tree)}: give the index of a tree, from 0")
    if not isinstance(step, str) and (type(step) is not int or abs(step) > MAX_INDEX):
        raise ScoreRowError(
            f'`step` is {_shown(step)}: give a path such as "0.2.1", or the number of a step'
        )
    if not isinstance(rationale, str):
        raise ScoreRowError("`rationale` must be a text")
    if len(rationale) > MAX_RATIONALE:
        raise ScoreRowError(f"`rationale` has more than {MAX_RATIONALE} characters: shorten it")
    return ScoreRow(tree, step, _score(row["score"]), bounded_rationale(rationale))


def scale_of(rows: Iterable[ScoreRow]) -> Scale:
    """Return the scale that the numbers of all rows are on: `signed` if one is negative."""
    numbers = (row.score for row in rows if isinstance(row.score, float))
    return "signed" if any(number < 0 for number in numbers) else "unit"


def check_scale_is_clear(rows: Iterable[ScoreRow]) -> None:
    """Refuse rows with numbers that fit both scales.

    Raises:
        ScoreRowError: all numbers are 0 or 1, and 0 is wrong on one scale, neutral on the other.
    """
    numbers = [row.score for row in rows if isinstance(row.score, float)]
    if numbers and all(number in (0, 1) for number in numbers):
        raise ScoreRowError(
            "its numbers are whole and none is negative: give --scale unit if 0 is wrong, or "
            "--scale signed if 0 is neutral"
        )


def score_on(row: ScoreRow, scale: Scale) -> float | None:
    """Return the score of a row; None for no result.

    Raises:
        ScoreRowError: the number is not on the scale.
    """
    if row.score is None:
        return None
    if isinstance(row.score, Verdict):
        return SCORES[row.score]
    number = signed_score(row.score) if scale == "signed" else row.score
    if not is_score(number):
        low = -1 if scale == "signed" else 0
        raise ScoreRowError(f"`score` is {row.score:g}: the scale {scale} is from {low} to 1")
    return number


def path_of_row(row: ScoreRow, tree: ReasoningTree) -> NodePath:
    """Return the node that a row is about.

    Raises:
        ScoreRowError: the tree does not have it, or a number is given for a tree with branches.
    """
    if isinstance(row.step, int):
        return _numbered(row.step, row.tree, tree)
    try:
        path = parse_path(row.step)
    except ValueError:
        raise ScoreRowError(
            f'`step` is {row.step!r:.60}: paths begin with 0 for the root, such as "0.2.1"'
        ) from None
    if path not in tree.nodes:
        raise ScoreRowError(f"tree {row.tree} has no step {row.step:.60}")
    return path


class TreeRows:
    """Collects the rows of one tree."""

    def __init__(self, tree: ReasoningTree) -> None:
        self._tree = tree
        self._seen: set[NodePath] = set()
        self._scores: dict[NodePath, float] = {}
        self._rationales: dict[NodePath, str] = {}
        self._num_characters = 0

    def add(self, row: ScoreRow, scale: Scale) -> None:
        """Add a row.

        Raises:
            ScoreRowError: the tree does not have the step, the step has a row already, its number
                is not on the scale, or the rationales become too long.
        """
        path = path_of_row(row, self._tree)
        if path in self._seen:
            raise ScoreRowError(f"step {format_path(path)} of tree {row.tree} appears twice")
        self._seen.add(path)
        if (score := score_on(row, scale)) is not None:
            self._scores[path] = score
        if row.rationale:
            self._rationales[path] = row.rationale
        self._num_characters += len(row.rationale)
        if self._num_characters > MAX_RATIONALES_OF_A_TREE:
            raise ScoreRowError(
                f"the rationales of tree {row.tree} have more than {MAX_RATIONALES_OF_A_TREE} "
                "characters: shorten them"
            )

    def judged(self) -> JudgedTree:
        return JudgedTree(self._scores, self._rationales)


def _score(value: Any) -> float | Verdict | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return Verdict.RIGHT if value else Verdict.WRONG
    if is_number(value):
        return float(value)
    if isinstance(value, str) and len(value) <= MAX_WORD:
        if (verdict := verdict_in(value)) is not None:
            return verdict
        if _NUMBER.fullmatch(value):
            return float(value)
    raise ScoreRowError(
        f"`score` is {_shown(value)}: give a number, right, neutral or wrong, or null for no result"
    )


def _shown(value: Any) -> str:
    if type(value) is int and abs(value) > MAX_INDEX:
        return f"{'below -' if value < 0 else 'above '}{MAX_INDEX}"
    return f"{value!r:.60}"


def _numbered(number: int, index: int, tree: ReasoningTree) -> NodePath:
    if len(tree.leaves()) > 1:
        raise ScoreRowError(
            f'tree {index} has more than one path: give `step` as a path such as "0.2.1"'
        )
    if not 0 <= number < len(tree) - 1:
        raise ScoreRowError(f"tree {index} has {len(tree) - 1} steps, from 0, and no step {number}")
    return (0,) * (number + 1)
