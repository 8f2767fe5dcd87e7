"""Where the points of a tree stand in a small picture of the whole, and which points it shows."""

import heapq
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from forests.core.tree import ROOT, NodePath, ReasoningTree


@dataclass(frozen=True, slots=True)
class Dendrogram:
    """Points by depth and by their place among the leaves, in leaf slots from 0."""

    slots: Mapping[NodePath, float]
    num_leaves: int
    max_depth: int


def dendrogram(paths: Collection[NodePath]) -> Dendrogram:
    """Return the layout of these nodes, which must hold the parent of each of them.

    Leaves take one slot each in the order of reading, so that the picture runs beside the text; a
    parent stands in the middle between its first and its last child. Points of one depth are at
    least one slot apart, and edges do not cross. Linear but for one sort.
    """
    order = sorted(paths)
    ends: dict[NodePath, tuple[float, float]] = {}
    slots: dict[NodePath, float] = {}
    num_leaves = sum(
        len(after) <= len(path) for path, after in zip(order, [*order[1:], ROOT], strict=True)
    )
    free = num_leaves - 1
    for path in reversed(order):  # each after its descendants
        if path in ends:
            first, last = ends[path]
            slots[path] = (first + last) / 2
        else:
            slots[path] = free
            free -= 1
        if path:
            parent = path[:-1]
            ends[parent] = (slots[path], ends.get(parent, (0.0, slots[path]))[1])
    return Dendrogram(slots, num_leaves, max(map(len, order), default=0))


def subtree_sizes(tree: ReasoningTree) -> dict[NodePath, int]:
    """Return how many nodes hang under each node, itself included."""
    sizes: dict[NodePath, int] = {}
    for node in tree.bottom_up():
        sizes[node.path] = 1 + sum(sizes[child.path] for child in tree.children(node.path))
    return sizes


def thinned(
    tree: ReasoningTree, sizes: Mapping[NodePath, int], *, at_most: int, keep: Collection[NodePath]
) -> set[NodePath]:
    """Return about `at_most` nodes that show the shape of a tree, with the parent of each.

    The largest subtrees are unfolded first, so what is left out is small everywhere; of more
    children than there is room for, some are taken at equal distances. The paths to the nodes in
    `keep` are shown in any case, beyond `at_most` if need be.
    """
    if len(tree) <= at_most:
        return set(tree.nodes)
    chosen = {path[:depth] for path in keep for depth in range(len(path) + 1)} | {ROOT}
    waiting = [(-sizes[ROOT], ROOT)]
    while waiting and len(chosen) < at_most:
        _, path = heapq.heappop(waiting)
        children = [child.path for child in tree.children(path)]
        hidden = [child for child in children if child not in chosen]
        chosen.update(evenly(hidden, at_most - len(chosen)))
        for child in children:
            if child in chosen and sizes[child] > 1:
                heapq.heappush(waiting, (-sizes[child], child))
    return chosen


def evenly(items: Sequence[NodePath], number: int) -> list[NodePath]:
    """Return so many of these items, at equal distances; all where there are no more."""
    if number >= len(items):
        return list(items)
    return [items[index * len(items) // number] for index in range(number)]
