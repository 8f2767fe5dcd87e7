"""The texts of a pair in pieces, so that its page can fold the thoughts in them."""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

Piece: TypeAlias = tuple[str, bool]
"""A part of a text, and whether it is a thought."""


def split_at_thoughts(
    prefix: str, text: str, thoughts: Iterable[str]
) -> tuple[list[Piece], list[Piece]]:
    """Return the pieces of a prefix, and the pieces of the text after it.

    `thoughts`: the texts of all steps that are thoughts, in order, in the prefix and the text.
    """
    whole, position, cut = prefix + text, 0, len(prefix)
    spans: list[tuple[int, int]] = []
    for thought in filter(None, thoughts):
        start = whole.find(thought, position)
        if start < 0:
            continue
        position = start + len(thought)
        if spans and not whole[spans[-1][1] : start].strip():
            spans[-1] = (spans[-1][0], position)
        else:
            spans.append((start, position))
    return _pieces(whole, spans, 0, cut), _pieces(whole, spans, cut, len(whole))


def _pieces(whole: str, spans: Sequence[tuple[int, int]], start: int, end: int) -> list[Piece]:
    """Return the pieces of a part of a text; `spans`: the places of the thoughts in the text."""
    pieces: list[Piece] = []
    for span in spans:
        first, last = max(start, span[0]), min(end, span[1])
        if first < last:
            pieces += [(whole[start:first], False), (whole[first:last], True)]
            start = last
    return [piece for piece in [*pieces, (whole[start:end], False)] if piece[0].strip()]
