"""Which siblings a page compares."""

import pytest

from forests.pages.siblings.choosing import COMPARED_AT_FIRST, MAX_COMPARED, compared

SIBLINGS = [(4, number) for number in range(20)]


def test_without_a_choice_the_nearest_siblings_are_compared():
    assert compared((4, 9), SIBLINGS, []) == [(4, 9), (4, 7), (4, 8), (4, 10)]
    assert compared((4, 0), SIBLINGS, []) == [(4, 0), (4, 1), (4, 2), (4, 3)]
    assert compared((4, 19), SIBLINGS, []) == [(4, 19), (4, 16), (4, 17), (4, 18)]
    assert len(compared((4, 9), SIBLINGS, [])) == COMPARED_AT_FIRST


def test_the_step_comes_first_and_the_chosen_ones_in_order_and_once():
    assert compared((4, 9), SIBLINGS, [(4, 12), (4, 1), (4, 12), (4, 9)]) == [
        (4, 9), (4, 1), (4, 12),
    ]  # fmt: skip


def test_a_page_compares_few_steps_however_many_are_chosen():
    assert len(compared((4, 9), SIBLINGS, SIBLINGS)) == MAX_COMPARED


def test_an_only_child_is_alone():
    assert compared((4, 0), [(4, 0)], []) == [(4, 0)]


@pytest.mark.parametrize("other", [(4, 20), (5, 0), (4, 1, 0)])
def test_only_siblings_are_compared(other):
    with pytest.raises(ValueError, match=r"its siblings are 0\.4\.0 to 0\.4\.19"):
        compared((4, 9), SIBLINGS, [other])
