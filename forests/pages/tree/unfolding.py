"""Choice of the rows of a large tree that a page opens."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TypeAlias

from forests.core.tree import NodePath

CHUNK = 100
"""Most children of one node that are shown at once."""

Children: TypeAlias = Callable[[NodePath], Sequence[NodePath]]


@dataclass(frozen=True, slots=True)
class Gap:
    """Children of a node that a page leaves out: from `start` up to but not including `stop`."""

    parent: NodePath
    start: int
    stop: int
    first: NodePath
    """The child at `start`."""

    def __len__(self) -> int:
        return self.stop - self.start


def unfolded(
    children: Children,
    base: NodePath,
    *,
    first: AbstractSet[NodePath],
    wanted: AbstractSet[NodePath] | None,
    at_most: int,
) -> set[NodePath]:
    """Return the nodes whose children a page shows, including `base`.

    Opens the tree level by level until it would show more than `at_most` rows. The nodes in
    `first`, which contains whole paths from `base`, are always open. If `wanted` is given, no
    other nodes are opened.
    """
    opened = {base} | first
    rows = sum(min(len(children(path)), CHUNK) for path in opened)
    waiting = deque([base])
    while waiting:
        path = waiting.popleft()
        below = children(path)
        if path not in opened:
            rows += min(len(below), CHUNK)
            if rows > at_most:
                break
            opened.add(path)
        waiting.extend(
            child
            for child in below[:CHUNK]
            if (wanted is None or child in wanted or child in first) and children(child)
        )
    return opened


def chunked(
    below: Sequence[NodePath], first: AbstractSet[NodePath], *, start: int = 0, stop: int = -1
) -> Iterator[NodePath | Gap]:
    """Yield the children from `start` up to `stop` (a negative one means the end).

    Yields the first `CHUNK` children and the chunks that contain one of `first`. Gaps replace the
    others.
    """
    end = len(below) if stop < 0 else min(stop, len(below))
    skipped = end
    for begin in range(start, end, CHUNK):
        chunk = below[begin : min(begin + CHUNK, end)]
        if begin == start or any(path in first for path in chunk):
            if skipped < begin:
                yield _gap(below, skipped, begin)
            yield from chunk
            skipped = end
        elif skipped == end:
            skipped = begin
    if skipped < end:
        yield _gap(below, skipped, end)


def _gap(below: Sequence[NodePath], start: int, stop: int) -> Gap:
    return Gap(below[start][:-1], start, stop, below[start])
