"""What the page of compared steps shows of each step: its value, and how its text differs."""

from collections.abc import Sequence
from dataclasses import dataclass

from common.text import printable
from forests.core.tree import NodePath
from forests.markup.difference import Span, difference
from forests.pages.tree.rows import TreeReading, TreeRow

MAX_TEXT_LENGTH = 4_000
"""Most characters of a step that the page shows."""


@dataclass(frozen=True, slots=True)
class Column:
    """One of the compared steps."""

    row: TreeRow
    text: str
    """Its text, or the beginning of it."""
    num_missing: int
    """Characters of the step that are not shown."""
    spans: Sequence[Span] | None
    """How the text differs from that of the first step; None for the first step itself, and if the
    comparison would take too long."""


def columns_of(reading: TreeReading, paths: Sequence[NodePath]) -> list[Column]:
    """Return a column for each step; the others are compared with the first."""
    texts = [printable(reading.tree.nodes[path].text[:MAX_TEXT_LENGTH]) for path in paths]
    return [
        Column(
            row=reading.row(path, with_text=False),
            text=text,
            num_missing=max(0, len(reading.tree.nodes[path].text) - MAX_TEXT_LENGTH),
            spans=None if number == 0 else difference(text, texts[0]),
        )
        for number, (path, text) in enumerate(zip(paths, texts, strict=True))
    ]
