from collections import Counter
from fractions import Fraction
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forests.core.tree import Grade
from forests.core.values import UNGRADED
from forests.core.voting import majority_value
from metrics.core.statistics.baselines import majority_at_k, pass_at_k, samples_of
from tests.metrics.trees import leaf, tree_of, trees

RIGHT, WRONG, SILENT = Grade.CORRECT, Grade.INCORRECT, Grade.UNANSWERED
UNCOMPARED = Grade.UNCOMPARED

ANSWERS = st.lists(st.sampled_from("abcd-"), min_size=1, max_size=8)
"""What each sample answers: "a" is right, "-" is no answer."""


def samples(answers):
    leaves = [
        leaf((n,), SILENT) if answer == "-"
        else leaf((n,), RIGHT if answer == "a" else WRONG, answer=f"answer {answer}")
        for n, answer in enumerate(answers)
    ]  # fmt: skip
    return samples_of(tree_of(*leaves), "incorrect")


def subsets(answers, k):
    return list(combinations(answers, k))


def majority_is_right(answers):
    """Return the chance that the most frequent answer is "a", ties broken at random."""
    votes = Counter(answer for answer in answers if answer != "-")
    most = max(votes.values(), default=0)
    first = [answer for answer, number in votes.items() if number == most]
    return ("a" in first) / len(first) if first else 0


@given(ANSWERS, st.integers(1, 8))
def test_pass_at_k_is_the_mean_over_all_choices_of_k_samples(answers, k):
    choices = subsets(answers, k)
    expected = sum("a" in chosen for chosen in choices) / len(choices) if choices else None
    assert pass_at_k(samples(answers), k) == (
        None if expected is None else pytest.approx(expected, abs=1e-12)
    )


@given(ANSWERS, st.integers(1, 8))
def test_majority_at_k_is_the_mean_over_all_choices_of_k_samples(answers, k):
    choices = subsets(answers, k)
    expected = sum(map(majority_is_right, choices)) / len(choices) if choices else None
    assert majority_at_k(samples(answers), k) == (
        None if expected is None else pytest.approx(expected, abs=1e-12)
    )


@given(ANSWERS)
def test_more_samples_never_lower_pass_at_k(answers):
    found = [pass_at_k(samples(answers), k) or 0.0 for k in range(1, len(answers) + 1)]
    assert found == sorted(found)


@given(trees())
def test_samples_are_counted_and_not_leaves(tree):
    found = samples_of(tree, "incorrect")
    assert found.total == sum(
        node.count
        for node in tree.leaves()
        if node.truncated or (node.terminal and node.grade is not Grade.UNCOMPARED)
    )
    assert found.correct <= found.total
    assert sum(group.size for group in found.groups) <= found.total


def test_leaves_without_a_result_are_no_samples():
    tree = tree_of(leaf((0,), RIGHT), leaf((1,), SILENT), leaf((2,), WRONG, truncated=True))
    assert pass_at_k(samples_of(tree, "incorrect"), 1) == pytest.approx(1 / 3)
    assert pass_at_k(samples_of(tree, "exclude"), 1) == 1.0


def test_leaves_that_could_not_be_compared_are_no_samples_whatever_else_is_counted():
    tree = tree_of(
        leaf((0,), RIGHT), leaf((1,), WRONG), leaf((2,), UNCOMPARED, count=5, answer="7")
    )
    for ungraded in UNGRADED:
        found = samples_of(tree, ungraded)
        assert (found.total, found.correct, len(found.groups)) == (2, 1, 2)
        assert pass_at_k(found, 1) == majority_at_k(found, 1) == 0.5
        assert pass_at_k(found, 3) is None


def test_an_answer_graded_in_two_ways_counts_by_its_share():
    tree = tree_of(leaf((0,), RIGHT, answer="5"), leaf((1,), WRONG, answer="5"))
    assert majority_at_k(samples_of(tree, "incorrect"), 2) == 0.5


def test_many_samples_take_little_time_and_no_float_overflows():
    answers = [chr(97 + n % 26) if n % 3 else "a" for n in range(1500)]
    assert majority_at_k(samples(answers), 64) == pytest.approx(1.0, abs=1e-5)
    assert float(pass_at_k(samples(answers), 700) or 0) == 1.0
    assert majority_at_k(samples([*answers, *"ab" * 2000]), 5500) == 1


def test_a_vote_of_all_samples_is_the_largest_group_and_ties_share():
    assert majority_at_k(samples("aabbc"), 5) == Fraction(1, 2)


@given(trees())
def test_a_forest_stores_the_majority_vote_of_all_samples(tree):
    found = samples_of(tree, "incorrect")
    expected = majority_at_k(found, found.total) if found.total else None
    assert majority_value(tree) == (None if expected is None else pytest.approx(float(expected)))
