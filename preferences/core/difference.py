"""What differs between two texts, word by word."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

MAX_WORDS = 1500
"""Longer texts are not compared: the time grows with the product of their lengths."""

_WORDS = re.compile(r"\s+|\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of text: in both texts, or in one of them only."""

    kind: str
    """`same`, `chosen` or `rejected`."""
    text: str


def difference(chosen: str, rejected: str) -> list[Span] | None:
    """Return the stretches of both texts in reading order, or None where they are too long.

    The spans that are not `rejected` spell the chosen text, those not `chosen` the rejected one.
    """
    left, right = _WORDS.findall(rejected), _WORDS.findall(chosen)
    if max(len(left), len(right)) > MAX_WORDS:
        return None
    return list(_spans(left, right))


def _spans(left: list[str], right: list[str]) -> Iterator[Span]:
    matcher = SequenceMatcher(None, left, right, autojunk=False)
    for kind, left_from, left_to, right_from, right_to in matcher.get_opcodes():
        if kind == "equal":
            yield Span("same", "".join(left[left_from:left_to]))
            continue
        if left_to > left_from:
            yield Span("rejected", "".join(left[left_from:left_to]))
        if right_to > right_from:
            yield Span("chosen", "".join(right[right_from:right_to]))
