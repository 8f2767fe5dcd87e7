"""Split of a tree into two halves: the values of one half guide a search of the other.

Each leaf goes to one half as a whole. All samples of a leaf share one grade, so a leaf in both
halves would vote for itself (docs/decisions/003-held-out-values.md).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias

from forests.core.tree import ROOT, NodePath, ReasoningTree, TreeNode

_Samples: TypeAlias = dict[int, int]
"""Samples that ended below a node: all (`_ALL`), and by the depth they were drawn from."""
_ALL = -1


def halves(tree: ReasoningTree) -> tuple[ReasoningTree, ReasoningTree]:
    """Return two trees that divide the leaves, each with the ancestors of its leaves.

    Below every node, the halves differ at most by the samples of its largest leaf. If the tree has
    one leaf, one half is empty. The split does not depend on grades.
    """
    half_of = _dealt(tree)
    samples: tuple[dict[NodePath, _Samples], dict[NodePath, _Samples]] = ({}, {})
    kept: tuple[list[TreeNode], list[TreeNode]] = ([tree.root], [tree.root])
    for node in tree.bottom_up():
        path = node.path
        if path in half_of:
            samples[half_of[path]][path] = {_ALL: node.count, **node.drawn}
            kept[half_of[path]].append(node)
            continue
        for half in (0, 1):
            if below := _sum_of_children(tree, path, samples[half]):
                samples[half][path] = below
        for half in (0, 1):
            if path and path in samples[half]:
                here, there = samples[half][path], samples[1 - half].get(path, {})
                kept[half].append(_part_of(node, here, there))
    return ReasoningTree.from_nodes(kept[0]), ReasoningTree.from_nodes(kept[1])


def _dealt(tree: ReasoningTree) -> dict[NodePath, int]:
    """Return the half of each leaf.

    Works from the leaves up. At each node it adds the subtrees one by one, the most uneven first.
    It swaps the halves of a subtree if that balances the subtrees added before.
    """
    lead: dict[NodePath, int] = {}
    """Difference between the halves of a subtree, in samples."""
    turned: set[NodePath] = set()
    """Subtrees whose larger half belongs to the smaller half of their parent."""
    for node in tree.bottom_up():
        children = sorted(tree.children(node.path), key=lambda child: -lead[child.path])
        if not children:
            lead[node.path] = node.count
            continue
        more = 0
        for child in children:
            if more > 0:
                turned.add(child.path)
            more += -lead[child.path] if more > 0 else lead[child.path]
        if more < 0:
            turned ^= {child.path for child in children}
        lead[node.path] = abs(more)
    half_of = {ROOT: 0}
    for node in tree:  # parents come first
        if node.path:
            half_of[node.path] = half_of[node.path[:-1]] ^ (node.path in turned)
    return {leaf.path: half_of[leaf.path] for leaf in tree.leaves() if leaf.path}


def _sum_of_children(
    tree: ReasoningTree, path: NodePath, samples: Mapping[NodePath, _Samples]
) -> _Samples:
    total: _Samples = {}
    for child in tree.children(path):
        for key, number in samples.get(child.path, {}).items():
            total[key] = total.get(key, 0) + number
    return total


def _part_of(node: TreeNode, here: _Samples, there: _Samples) -> TreeNode:
    """Return an inner node with its samples in one half.

    A rollout belongs to the half of its leaf. A single step that continues in both halves belongs
    to both.
    """

    def part(number: int, depth: int) -> int:
        key = depth if depth in here or depth in there else _ALL
        held = here.get(key, 0)
        return -(-number * held // (held + there.get(key, 0)))  # rounded up

    drawn = {depth: held for depth, n in node.drawn.items() if (held := part(n, depth))}
    count = sum(drawn.values()) if node.drawn else part(node.count, _ALL)
    return replace(node, count=max(1, count), drawn=drawn)
