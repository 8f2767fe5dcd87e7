from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preferences.core.edit_distance import edit_distance, relative_edit_distance

TEXTS = st.text(alphabet="ab é足", max_size=12)


def by_table(one: str, other: str) -> int:
    """Return the distance by the textbook's table."""
    row = list(range(len(other) + 1))
    for number, mine in enumerate(one, start=1):
        above, row = row, [number]
        for position, theirs in enumerate(other):
            row.append(
                min(above[position + 1] + 1, row[-1] + 1, above[position] + (mine != theirs))
            )
    return row[-1]


@given(TEXTS, TEXTS)
def test_it_is_the_distance_of_the_textbook(one, other):
    assert edit_distance(one, other) == by_table(one, other) == edit_distance(other, one)


def test_texts_longer_than_a_machine_word_are_exact():
    one, other = "kitten sits " * 20, "sitting kits " * 19
    assert edit_distance(one, other) == by_table(one, other)


def test_a_share_is_of_the_longer_text():
    assert relative_edit_distance("abcd", "abcx") == 0.25
    assert relative_edit_distance("", "ab") == 1
    assert relative_edit_distance("", "") == 0


@pytest.mark.parametrize("length", [20_000])
def test_long_steps_take_bounded_time(length):
    began = monotonic()
    assert edit_distance("ab" * length, "ba" * length) == 2
    assert monotonic() - began < 20
