import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollouts.client.latencies import BOUNDS_MS, bucket_of, cumulated


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(0.0, "100"), (0.1, "100"), (0.1001, "250"), (300.0, "300000"), (300.1, "more")],
)
def test_a_latency_is_in_the_first_bucket_that_holds_it(seconds: float, bucket: str):
    assert bucket_of(seconds) == bucket


@given(st.lists(st.floats(0, 1000)))
def test_counts_of_buckets_become_those_of_a_histogram(latencies: list[float]):
    counts: dict[str, int] = {}
    for one in latencies:
        counts[bucket_of(one)] = counts.get(bucket_of(one), 0) + 1

    found = cumulated(counts)

    expected = [sum(one * 1000 <= bound for one in latencies) for bound in BOUNDS_MS]
    assert [number for _, number in found] == [*expected, len(latencies)]
    assert found[0][0] == "0.1"
    assert found[-1][0] == "+Inf"
