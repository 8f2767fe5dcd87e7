"""Beam search and DVTS over a tree that is already grown, guided by the values of paths."""

from collections.abc import Callable, Mapping
from math import inf
from typing import NamedTuple, TypeAlias

from forests.core.tree import ROOT, NodePath, ReasoningTree, TreeNode
from metrics.core.search.aggregation import Aggregate, aggregate_path

Overall: TypeAlias = Mapping[NodePath, float | None]
"""Overall value of the path to each node; None if no node of the path has a value."""


class Beam(NamedTuple):
    """A path from the root to a leaf."""

    leaf: TreeNode
    value: float | None
    """Overall value; None if no node of the path has a value."""


class Found(NamedTuple):
    """Result of a search."""

    beams: list[Beam]
    """Best first."""
    expanded: list[NodePath]
    """Nodes whose children the search looked at; a live search would have sampled these."""

    def tokens(self, tree: ReasoningTree) -> int:
        """Return the tokens of all samples of the expanded nodes."""
        return sum(
            child.tokens * child.count for path in self.expanded for child in tree.children(path)
        )


class OverallValues(dict[NodePath, float | None]):
    """The overall value of the path to each node, computed when first read: a search reads few."""

    def __init__(self, values: Mapping[NodePath, float | None], aggregate: Aggregate) -> None:
        super().__init__()
        self._values = values
        self._aggregate = aggregate
        self._along: dict[NodePath, list[float | None]] = {ROOT: []}

    def __missing__(self, path: NodePath) -> float | None:
        overall = self[path] = aggregate_path(self._values_along(path), self._aggregate)
        return overall

    def _values_along(self, path: NodePath) -> list[float | None]:
        missing = []
        while (along := self._along.get(path)) is None:
            missing.append(path)
            path = path[:-1]
        for path in reversed(missing):
            along = self._along[path] = [*along, self._values.get(path)]
        return along


def beam_search(tree: ReasoningTree, overall: Overall, num_beams: int) -> Found:
    """Return the finished beams.

    In each round the candidates are the children of all live beams and the finished beams. The
    search keeps the `num_beams` candidates with the highest overall value, until all are finished.
    Paths without a value come last, and ties go to the first path, so results are reproducible.
    """
    rank = _rank(overall)
    finished: list[NodePath] = []
    live, expanded = [ROOT], []
    while live:
        expanded += live
        children = [child.path for path in live for child in tree.children(path)]
        kept = sorted([*finished, *children], key=rank)[:num_beams]
        finished = [path for path in kept if tree.is_leaf(path)]
        live = [path for path in kept if not tree.is_leaf(path)]
    return Found([Beam(tree.nodes[path], overall[path]) for path in finished], expanded)


def diverse_search(tree: ReasoningTree, overall: Overall, num_beams: int) -> Found:
    """Return one beam from each of `num_beams` subtrees that are searched independently.

    Diverse verifier tree search (DVTS; Beeching et al. 2024, Scaling test-time compute with open
    models): the first steps are dealt out to the subtrees in turn, and each search follows the best
    child at every step. A root with fewer children than `num_beams` gives one beam for each child.
    """
    rank = _rank(overall)
    first = [child.path for child in tree.children(ROOT)]
    ends, expanded = [], [ROOT]
    for number in range(min(num_beams, len(first))):
        best = min(first[number::num_beams], key=rank)
        while children := tree.children(best):
            expanded.append(best)
            best = min((child.path for child in children), key=rank)
        ends.append(best)
    beams = [Beam(tree.nodes[path], overall[path]) for path in sorted(ends, key=rank)]
    return Found(beams, expanded)


def _rank(overall: Overall) -> Callable[[NodePath], tuple[float, NodePath]]:
    """Return a sort key: best first, paths without a value last, ties by path."""

    def rank(path: NodePath) -> tuple[float, NodePath]:
        value = overall[path]
        return (inf if value is None else -value, path)

    return rank
