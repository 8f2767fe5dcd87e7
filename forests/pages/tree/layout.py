"""Layout of a tree's overview picture, and the choice of the points that it shows."""

import heapq
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from forests.core.tree import ROOT, NodePath, ReasoningTree


@dataclass(frozen=True, slots=True)
class Dendrogram:
    """Positions of nodes across the tree, in leaf slots from 0."""

    slots: Mapping[NodePath, float]
    num_leaves: int
    max_depth: int


def dendrogram(paths: Collection[NodePath]) -> Dendrogram:
    """Return the layout of these nodes, which must include the parent of each of them.

    Each leaf takes one slot, in reading order, so that the picture runs in parallel with the text.
    A parent is halfway between its first and its last child. Points of one depth are at least one
    slot apart, and edges do not cross. Takes linear time after one sort.
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
    """Return the number of nodes in each node's subtree, the node itself included."""
    sizes: dict[NodePath, int] = {}
    for node in tree.bottom_up():
        sizes[node.path] = 1 + sum(sizes[child.path] for child in tree.children(node.path))
    return sizes


def leaf_counts(tree: ReasoningTree) -> dict[NodePath, int]:
    """Return the number of leaves in each node's subtree; 1 for a leaf."""
    counts: dict[NodePath, int] = {}
    for node in tree.bottom_up():
        counts[node.path] = sum(counts[one.path] for one in tree.children(node.path)) or 1
    return counts


def thinned(
    tree: ReasoningTree, sizes: Mapping[NodePath, int], *, at_most: int, keep: Collection[NodePath]
) -> set[NodePath]:
    """Return about `at_most` nodes that show the shape of a tree, with the parent of each.

    The largest subtrees are expanded first, so every omitted subtree is small. If a node has too
    many children, evenly spaced ones are chosen. The paths to the nodes in `keep` are always shown,
    even beyond `at_most`.
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
    """Return `number` evenly spaced items, or all if there are fewer."""
    if number >= len(items):
        return list(items)
    return [items[index * len(items) // number] for index in range(number)]
