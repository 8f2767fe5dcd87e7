"""Which trees a filter uses."""

import pytest

from forests.core.tree import Grade, ReasoningTree, TreeNode
from metrics.core.tree_filters import NOT_WRONG, OUTSIDE_RANGE, TREES_LEFT_OUT, TreeFilter


def tree_of(*answers: tuple[str, int, Grade]) -> ReasoningTree:
    """Return a tree with a leaf for each (answer, samples, grade)."""
    tree = ReasoningTree()
    for position, (answer, count, grade) in enumerate(answers):
        tree.add(
            TreeNode(
                (position,), f"so {answer}", count=count, terminal=True, answer=answer,
                voted_answer=answer, grade=grade,
            )
        )  # fmt: skip
    return tree


def solved(correct: int, samples: int) -> ReasoningTree:
    counts = ((correct, "5", Grade.CORRECT), (samples - correct, "6", Grade.INCORRECT))
    return tree_of(*((answer, count, grade) for count, answer, grade in counts if count))


@pytest.mark.parametrize(
    ("correct", "is_used"),
    [(0, False), (1, False), (2, True), (5, True), (8, True), (9, False), (10, False)],
)
def test_a_pass_rate_includes_its_borders_and_counts_samples(correct, is_used):
    reason = TreeFilter(pass_rate=(0.2, 0.8)).reason_against(solved(correct, 10))
    assert reason == (None if is_used else OUTSIDE_RANGE)


def test_borders_that_binary_numbers_do_not_hold_are_included():
    assert TreeFilter(pass_rate=(0.3, 0.3)).reason_against(solved(3, 10)) is None
    assert TreeFilter(pass_rate=(0.1, 0.7)).reason_against(solved(7, 10)) is None


def test_a_tree_without_a_sample_that_ended_has_no_pass_rate():
    assert TreeFilter(pass_rate=(0, 1)).reason_against(ReasoningTree()) == OUTSIDE_RANGE


@pytest.mark.parametrize(
    ("answers", "is_used"),
    [
        ([("5", 1, Grade.CORRECT), ("6", 2, Grade.INCORRECT)], True),
        ([("5", 2, Grade.CORRECT), ("6", 2, Grade.INCORRECT)], False),  # a tie
        ([("5", 2, Grade.CORRECT), ("6", 1, Grade.INCORRECT)], False),
        ([("6", 2, Grade.INCORRECT)], False),  # nothing is right
        ([], False),
    ],
)
def test_the_majority_is_wrong_only_where_something_else_is_right(answers, is_used):
    reason = TreeFilter(only_majority_wrong=True).reason_against(tree_of(*answers))
    assert reason == (None if is_used else NOT_WRONG)


def test_without_options_all_trees_are_used_and_nothing_is_recorded():
    assert TreeFilter().reason_against(ReasoningTree()) is None
    assert TreeFilter().as_dict() == {}
    assert not TreeFilter().is_active
    assert TREES_LEFT_OUT.keys() == {OUTSIDE_RANGE, NOT_WRONG}
