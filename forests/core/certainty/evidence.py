"""How sure a value is: the samples that really count for it, and its 95 % interval.

Leaves below one step are not always independent. If growth drew two continuations of a step's
child, both share that child, and together they say less about the step than two draws from the
step itself. `Evidence` counts each value's *effective* samples. How much the leaves of one child
agree is estimated from the forest (`sibling_prior`); without an estimate, it is
`USUAL_CORRELATION`.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from math import sqrt
from typing import NamedTuple, TypeAlias

from forests.core.tree import NodePath, ReasoningTree, TreeNode
from forests.core.values import (
    Estimator,
    NodeValue,
    Ungraded,
    estimate_values,
    own_rollout_values,
    through_rollouts,
)

Z_95 = 1.959963984540054

USUAL_CORRELATION = 0.5
"""Agreement of two leaves below the same child, if it was not estimated: 0 none, 1 full."""

Correlation: TypeAlias = Callable[[int], float]
"""Agreement of leaves that share a step of this depth, beyond what their parent's value says."""

Structure: TypeAlias = tuple[float, tuple[tuple[float, "Structure"], ...]]
"""How the samples of a value depend on each other.

First the sum of the squared weights of the independent samples. Then each group of samples that
share a child, as its squared weight and its own structure.
"""


class Evidence(NamedTuple):
    """What is known about the value of a step."""

    correct: float
    """Effective number of correct samples."""
    samples: float
    """Effective number of samples; not a whole number if leaves depend on each other."""
    is_certain: bool = False
    """Whether the solution ends here: the step is then correct or incorrect for certain."""

    @classmethod
    def of(cls, value: NodeValue) -> "Evidence | None":
        """Return the evidence of a value whose samples are independent; None if it has none."""
        if value.value is None or not value.leaves:
            return None
        return cls(value.value * value.leaves, value.leaves)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the value: see `wilson_interval`. A point if it is certain."""
        if self.is_certain:
            share = self.correct / self.samples
            return share, share
        return wilson_interval(self.correct, self.samples)


class Dependence(NamedTuple):
    """The structure of a value's samples, and whether its solution ends there."""

    structure: Structure
    is_certain: bool

    def evidence(self, value: float, depth: int, correlation: Correlation) -> Evidence:
        """Return the evidence of this value of a node at this depth."""
        samples = round(1 / _variance(self.structure, depth, correlation), 6)
        return Evidence(value * samples, samples, self.is_certain)


def usual_correlation(_depth: int) -> float:
    return USUAL_CORRELATION


def evidence_of(
    tree: ReasoningTree,
    values: Mapping[NodePath, NodeValue],
    estimator: Estimator,
    ungraded: Ungraded = "incorrect",
    correlation: Correlation = usual_correlation,
) -> dict[NodePath, Evidence]:
    """Return the evidence of the values that `estimate_values` gave with the same parameters.

    Nodes without a value have no evidence. Values that are not a share of samples have none either:
    with the estimator `any`, only the ends of solutions have evidence.
    """
    found = {}
    for path, dependence in dependences_of(tree, values, estimator, ungraded).items():
        value = values[path].value
        if value is not None:
            found[path] = dependence.evidence(value, len(path), correlation)
    return found


class SupportedValue(NodeValue):
    """A value with its evidence; it equals the same value without evidence."""

    evidence: Evidence


def with_evidence(
    values: Mapping[NodePath, NodeValue], evidence: Mapping[NodePath, Evidence]
) -> dict[NodePath, NodeValue]:
    """Return the values, with their evidence if they have any."""
    found = dict(values)
    for path, known in evidence.items():
        value = SupportedValue(*values[path])
        value.evidence = known
        found[path] = value
    return found


def known_interval(value: NodeValue) -> tuple[float, float] | None:
    """Return the 95 % interval of a value that has its evidence; None for others."""
    return value.evidence.interval if isinstance(value, SupportedValue) else None


def value_interval(value: NodeValue) -> tuple[float, float] | None:
    """Return the 95 % interval of a value whose samples are independent; None without a value.

    It ignores that leaves may depend on each other, and that ends of solutions are certain: see
    `evidence_of`.
    """
    evidence = Evidence.of(value)
    return evidence.interval if evidence else None


@lru_cache(maxsize=2**12)  # a forest has few different values
def wilson_interval(successes: float, trials: float, z: float = Z_95) -> tuple[float, float]:
    """Return Wilson's score interval (1927) for a proportion; `trials` is above 0.

    It is also accurate for few trials and for shares near 0 and 1. If trials give numbers between 0
    and 1, the interval is conservative: it is wider than necessary, never narrower.
    """
    share = successes / trials
    centre = share + z * z / (2 * trials)
    half = z * sqrt(max(0.0, share * (1 - share)) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    # Rounding must not push the share itself out of the interval.
    return max(0.0, min(share, (centre - half) / scale)), min(
        1.0, max(share, (centre + half) / scale)
    )


MAX_NESTING = 5
"""Groups nested deeper than this in a structure count as one sample, which is never too many."""


def dependences_of(
    tree: ReasoningTree,
    values: Mapping[NodePath, NodeValue],
    estimator: Estimator,
    ungraded: Ungraded = "incorrect",
) -> dict[NodePath, Dependence]:
    """Return how the samples of each value depend on each other.

    Only for values that are a share of samples; with the estimator `any`, the ends of solutions.
    """
    if estimator == "own_rollouts":
        shares = estimate_values(tree, "leaf_mean", ungraded)
        found = dependences_of(tree, shares, "leaf_mean", ungraded)
        for path, value in own_rollout_values(tree, ungraded).items():
            found[path] = Dependence((1 / value.leaves, ()), is_certain=False)
        return found
    if estimator == "through_rollouts":
        return {
            path: Dependence((one.squares / one.value.leaves**2, ()), tree.is_leaf(path))
            for path, one in through_rollouts(tree, ungraded).items()
            if one.value.value is not None
        }
    found = {}
    drawn_from: dict[NodePath, int] = {}
    """Depth of the deepest node from which a leaf below was drawn."""
    for node, children in tree.families():
        path = node.path
        known = [child for child in children if values[child.path].value is not None]
        if known:
            drawn_from[path] = max([drawn_from[child.path] for child in known])
            if estimator != "any":
                structure = _structure(node, known, values, estimator, found, drawn_from)
                found[path] = Dependence(structure, is_certain=False)
        elif not children and values[path].value is not None:
            drawn_from[path] = max(node.drawn) if node.drawn else len(path) - 1
            found[path] = Dependence((1 / node.count, ()), is_certain=True)
    return found


def _structure(
    node: TreeNode,
    known: Sequence[TreeNode],
    values: Mapping[NodePath, NodeValue],
    estimator: Estimator,
    found: Mapping[NodePath, Dependence],
    drawn_from: Mapping[NodePath, int],
) -> Structure:
    """Return the structure of a node's value, from those of its children with a value."""
    weights = [
        child.count if estimator == "child_mean" else values[child.path].leaves for child in known
    ]
    total, depth = sum(weights), len(node.path)
    independent, groups = 0.0, []
    for child, weight in zip(known, weights, strict=True):
        square = (weight / total) ** 2
        inner = found[child.path].structure
        if drawn_from[child.path] <= depth:
            independent += square / values[child.path].leaves
        elif inner == _ONE_SAMPLE:
            independent += square
        elif _nesting(inner) < MAX_NESTING:
            groups.append((round(square, 9), inner))
        else:
            groups.append((round(square, 9), _ONE_SAMPLE))
    return round(independent, 9), tuple(sorted(groups))


_ONE_SAMPLE: Structure = (1.0, ())


def _nesting(structure: Structure) -> int:
    return 1 + max((_nesting(inner) for _, inner in structure[1]), default=-1)


def _variance(structure: Structure, depth: int, correlation: Correlation) -> float:
    """Return the variance of a value at this depth, in units of that of a single sample."""
    independent, groups = structure
    shared = correlation(depth + 1) if groups else 0.0
    return independent + sum(
        square * (shared + (1 - shared) * _variance(inner, depth + 1, correlation))
        for square, inner in groups
    )
