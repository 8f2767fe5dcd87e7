import argparse

import pytest

from common.commands import MAX_INTEGER, positive_integer


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("007", 7), ("1000000000", 10**9)])
def test_a_positive_integer_is_read(text: str, number: int):
    assert positive_integer(text) == number


@pytest.mark.parametrize("text", ["0", "00", "-1", "+1", "1.5", "", "many", "\u0660"])
def test_what_is_no_positive_integer_is_refused(text: str):
    with pytest.raises(argparse.ArgumentTypeError, match="is not a whole number of at least 1"):
        positive_integer(text)


@pytest.mark.parametrize("text", [str(MAX_INTEGER + 1), "9" * 20, "9" * 5000])
def test_a_number_too_large_for_what_counts_is_refused(text: str):
    with pytest.raises(argparse.ArgumentTypeError, match="too large: it can be at most 1000000000"):
        positive_integer(text)
