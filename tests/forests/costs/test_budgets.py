"""What requests use and cost, and when limits stop them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forests.costs.budgets import Limits, Prices, Usage

numbers = st.integers(0, 10**6)
usages = st.builds(Usage, st.integers(1, 1), numbers, numbers)
prices = st.builds(Prices, st.floats(0, 1000), st.floats(0, 1000))
limits = st.builds(
    Limits,
    st.none() | st.integers(1, 50),
    st.none() | st.integers(1, 10**7),
    st.none() | st.floats(1e-6, 1e4),
)


@given(usages, usages)
def test_usages_add_and_subtract(one, other):
    assert (one + other) - other == one
    assert (one + other).tokens == one.tokens + other.tokens
    assert Usage.of(one.as_dict()) == one


@given(limits, prices, st.lists(usages, max_size=20))
def test_only_the_last_request_that_fits_may_exceed_a_limit(limit, price, wanted):
    number = limit.num_fitting(Usage(), wanted, price)

    sent = sum(wanted[:number], Usage())
    if number:
        assert not limit.reached(sent - wanted[number - 1], price)
    if number < len(wanted):
        assert limit.reached(sent, price)


@given(limits, usages, usages)
def test_without_prices_money_limits_nothing(limit, one, other):
    alone = Limits(cost=limit.cost)
    assert alone.num_fitting(one, [other], Prices()) == 1
    assert Prices().cost(one) is None
    assert Prices(1.0, None).cost(one) is None


@given(prices, st.lists(usages, min_size=1, max_size=20))
def test_money_adds_up(price, used):
    parts = [price.cost(usage) or 0.0 for usage in used]
    assert price.cost(sum(used, Usage())) == pytest.approx(sum(parts))


def test_prices_are_of_a_million_tokens():
    assert Prices(0.15, 0.6).cost(Usage(1, 1_000_000, 2_000_000)) == pytest.approx(1.35)


@given(usages, st.integers(1, 100), usages)
def test_what_is_expected_of_further_requests_is_their_average_and_at_most_what_they_may(
    used, number, most
):
    assert Usage().expected(number, most) == Usage(requests=number)
    found = used.expected(number, most)
    assert found.requests == number
    assert found.prompt_tokens == min(most.prompt_tokens, number * used.prompt_tokens)
    assert found.completion_tokens == min(most.completion_tokens, number * used.completion_tokens)
