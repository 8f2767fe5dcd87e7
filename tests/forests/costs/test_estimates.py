"""Intervals for what further trees will use."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forests.costs.budgets import Prices, Usage
from forests.costs.estimates import TreeCost, estimate_growth, t_quantile, total_of

samples = st.lists(st.floats(0, 1e6), min_size=2, max_size=30)


@pytest.mark.parametrize(
    ("degrees", "known"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (30, 2.042), (1000, 1.962)],
)
def test_quantiles_are_those_of_the_tables(degrees: int, known: float):
    assert t_quantile(degrees) == pytest.approx(known, abs=0.001)


@given(samples, st.integers(1, 10**6))
def test_an_interval_holds_the_value_and_is_never_negative(sample, number):
    found = total_of(sample, number)
    assert 0 <= found.low <= found.value * (1 + 1e-9)
    assert found.value <= found.high * (1 + 1e-9)
    assert found.value == pytest.approx(number * sum(sample) / len(sample))


@given(st.floats(0, 1e6), st.integers(2, 20), st.integers(1, 1000))
def test_trees_that_are_all_alike_leave_no_doubt(value, size, number):
    found = total_of([value] * size, number)
    assert (found.low, found.high) == pytest.approx((number * value, number * value))


def test_the_interval_holds_the_true_total_as_often_as_it_says():
    chance = random.Random(1)
    num_held, rounds = 0, 2000
    for _ in range(rounds):
        found = total_of([chance.gauss(100, 20) for _ in range(5)], 50)
        num_held += found.low <= sum(chance.gauss(100, 20) for _ in range(50)) <= found.high
    assert num_held / rounds == pytest.approx(0.95, abs=0.015)


def test_money_is_that_of_the_tokens_and_unknown_without_prices():
    trees = [TreeCost(Usage(n, 100 * n, 10 * n), float(n)) for n in (4, 5, 6)]

    found = estimate_growth(trees, 1000, Prices(1.0, 10.0), 8)
    assert found.cost is not None
    assert found.cost.value == pytest.approx(
        (found.prompt_tokens.value * 1.0 + found.completion_tokens.value * 10.0) / 1e6
    )
    assert found.requests.value == pytest.approx(5000)
    assert found.seconds.value == pytest.approx(5000 / 8)
    assert estimate_growth(trees, 1000, Prices(1.0, None), 8).cost is None
