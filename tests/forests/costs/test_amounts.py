"""Amounts of money as they are written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forests.costs.amounts import format_money, rounded_up


@pytest.mark.parametrize(
    ("amount", "written"),
    [(None, "price not known"), (0.0, "$0.00"), (1234.5, "$1,234.50"), (0.0123, "$0.0123"),
     (0.000012, "$0.000012"), (0.5, "$0.50"), (0.99999, "$1.00")],
)  # fmt: skip
def test_amounts_keep_digits_that_tell_something(amount: float | None, written: str):
    assert format_money(amount, "$") == written


@given(st.floats(1e-9, 1e9))
def test_a_small_amount_is_never_written_as_nothing(amount: float):
    assert float(format_money(amount, "").replace(",", "")) > 0


@given(st.floats(1e-9, 1e8))
def test_rounding_up_gives_a_number_that_is_not_smaller_and_close(amount: float):
    assert amount * (1 - 1e-9) <= float(rounded_up(amount)) <= amount * 1.1 + 1e-15
