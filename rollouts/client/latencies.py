"""Latencies of requests, counted in buckets so that the counts of many processes can be added."""

from bisect import bisect_left

BOUNDS_MS = (100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 120_000, 300_000)
"""Inclusive upper bounds of the buckets, in milliseconds."""

SLOWEST = "more"


def bucket_of(seconds: float) -> str:
    """Return the name of a latency's bucket: its upper bound in milliseconds, or `SLOWEST`."""
    place = bisect_left(BOUNDS_MS, seconds * 1000)
    return str(BOUNDS_MS[place]) if place < len(BOUNDS_MS) else SLOWEST


def cumulated(counts: dict[str, int]) -> list[tuple[str, int]]:
    """Return cumulative counts: each bound in seconds, and how many requests took at most that.

    The last bound is `+Inf`, as in Prometheus.
    """
    total, found = 0, []
    for bound in BOUNDS_MS:
        total += counts.get(str(bound), 0)
        found.append((f"{bound / 1000:g}", total))
    return [*found, ("+Inf", total + counts.get(SLOWEST, 0))]
