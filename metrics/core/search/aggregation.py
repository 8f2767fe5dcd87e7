"""Aggregation of the values along a path into one number."""

from collections.abc import Callable, Sequence
from math import fsum, prod
from typing import TypeAlias

Aggregate: TypeAlias = Callable[[Sequence[float]], float]


def _mean(values: Sequence[float]) -> float:
    return fsum(values) / len(values)


def _last(values: Sequence[float]) -> float:
    return values[-1]


AGGREGATIONS: dict[str, Aggregate] = {
    "min": min,
    "product": prod,
    "mean": _mean,
    "last": _last,
    "max": max,
    "sum": fsum,
}
"""Aggregations by name. Each takes at least one value, from the first step to the last."""


def aggregate_path(values: Sequence[float | None], aggregate: Aggregate) -> float | None:
    """Return the overall value of a path; None if no node has a value. Skips nodes without one."""
    known = [value for value in values if value is not None]
    return aggregate(known) if known else None
