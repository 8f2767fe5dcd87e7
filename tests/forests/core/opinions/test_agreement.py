"""Agreement of people on steps, against published examples."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forests.core.opinions.agreement import cohen_kappa, fleiss_kappa, kappa_of_pairs

# Fleiss (1971), as in the literature's usual example: ten subjects, fourteen raters, five
# categories, kappa 0.210.
FLEISS = [
    (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1),
    (7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
]  # fmt: skip

LABELS = st.lists(st.lists(st.sampled_from(["right", "neutral", "wrong"]), max_size=5), max_size=12)


def test_fleiss_kappa_of_the_published_example():
    labels = [
        [category for category, count in enumerate(counts) for _ in range(count)]
        for counts in FLEISS
    ]

    found = fleiss_kappa(labels)

    assert found.value == pytest.approx(0.210, abs=0.0005)
    assert found.equal == pytest.approx(0.378, abs=0.0005)
    assert found.steps == 10


def test_cohen_kappa_of_the_usual_example():
    """Both say yes 20 times and no 15 times; they differ 5 times one way and 10 the other."""
    pairs = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15

    found = cohen_kappa(pairs)

    assert (found.steps, found.equal) == (50, 0.7)
    assert found.value == pytest.approx(0.4)


def test_there_is_no_agreement_without_steps_that_two_people_labelled():
    assert cohen_kappa([]) == (None, 0, None)
    assert fleiss_kappa([["right"], [], ["wrong"]]) == (None, 0, None)


def test_if_everybody_always_says_the_same_nothing_is_beyond_chance():
    assert cohen_kappa([("right", "right")] * 9) == (None, 9, 1)
    assert fleiss_kappa([["right", "right"]] * 9) == (None, 9, 1)


@given(LABELS)
def test_agreement_is_full_where_all_labels_of_a_step_are_equal_and_only_there(
    labels: list[list[str]],
):
    compared = [one for one in labels if len(one) > 1]
    found = fleiss_kappa(labels)

    assert found.steps == len(compared)
    if found.value is not None:
        assert found.value <= 1 + 1e-9
        assert (found.value > 1 - 1e-9) == all(len(Counter(one)) == 1 for one in compared)


@given(LABELS)
def test_agreement_does_not_depend_on_the_order_of_people_and_steps(labels: list[list[str]]):
    found = fleiss_kappa(labels)
    turned = fleiss_kappa([list(reversed(one)) for one in reversed(labels)])

    assert turned.value == pytest.approx(found.value)
    assert turned.equal == pytest.approx(found.equal)
    assert turned.steps == found.steps


@given(st.lists(st.tuples(*[st.sampled_from(["right", "wrong"])] * 2), min_size=1))
def test_two_people_have_the_same_agreement_in_either_order(pairs: list[tuple[str, str]]):
    swapped = cohen_kappa([(other, one) for one, other in pairs])

    assert swapped.value == pytest.approx(cohen_kappa(pairs).value)


def test_each_two_people_are_compared_on_the_steps_that_both_labelled():
    by_person = {
        "ann": {1: "right", 2: "wrong", 3: "right"},
        "bob": {2: "wrong", 3: "wrong"},
        "cid": {9: "right"},
    }

    assert kappa_of_pairs(by_person) == {
        ("ann", "bob"): cohen_kappa([("wrong", "wrong"), ("right", "wrong")])
    }
