"""Verdicts on steps, and the scores that stand for them, for any scorer.

A scorer that gives verdicts (a judge model, a person, a published benchmark) says of a step that it
is right, neutral or wrong. A forest stores numbers from 0 to 1: 1, 0.5 and 0, as AgentProcessBench
(2603.14465) has +1, 0 and -1. The score of several votes is their mean. A step without a vote has
no score: it is neither right nor wrong.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from math import fsum
from typing import Any

from common.json_lines import is_number
from common.text import printable


class Verdict(StrEnum):
    """What one vote says of a step."""

    RIGHT = "right"
    NEUTRAL = "neutral"
    WRONG = "wrong"


SCORES: Mapping[Verdict, float] = {Verdict.RIGHT: 1.0, Verdict.NEUTRAL: 0.5, Verdict.WRONG: 0.0}

PRM, JUDGE, HUMAN, IMPORTED, PROVER = "prm", "judge", "human", "imported", "prover"
SCORER_KINDS: Sequence[str] = (PRM, JUDGE, HUMAN, IMPORTED, PROVER)
"""Where the scores of a scorer come from. Scorers of earlier versions have "": unknown."""
GIVE_VERDICTS = frozenset({JUDGE, HUMAN, IMPORTED})
"""Kinds whose scores are verdicts or means of verdicts. Scores of reward models are not: their
threshold is fitted. Those of a prover are shares of its rollouts."""

JUDGE_STEPS = GIVE_VERDICTS | {PRM}
"""Kinds of scores that say whether a step itself is right, whatever the final answer is."""

MAX_RATIONALE = 4_000
"""Most characters of one rationale."""
MAX_RATIONALES_OF_A_NODE = 20_000
"""Most characters of the rationales of one node, of all votes together."""
MAX_RATIONALES_OF_A_TREE = 2_000_000
"""Most characters of all rationales of a tree: a MongoDB document has at most 16 MB."""

_WORDS: Mapping[str, Verdict] = {
    "right": Verdict.RIGHT, "correct": Verdict.RIGHT, "good": Verdict.RIGHT, "+": Verdict.RIGHT,
    "neutral": Verdict.NEUTRAL,
    "wrong": Verdict.WRONG, "incorrect": Verdict.WRONG, "bad": Verdict.WRONG, "-": Verdict.WRONG,
}  # fmt: skip
WORDS = tuple(_WORDS)
"""The words that name a verdict. Numbers do not: what they say depends on their scale."""


def verdict_of(score: float) -> Verdict:
    """Return the verdict that a score stands for.

    Above 0.5 it is right, below it is wrong, and 0.5 itself is neutral. So the score of one vote
    gives that vote, and the mean of several the majority of right and wrong; a tie is neutral.
    """
    if score == SCORES[Verdict.NEUTRAL]:
        return Verdict.NEUTRAL
    return Verdict.RIGHT if score > SCORES[Verdict.NEUTRAL] else Verdict.WRONG


def verdict_in(word: str) -> Verdict | None:
    """Return the verdict that a word names, in any case; None if it names none."""
    return _WORDS.get(word.strip().lower())


def mean_score(votes: Iterable[Verdict]) -> float | None:
    """Return the score of several votes; None without one."""
    scores = [SCORES[vote] for vote in votes]
    return fsum(scores) / len(scores) if scores else None


def first_wrong(scores: Iterable[float | None]) -> int | None:
    """Return the position of the first wrong step; None if no step is wrong.

    A step without a score (None) is not wrong, as in AgentProcessBench and ProcessBench.
    """
    return next(
        (n for n, one in enumerate(scores) if one is not None and verdict_of(one) is Verdict.WRONG),
        None,
    )


def bounded_rationale(text: str) -> str:
    """Return a rationale that can be stored, cut to `MAX_RATIONALE` characters."""
    whole = printable(text.strip())
    return whole if len(whole) <= MAX_RATIONALE else whole[: MAX_RATIONALE - 1] + "…"


def signed_score(label: float) -> float:
    """Return the score of a label from -1 (wrong) to 1 (right)."""
    return (label + 1) / 2


def is_score(value: Any) -> bool:
    """Return whether a value is a number from 0 to 1."""
    return is_number(value) and 0 <= value <= 1
