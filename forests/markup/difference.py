"""Word-by-word difference of two texts."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

MAX_WORDS = 1500
MAX_EQUAL_WORDS = 50_000
"""Most pairs of equal words in two texts. Texts with more pairs, or with more words, are not
compared: the time can grow with the cube of their lengths."""

_WORDS = re.compile(r"(?:\w+|[^\w\s])[^\S\n]*|\s+")


@dataclass(frozen=True, slots=True)
class Span:
    """A part that is in both texts, or in only one of them."""

    kind: str
    """`same`, `added` (only in the new text) or `removed` (only in the old one)."""
    text: str


def difference(new: str, old: str) -> list[Span] | None:
    """Return the spans of both texts in reading order; None if that would take too long.

    The new text is all spans except `removed` ones, and the old text all except `added` ones.
    """
    left, right = _WORDS.findall(old), _WORDS.findall(new)
    if max(len(left), len(right)) > MAX_WORDS or _equal_words(left, right) > MAX_EQUAL_WORDS:
        return None
    return list(_spans(left, right))


def _equal_words(left: list[str], right: list[str]) -> int:
    counts = Counter(right)
    return sum(count * counts[word] for word, count in Counter(left).items())


def _spans(left: list[str], right: list[str]) -> Iterator[Span]:
    matcher = SequenceMatcher(None, left, right, autojunk=False)
    for kind, left_from, left_to, right_from, right_to in matcher.get_opcodes():
        if kind == "equal":
            yield Span("same", "".join(left[left_from:left_to]))
            continue
        if left_to > left_from:
            yield Span("removed", "".join(left[left_from:left_to]))
        if right_to > right_from:
            yield Span("added", "".join(right[right_from:right_to]))
