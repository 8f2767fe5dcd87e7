r"""Find the blocks of a text inside which no step may end: code, tables and displayed formulas.

Fences (three or more backticks or tildes) enclose code. `$$…$$`, `\[…\]` and `\begin{…}…\end{…}`
enclose formulas. A table is a row with a line of dashes below it, or two lines that begin with `|`,
and all rows that follow. An unclosed block extends to the end of the text, so that a text and its
continuation have the same blocks.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TypeAlias

Span: TypeAlias = tuple[int, int]

_OPENING = re.compile(
    r"^[ \t]*+(?P<fence>`{3,}+(?![^\n`]*+`)|~{3,}+)"
    r"|(?<!\\)(?P<dollars>\$\$)"
    r"|(?<!\\)(?P<bracket>\\\[)"
    r"|(?<!\\)\\begin\{(?P<environment>[A-Za-z]++\*?)\}",
    re.MULTILINE,
)
_DASHES = re.compile(r"[ \t]*+\|?[ \t]*+:?-++:?[ \t]*+(?:\|[ \t]*+:?-++:?[ \t]*+)*+\|?[ \t\r]*+\Z")
_LINE = re.compile(r"^[^\n]*$", re.MULTILINE)


class Blocks:
    """The blocks of one text."""

    def __init__(self, text: str) -> None:
        self._spans = find_blocks(text)
        self._starts = [start for start, _ in self._spans]

    def holds(self, position: int) -> bool:
        """Return whether a position is inside a block, excluding its edges."""
        number = bisect_right(self._starts, position - 1)
        return number > 0 and position < self._spans[number - 1][1]


def find_blocks(text: str) -> list[Span]:
    """Return the start and end of each block, in order, without overlaps.

    The end of an unclosed block is one past the end of the text.
    """
    closed = list(_delimited(text))
    tables = [
        (start, end)
        for start, end in _tables(text)
        if not any(low < end and start < high for low, high in _near(closed, start, end))
    ]
    return sorted(closed + tables)


def _near(spans: Sequence[Span], start: int, end: int) -> Sequence[Span]:
    first = max(0, bisect_right(spans, (start, start)) - 1)
    return spans[first : bisect_right(spans, (end, end))]


def _delimited(text: str) -> Iterator[Span]:
    position = 0
    while found := _OPENING.search(text, position):
        end = _end_of(found, text)
        yield found.start(), end
        position = min(end, len(text))
        if end > len(text):
            return


def _end_of(opening: re.Match[str], text: str) -> int:
    """Return the end of a block; one past the end of the text if it is not closed."""
    after = opening.end()
    if fence := opening["fence"]:
        closing = re.compile(
            rf"^[ \t]*+{re.escape(fence[0])}{{{len(fence)},}}+[ \t\r]*+$", re.MULTILINE
        )
    elif opening["dollars"]:
        closing = re.compile(r"(?<!\\)\$\$")
    elif opening["bracket"]:
        closing = re.compile(r"\\\]")
    else:
        return _end_of_environment(opening, text)
    found = closing.search(text, after)
    return found.end() if found else len(text) + 1


def _end_of_environment(opening: re.Match[str], text: str) -> int:
    name = re.escape(opening["environment"])
    depth = 1
    for found in re.compile(rf"\\(begin|end)\{{{name}\}}").finditer(text, opening.end()):
        depth += 1 if found[1] == "begin" else -1
        if not depth:
            return found.end()
    return len(text) + 1


def _tables(text: str) -> Iterator[Span]:
    """Yield the tables; each ends before the line break that follows its last row."""
    for rows in _runs_of_rows(text):
        pairs = pairwise(rows)
        first = next((row.start() for row, below in pairs if _begin_table(row[0], below[0])), None)
        if first is not None:
            is_open = text[rows[-1].end() :] in ("", "\n")  # the next line may be a row too
            yield first, len(text) + 1 if is_open else rows[-1].end()


def _runs_of_rows(text: str) -> Iterator[list[re.Match[str]]]:
    """Yield the maximal runs of lines that all contain a `|`, without their line breaks."""
    run: list[re.Match[str]] = []
    for line in _LINE.finditer(text) if "|" in text else ():
        if "|" in line[0]:
            run.append(line)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _begin_table(first: str, second: str) -> bool:
    have_edges = first.lstrip().startswith("|") and second.lstrip().startswith("|")
    return have_edges or _DASHES.match(second) is not None
