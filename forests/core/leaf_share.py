"""Leaves under each node, in samples: what the pages show as a node's value.

The estimators that metrics compare, and their options, are in `metrics.core`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from forests.core.tree import ROOT, NodePath, ReasoningTree


@dataclass(frozen=True, slots=True)
class LeafShare:
    """Finished samples with a result under a node, the node itself where it is a leaf."""

    correct: int = 0
    leaves: int = 0

    @property
    def value(self) -> float | None:
        """Share of correct samples (Monte Carlo); None where no sample has a result."""
        return self.correct / self.leaves if self.leaves else None


def leaf_shares(tree: ReasoningTree) -> dict[NodePath, LeafShare]:
    """Return the share of every node; truncated and unanswered samples count as not correct.

    A step that ended three samples is three leaves; open nodes, to which growth has not come yet,
    are none, nor are samples whose answer nobody could compare. Linear in the nodes.
    """
    shares: dict[NodePath, LeafShare] = {}
    for node in tree.bottom_up():
        correct = leaves = 0
        for child in tree.children(node.path):
            share = shares[child.path]
            correct, leaves = correct + share.correct, leaves + share.leaves
        if node.is_finished and tree.is_leaf(node.path) and not node.is_uncompared:
            leaves = node.count
            correct = node.count if node.is_correct else 0
        shares[node.path] = LeafShare(correct, leaves)
    return shares


def steepest_path(
    tree: ReasoningTree, shares: Mapping[NodePath, LeafShare], *, best: bool
) -> list[NodePath]:
    """Return the nodes of the path that takes the best (worst) child at each step.

    Among equal children the one with more samples goes first, then the earlier. Nodes without a
    value are passed over, so the path may end before a leaf; it is empty where the tree has none.
    """
    sign = 1 if best else -1
    path: list[NodePath] = []
    position = ROOT
    while True:
        candidates = [
            (sign * value, shares[child.path].leaves, -child.position, child.path)
            for child in tree.children(position)
            if (value := shares[child.path].value) is not None
        ]
        if not candidates:
            return path
        position = max(candidates)[-1]
        path.append(position)
