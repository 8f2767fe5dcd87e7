"""How much the steps after one prefix really differ, and how sure an order of two of them is.

With a few leaves below each step, the best of several equally good steps looks much better than the
worst. So a comparison of two values alone is overconfident. `SiblingPrior` first learns from all
groups of siblings of a forest how much siblings differ: an empirical Bayes model of a
beta-binomial mixture. The true values of the steps after one prefix are draws from a beta
distribution Beta(m s, (1 - m) s) around the mean m of the group; s is infinite if all steps are
equally good. Each depth has its own distribution of (m, s), which the expectation-maximisation
algorithm finds, starting from the distribution of all depths. The samples of all siblings in a
group then show which (m, s) are likely for this group.

The probabilities hold whichever two siblings are compared, so also for the best and the worst.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt

from forests.core.certainty.evidence import (
    USUAL_CORRELATION,
    Correlation,
    Dependence,
    Evidence,
    dependences_of,
)
from forests.core.tree import NodePath, ReasoningTree
from forests.core.values import Estimator, NodeValue, Ungraded

Array = npt.NDArray[np.float64]

MAX_GROUPS = 4_000
"""Most groups of siblings that the prior of one depth is estimated from."""

MAX_DEPTH = 24
"""Deeper siblings count as siblings of this depth."""

FIRST_WEIGHT, DEPTH_WEIGHT = 10.0, 20.0
"""Weight, in groups, of the first guess in the fit of all depths, and of all depths in the fit of
one depth."""

_POINTS = 97
_VALUES = np.sin(np.linspace(0, np.pi / 2, _POINTS)) ** 2
"""The grid of true values: denser near 0 and 1."""
_MEANS = range(0, _POINTS, 3)
_CONCENTRATIONS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
_EQUAL_SHARE = 0.5
"""First guess of the share of prefixes after which all steps are equally good."""
_ROUNDS = 60
_LEAST_WEIGHT = 1e-4
_LEAST_DOUBT = 1e-3
"""Weight of the first guess beside what a forest says: without it, a distribution that the forest
excludes could never be likely, whatever the samples of a prefix say."""


class _Components:
    """All distributions of siblings' true values that the model knows, one per row."""

    def __init__(self) -> None:
        rows, means, shares, equal = [], [], [], []
        for position in _MEANS:
            mean = _VALUES[position]
            point = np.zeros(_POINTS)
            point[position] = 1.0
            is_end = position in (0, _POINTS - 1)
            rows.append(point)
            means.append(mean)
            shares.append(0.0)
            equal.append(True)
            for concentration in () if is_end else _CONCENTRATIONS:
                rows.append(_beta(mean * concentration, (1 - mean) * concentration))
                means.append(mean)
                shares.append(1 / (concentration + 1))
                equal.append(False)
        self.masses: Array = np.array(rows)
        self.means: Array = np.array(means)
        self.correlations: Array = np.array(shares)
        """Agreement of two leaves below the same sibling, among all leaves below their parent."""
        self.are_equal = np.array(equal)
        first = np.where(self.are_equal, _EQUAL_SHARE / self.are_equal.sum(), 0.0)
        first[~self.are_equal] = (1 - _EQUAL_SHARE) / (~self.are_equal).sum()
        self.first_guess: Array = first


def _beta(a: float, b: float) -> Array:
    """Return the masses of a beta distribution at the inner points."""
    masses = np.zeros(_POINTS)
    inner = _VALUES[1:-1]
    # The points are equally dense in arcsin(sqrt(v)), which adds half a power to each factor.
    logs = (a - 0.5) * np.log(inner) + (b - 0.5) * np.log1p(-inner)
    masses[1:-1] = np.exp(logs - logs.max())
    found: Array = masses / masses.sum()
    return found


_ALL = _Components()


class SiblingPrior:
    """What a forest says about the steps after one prefix, before their own samples are seen."""

    def __init__(
        self,
        weights: Mapping[int, Array] | None = None,
        pooled: Array | None = None,
        num_groups: int = 0,
    ) -> None:
        self._weights = dict(weights or {})
        self._pooled = _ALL.first_guess if pooled is None else pooled
        self.num_groups = num_groups
        """Number of sibling groups that it was estimated from."""

    def correlation(self, depth: int) -> float:
        """Return how much leaves below one step of this depth agree: 0 not at all, 1 fully."""
        if not self.num_groups:
            return USUAL_CORRELATION
        return _correlation(self._weights_of(depth))

    def equal_share(self, depth: int) -> float:
        """Return the estimated share of prefixes after which all steps are equally good.

        `depth`: that of these steps.
        """
        return float(self._weights_of(depth)[_ALL.are_equal].sum())

    def chance_better(
        self,
        one: Evidence,
        other: Evidence,
        depth: int,
        siblings: Sequence[Evidence] = (),
    ) -> float:
        """Return the probability that the true value of one step is above that of its sibling.

        For many pairs of one prefix, `pairs_of` is faster.

        Equal true values do not count as better, so both orders may have a chance below 0.5.

        Args:
            one: a step.
            other: a step after the same prefix.
            depth: the depth of both.
            siblings: all steps after the prefix with evidence, these two included.
        """
        return _chance_better(one, other, self._group_weights(siblings or (one, other), depth))

    def pairs_of(
        self, depth: int, siblings: Sequence[Evidence]
    ) -> Callable[[Evidence, Evidence], float]:
        """Return `chance_better` for the steps after one prefix, given all of them."""
        group = self._group_weights(siblings, depth)
        return lambda one, other: _chance_better(one, other, group)

    def chance_above(
        self,
        one: Evidence,
        threshold: float,
        depth: int,
        siblings: Sequence[Evidence] = (),
    ) -> float:
        """Return the probability that the true value of a step is above a threshold from 0 to 1.

        Args:
            one: a step.
            threshold: the value to compare with; a true value equal to it is not above it.
            depth: the depth of the step.
            siblings: all steps after the prefix with evidence, this one included.
        """
        if one.is_certain:
            return float(one.correct > threshold * one.samples)
        group = self._group_weights(siblings or (one,), depth)
        above = _posteriors(one)[:, threshold + 1e-12 < _VALUES].sum(axis=1)
        return float(min(1.0, max(0.0, group @ above)))

    def as_dict(self, deepest: int = MAX_DEPTH) -> dict[str, Any]:
        """Return the prior as JSON types, so that the same prior can be used again.

        `deepest`: depth up to which each depth keeps its own distribution; deeper siblings then
        have that of all depths. A depth takes about six kilobytes as JSON.
        """
        return {
            "num_groups": self.num_groups,
            "pooled": _sparse(self._pooled),
            "depths": {
                str(depth): _sparse(found)
                for depth, found in self._weights.items()
                if depth <= deepest
            },
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> "SiblingPrior":
        """Return the prior that `as_dict` wrote."""
        weights = {int(depth): _dense(found) for depth, found in document["depths"].items()}
        return cls(weights, _dense(document["pooled"]), document["num_groups"])

    def _weights_of(self, depth: int) -> Array:
        return self._weights.get(min(depth, MAX_DEPTH), self._pooled)

    def _group_weights(self, siblings: Iterable[Evidence], depth: int) -> Array:
        """Return how likely each distribution is for a group, given the samples of all siblings."""
        weights = self._weights_of(depth)
        # Even if hardly any steps of a forest differ, some still may.
        weights = (1 - _LEAST_DOUBT) * weights + _LEAST_DOUBT * _ALL.first_guess
        with np.errstate(divide="ignore"):
            logs: Array = np.log(weights)
            for one in siblings:
                logs = logs + np.log(_likelihoods(one))
        likely: Array = np.exp(logs - logs.max())
        found: Array = likely / likely.sum()
        return found


def _chance_better(one: Evidence, other: Evidence, group: Array) -> float:
    """Return the chance that a step is better than its sibling, from `_group_weights`."""
    if one.is_certain and other.is_certain:
        return float(one.correct * other.samples > other.correct * one.samples)
    mine, others = _posteriors(one), _posteriors(other)
    below = np.cumsum(others, axis=1) - others
    # True values at the same grid point are close but not equal: each may be the better one.
    half = np.where(_ALL.are_equal, 0.0, 0.5)[:, None] * others
    half[:, [0, -1]] = 0.0
    chances = (mine * (below + half)).sum(axis=1)
    return float(min(1.0, max(0.0, group @ chances)))


class PriorEstimator:
    """Estimates the prior of a forest from its trees, one by one, in bounded memory.

    If a depth has more than `MAX_GROUPS` groups, it uses a random sample of them (reservoir
    sampling, Vitter 1985): in a sorted dataset the first ones would mislead. The same trees in the
    same order give the same sample.
    """

    def __init__(self, estimator: Estimator, ungraded: Ungraded = "incorrect") -> None:
        self.estimator = estimator
        self.ungraded = ungraded
        self._groups: dict[int, list[_Group]] = defaultdict(list)
        self._totals: Counter[int] = Counter()
        self._random = Random(0)

    def add(self, tree: ReasoningTree, values: Mapping[NodePath, NodeValue]) -> None:
        """Add the sibling groups of a tree; `values` are those of this estimator."""
        known = dependences_of(tree, values, self.estimator, self.ungraded)
        for node in tree:
            depth = min(node.depth + 1, MAX_DEPTH)
            group = sorted(
                (values[child.path].value or 0.0, known[child.path])
                for child in tree.children(node.path)
                if child.path in known
            )
            # A single step says nothing about differences, nor do steps that are all certain.
            if len(group) > 1 and not all(one.is_certain for _, one in group):
                self._keep(depth, tuple(group))

    def _keep(self, depth: int, group: "_Group") -> None:
        """Keep a group, in place of another one if there are too many."""
        self._totals[depth] += 1
        kept = self._groups[depth]
        if len(kept) < MAX_GROUPS:
            kept.append(group)
        elif (place := self._random.randrange(self._totals[depth])) < MAX_GROUPS:
            kept[place] = group

    def prior(self) -> SiblingPrior:
        """Return the prior of the trees added so far; a cautious one if there are none."""
        if not self._groups:
            return SiblingPrior()
        agreements: dict[int, float] = {}

        def correlation(depth: int) -> float:
            return agreements.get(min(depth, MAX_DEPTH), USUAL_CORRELATION)

        found = {}
        for depth in sorted(self._groups, reverse=True):  # a depth needs the agreement below it
            found[depth] = _Groups.of(Counter(self._groups[depth]), depth, correlation)
            fitted = found[depth].fit(_ALL.first_guess, FIRST_WEIGHT)
            agreements[depth] = _correlation(fitted)
        pooled = _Groups.joined(list(found.values())).fit(_ALL.first_guess, FIRST_WEIGHT)
        weights = {
            depth: _rounded(groups.fit(pooled, DEPTH_WEIGHT)) for depth, groups in found.items()
        }
        return SiblingPrior(weights, _rounded(pooled), self._totals.total())


_Group = tuple[tuple[float, Dependence], ...]


class _Groups:
    """The likelihoods of different sibling groups, and how often each group was found."""

    def __init__(self, logs: Array, numbers: Array) -> None:
        self.logs, self.numbers = logs, numbers
        self.likelihoods = np.exp(logs - logs.max(axis=1, keepdims=True))

    @classmethod
    def of(cls, groups: Mapping[_Group, int], depth: int, correlation: Correlation) -> "_Groups":
        known: dict[Evidence, Array] = {}
        logs = []
        for group in groups:
            total = np.zeros(len(_ALL.means))
            for value, dependence in group:
                evidence = dependence.evidence(value, depth, correlation)
                if evidence not in known:
                    with np.errstate(divide="ignore"):
                        known[evidence] = np.log(_likelihoods(evidence))
                total = total + known[evidence]
            logs.append(total)
        return cls(np.array(logs), np.array(list(groups.values()), dtype=np.float64))

    @classmethod
    def joined(cls, parts: Sequence["_Groups"]) -> "_Groups":
        return cls(
            np.concatenate([part.logs for part in parts]),
            np.concatenate([part.numbers for part in parts]),
        )

    def fit(self, guess: Array, strength: float) -> Array:
        """Return the weights of the components; the guess counts as `strength` more groups."""
        weights = guess
        for _ in range(_ROUNDS):
            scaled = self.numbers / (self.likelihoods @ weights)
            taken = weights * (scaled @ self.likelihoods)
            weights = (taken + strength * guess) / (self.numbers.sum() + strength)
        return weights


def _correlation(weights: Array) -> float:
    """Return the agreement of two leaves below the same step, on average over the prefixes."""
    spread = weights * _ALL.means * (1 - _ALL.means)
    return float(spread @ _ALL.correlations / spread.sum()) if spread.sum() > 0 else 0.0


def _powers(one: Evidence) -> Array:
    """Return the likelihood of the samples of a step at each true value, scaled."""
    wrong = one.samples - one.correct
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.zeros(_POINTS)
        if one.correct > 0:
            logs = logs + one.correct * np.log(_VALUES)
        if wrong > 0:
            logs = logs + wrong * np.log1p(-_VALUES)
    powers: Array = np.exp(logs - logs.max())
    return powers


@lru_cache(maxsize=4096)
def _likelihoods(one: Evidence) -> Array:
    """Return the likelihood of a step's samples under each component, scaled.

    A certain end is one draw from its prefix: correct with the probability of the mean.
    """
    if one.is_certain:
        return _ALL.means if one.correct else 1 - _ALL.means
    found: Array = _ALL.masses @ _powers(one)
    return found


@lru_cache(maxsize=64)  # a quarter of a megabyte each
def _posteriors(one: Evidence) -> Array:
    """Return the distribution of a step's true value under each component.

    A row is zero if its component excludes the samples.
    """
    if one.is_certain:
        masses = np.zeros_like(_ALL.masses)
        masses[:, -1 if one.correct else 0] = 1.0
        return masses
    masses = _ALL.masses * _powers(one)
    totals = masses.sum(axis=1, keepdims=True)
    found: Array = np.divide(masses, totals, out=np.zeros_like(masses), where=totals > 0)
    return found


def _rounded(weights: Array) -> Array:
    """Return weights that `_sparse` and `_dense` keep exactly."""
    return _dense(_sparse(weights))


def _sparse(weights: Array) -> dict[str, float]:
    return {
        str(position): round(float(weight), 7)
        for position, weight in enumerate(weights)
        if weight >= _LEAST_WEIGHT
    }


def _dense(weights: Mapping[str, float]) -> Array:
    found = np.zeros(len(_ALL.means))
    for position, weight in weights.items():
        found[int(position)] = weight
    return found
