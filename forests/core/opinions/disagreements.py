"""Where the sources of a step's label disagree: Monte Carlo values, judges, people.

A Monte Carlo value says how often samples that contain a step end with a correct answer. This is
not a verdict on the step: after a hard prompt, right steps have low values. So a scorer is compared
with the change of the value at the step. If the scorer calls a step wrong, the size of the
disagreement is the value: the share of samples that are correct nevertheless. If it calls the step
right, the size is how far the value falls from the step before to this one. Both use the end of the
95 % interval that disagrees less, so that few samples do not look like much disagreement. Two
scorers disagree by the difference of their scores.

A score of 0.5 calls a step neither right nor wrong, so it never disagrees with a value. Only
scorers that give verdicts are compared: the scores of reward models have no common scale.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from typing import NamedTuple, TypeAlias

from forests.core.certainty.evidence import evidence_of
from forests.core.tree import NodePath, ReasoningTree, Scores
from forests.core.values import Estimator, estimate_values

Interval: TypeAlias = tuple[float, float]
GRADED_LEAVES = "Monte Carlo"
"""Name of the values of graded leaves beside the names of scorers."""
MAX_OF_A_TREE = 10
"""Most disagreements that a tree keeps."""


def intervals_of(tree: ReasoningTree, estimator: Estimator) -> dict[NodePath, Interval]:
    """Return the 95 % intervals of the values of a tree.

    The hard values of `any` are not shares of samples: those of `leaf_mean` take their place.
    """
    soft: Estimator = "leaf_mean" if estimator == "any" else estimator
    evidence = evidence_of(tree, estimate_values(tree, soft), soft)
    return {path: one.interval for path, one in evidence.items()}


class Disagreement(NamedTuple):
    """Two sources that disagree on one step."""

    path: NodePath
    size: float
    """From 0 to 1."""
    one: str
    """A source: the name of a scorer."""
    other: str
    """A scorer, or `GRADED_LEAVES`."""


def disagreements_of(
    tree: ReasoningTree,
    intervals: Mapping[NodePath, Interval],
    scores: Mapping[str, Scores],
) -> list[Disagreement]:
    """Return the largest disagreement on each step of a tree, the largest first.

    At most `MAX_OF_A_TREE`. Steps on which nobody disagrees are left out.

    Args:
        tree: the tree.
        intervals: the 95 % interval of each Monte Carlo value: see `intervals_of`.
        scores: the scores of each scorer. Those that are not from 0 to 1 are left out: what they
            say of a step is not known.
    """
    found = []
    for path in tree.nodes:
        if path:
            on_step = max(_on_step(path, intervals, scores), key=lambda one: one.size, default=None)
            if on_step is not None and on_step.size > 0:
                found.append(on_step)
    return sorted(found, key=lambda one: (-one.size, one.path))[:MAX_OF_A_TREE]


def largest(
    by_tree: Iterable[tuple[int, Iterable[Disagreement]]], number: int
) -> list[tuple[int, Disagreement]]:
    """Return the largest disagreements of several trees, each with the index of its tree."""
    every = [(index, one) for index, of_tree in by_tree for one in of_tree]
    return sorted(every, key=lambda found: (-found[1].size, found[0], found[1].path))[:number]


def _on_step(
    path: NodePath, intervals: Mapping[NodePath, Interval], scores: Mapping[str, Scores]
) -> Iterator[Disagreement]:
    said = {
        name: given[path]
        for name, given in sorted(scores.items())
        if path in given and 0 <= given[path] <= 1
    }
    for name, score in said.items():
        size = _from_value(score, intervals.get(path), intervals.get(path[:-1]))
        yield Disagreement(path, size, name, GRADED_LEAVES)
    for one, other in combinations(said, 2):
        yield Disagreement(path, abs(said[one] - said[other]), one, other)


def _from_value(score: float, here: Interval | None, before: Interval | None) -> float:
    """Return how far a score disagrees with the value of a step; 0 without a value."""
    if here is None:
        return 0.0
    certainty = abs(2 * score - 1)
    if score < 0.5:  # noqa: PLR2004  the score that calls a step neither right nor wrong
        return certainty * here[0]
    fall = before[0] - here[1] if before else 0.0
    return certainty * max(0.0, fall)
