"""The best and the worst path of a tree, found greedily."""

from collections.abc import Mapping

from forests.core.tree import ROOT, NodePath, ReasoningTree
from forests.core.values import NodeValue


def steepest_path(
    tree: ReasoningTree, values: Mapping[NodePath, NodeValue], *, best: bool
) -> list[NodePath]:
    """Return the path that takes the best (or worst) child at each step.

    Ties go to the child with more samples, then to the earlier one. Nodes without a value are
    skipped, so the path may end before a leaf. It is empty if the tree has no values.
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
