"""How fast a forest grows, from the last minutes of work."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

WINDOW_MINUTES = 10
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class MinuteOfWork:
    """What all workers of a forest did in one minute."""

    minute: datetime
    trees: int
    nodes: int
    tokens: int
    requests: int


@dataclass(frozen=True, slots=True)
class Throughput:
    """Rates over the last minutes with work."""

    trees_per_minute: float
    nodes_per_second: float
    tokens_per_second: float
    requests_per_second: float
    last_minute: datetime
    """The latest minute with any work."""


def throughput(minutes: Iterable[MinuteOfWork], now: datetime) -> Throughput | None:
    """Return the rates since the first of these minutes; None if they have no work.

    Minutes older than `WINDOW_MINUTES` are left out.
    """
    earliest = now - WINDOW_MINUTES * _MINUTE
    worked = [one for one in minutes if one.minute >= earliest]
    if not worked:
        return None
    first = min(one.minute for one in worked)
    last = max(one.minute for one in worked)
    # The first minute may start idle, so a shorter span counts as one minute.
    seconds = max((now - first).total_seconds(), 60.0)
    return Throughput(
        trees_per_minute=60 * sum(one.trees for one in worked) / seconds,
        nodes_per_second=sum(one.nodes for one in worked) / seconds,
        tokens_per_second=sum(one.tokens for one in worked) / seconds,
        requests_per_second=sum(one.requests for one in worked) / seconds,
        last_minute=last,
    )


def time_left(num_pending: int, rates: Throughput | None) -> timedelta | None:
    """Return how long the pending trees take at this rate; None if unknown."""
    if rates is None or not rates.trees_per_minute:
        return None
    return timedelta(minutes=num_pending / rates.trees_per_minute)
