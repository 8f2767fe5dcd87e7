"""Distribution of node values, overall and by depth, and of a tree's answers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

from forests.core.tree import NodePath, ReasoningTree
from metrics.core.search.accuracy import vote_of

BINS = ("0", *(f"{low / 10:.1f}-{(low + 1) / 10:.1f}" for low in range(10)), "1")
"""Exactly 0 and exactly 1 have bins of their own: all samples are incorrect, or all correct."""
DEEPEST = 64
"""Deeper nodes count as nodes of this depth, which bounds the size of the result."""


@dataclass(slots=True)
class _Depth:
    nodes: int = 0
    valued: int = 0
    total: float = 0.0


@dataclass(slots=True)
class ValueDistribution:
    """Counts the nodes of a forest, search by search.

    Each node counts once, however many samples it has. If a tree is searched in halves, a node
    counts once in each half that contains it.
    """

    bins: Counter[str] = field(default_factory=Counter)
    depths: dict[int, _Depth] = field(default_factory=dict)

    def add(self, tree: ReasoningTree, values: Mapping[NodePath, float | None]) -> None:
        """Count the nodes below the root."""
        found: Counter[float] = Counter()
        for length, paths in groupby(tree.nodes, len):
            if not length:
                continue
            here = list(map(values.get, paths))
            known = [value for value in here if value is not None]
            depth = self.depths.setdefault(min(length, DEEPEST), _Depth())
            depth.nodes += len(here)
            depth.valued += len(known)
            for value in known:
                depth.total += value
            found.update(known)
        for value, nodes in found.items():  # a tree has few different values
            self.bins[bin_of(value)] += nodes

    def merge(self, other: "ValueDistribution") -> None:
        """Add the nodes of other trees."""
        self.bins.update(other.bins)
        for number, more in other.depths.items():
            depth = self.depths.setdefault(number, _Depth())
            depth.nodes += more.nodes
            depth.valued += more.valued
            depth.total += more.total

    def as_dict(self) -> dict[str, Any]:
        """Return nodes by bin, and nodes and mean value by depth, as JSON types."""
        return {
            "bins": [self.bins[name] for name in BINS],
            "depths": [
                {
                    "depth": number,
                    "nodes": depth.nodes,
                    "valued": depth.valued,
                    "mean": depth.total / depth.valued if depth.valued else None,
                }
                for number, depth in sorted(self.depths.items())
            ],
        }


def bin_of(value: float) -> str:
    """Return the bin of a value; values outside 0 to 1 belong to the first or last bin."""
    if value <= 0:
        return BINS[0]
    if value >= 1:
        return BINS[-1]
    return BINS[1 + min(9, int(value * 10))]


class AnswerShare(NamedTuple):
    """One answer to one item."""

    answer: str | None
    """The text of the first sample with this answer; None for samples without an answer."""
    samples: int
    share: float
    is_correct: bool

    @property
    def percent(self) -> str:
        """The share in percent, for the length of a bar."""
        return f"{100 * self.share:.1f}"


def answer_shares(tree: ReasoningTree) -> Sequence[AnswerShare]:
    """Return the answers of a tree's finished samples, most frequent first.

    Answers that mean the same are merged, as in a majority vote. Uncompared samples are left out.
    """
    samples: Counter[str | None] = Counter()
    correct: set[str | None] = set()
    for leaf in tree.leaves():
        if leaf.is_finished and not leaf.is_uncompared:
            answer = vote_of(leaf)
            samples[answer] += leaf.count
            if leaf.is_correct:
                correct.add(answer)
    total = samples.total()
    return [
        AnswerShare(answer, number, number / total, answer in correct)
        for answer, number in samples.most_common()
    ]
