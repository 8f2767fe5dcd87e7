"""Beam search over a tree whose nodes are all there."""

from collections.abc import Mapping
from math import inf
from typing import NamedTuple

from forests.core.tree import ROOT, NodePath, ReasoningTree, TreeNode
from metrics.core.aggregation import Aggregate, aggregate_path


class Beam(NamedTuple):
    """A path from the root to a leaf."""

    leaf: TreeNode
    value: float | None
    """Overall value; None where no node of the path has a value."""


def overall_values(
    tree: ReasoningTree, values: Mapping[NodePath, float | None], aggregate: Aggregate
) -> dict[NodePath, float | None]:
    """Return the overall value of the path to each node below the root."""
    along: dict[NodePath, list[float | None]] = {ROOT: []}
    overall: dict[NodePath, float | None] = {}
    for node in tree:  # parents come first
        if node.path:
            path_values = [*along[node.path[:-1]], values.get(node.path)]
            along[node.path] = path_values
            overall[node.path] = aggregate_path(path_values, aggregate)
    return overall


def beam_search(
    tree: ReasoningTree, overall: Mapping[NodePath, float | None], num_beams: int
) -> list[Beam]:
    """Return the finished beams, best first.

    In each round the candidates are the children of every live beam and the beams that are
    finished; the `num_beams` of highest overall value are kept, until all are finished. Paths
    without a value come last, and ties go to the path that comes first, so runs repeat exactly.
    """

    def rank(path: NodePath) -> tuple[float, NodePath]:
        value = overall.get(path)
        return (inf if value is None else -value, path)

    finished: list[NodePath] = []
    live = [ROOT]
    while live:
        children = [child.path for path in live for child in tree.children(path)]
        kept = sorted([*finished, *children], key=rank)[:num_beams]
        finished = [path for path in kept if tree.is_leaf(path)]
        live = [path for path in kept if not tree.is_leaf(path)]
    return [Beam(tree.nodes[path], overall.get(path)) for path in finished]
