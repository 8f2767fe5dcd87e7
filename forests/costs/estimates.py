"""Estimate what further trees will use and cost, from a few grown trees, with intervals.

The grown trees count as a random sample of the dataset. The interval of a total is Student's 95 %
prediction interval. If the usage of one tree is about normally distributed, it contains the total
of the further trees in 95 of 100 such estimates. With few trees, or a few very large ones, it is
rough.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from forests.costs.budgets import Prices, Usage

FEWEST_TREES = 3
"""Fewest trees for a useful interval."""
_LEVEL = 0.95
_BISECTIONS = 100
_MAX_QUANTILE = 1000.0


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class TreeCost:
    """The usage of growing one tree."""

    usage: Usage
    seconds: float
    """Sum of the durations of its requests."""


@dataclass(frozen=True, slots=True)
class GrowthEstimate:
    """The usage of further trees."""

    num_items: int
    num_trees: int
    """Trees that the estimate is made from."""
    concurrency: int
    """Requests in flight that `seconds` assumes."""
    requests: Interval
    prompt_tokens: Interval
    completion_tokens: Interval
    seconds: Interval
    cost: Interval | None
    """None: the prices are not known."""


def estimate_growth(
    trees: Sequence[TreeCost], num_items: int, prices: Prices, concurrency: int
) -> GrowthEstimate:
    """Return the usage of `num_items` further trees, from at least two grown ones."""
    usages = [tree.usage for tree in trees]
    costs = [cost for usage in usages if (cost := prices.cost(usage)) is not None]
    return GrowthEstimate(
        num_items=num_items,
        num_trees=len(trees),
        concurrency=concurrency,
        requests=total_of([one.requests for one in usages], num_items),
        prompt_tokens=total_of([one.prompt_tokens for one in usages], num_items),
        completion_tokens=total_of([one.completion_tokens for one in usages], num_items),
        seconds=total_of([tree.seconds / concurrency for tree in trees], num_items),
        cost=total_of(costs, num_items) if len(costs) == len(trees) else None,
    )


def total_of(sample: Sequence[float], number: int) -> Interval:
    """Return the total of `number` further values, from a sample of at least two."""
    mean, size = fmean(sample), len(sample)
    spread = stdev(sample) * math.sqrt(number + number * number / size)
    margin = t_quantile(size - 1) * spread
    return Interval(number * mean, max(0.0, number * mean - margin), number * mean + margin)


def t_quantile(degrees: int) -> float:
    """Return the number that |t| stays below with probability 95 %, for Student's t."""
    low, high = 0.0, _MAX_QUANTILE
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if _share_within(middle, degrees) < _LEVEL:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _share_within(t: float, degrees: int) -> float:
    """Return the probability of |T| < t (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    is_odd = degrees % 2 == 1
    term = cosine if is_odd else 1.0
    terms = 0.0
    for n in range(2 if is_odd else 1, degrees, 2):
        terms += term
        term *= cosine * cosine * n / (n + 1)
    return 2 / math.pi * (angle + sine * terms) if is_odd else sine * terms
