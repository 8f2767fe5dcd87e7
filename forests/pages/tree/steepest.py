"""The paths through a tree that take the best, or the worst, child at each step."""

from collections.abc import Mapping

from forests.core.tree import ROOT, NodePath, ReasoningTree
from forests.core.values import NodeValue


def steepest_path(
    tree: ReasoningTree, values: Mapping[NodePath, NodeValue], *, best: bool
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
            (sign * value, values[child.path].leaves, -child.position, child.path)
            for child in tree.children(position)
            if (value := values[child.path].value) is not None
        ]
        if not candidates:
            return path
        position = max(candidates)[-1]
        path.append(position)
