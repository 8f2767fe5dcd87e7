import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.core.statistics.intervals import TreeMean, wilson_interval


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [  # by the formula in Newcombe (1998), table I, and R's prop.test(correct=FALSE)
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_that_of_the_literature(successes, trials, low, high):
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 5000), st.floats(0, 1))
def test_the_interval_holds_the_share_and_stays_between_0_and_1(trials, share):
    low, high = wilson_interval(share * trials, trials)
    assert 0 <= low <= share * trials / trials <= high <= 1


def test_a_tree_without_a_result_leaves_the_denominator():
    mean = TreeMean()
    for result in (1.0, None, 0.0, None, None):
        mean.add(result)
    assert (mean.value, mean.trees, mean.no_result) == (0.5, 2, 3)


def test_no_result_at_all_has_neither_value_nor_interval():
    mean = TreeMean()
    mean.add(None)
    assert mean.value is None
    assert mean.interval is None
