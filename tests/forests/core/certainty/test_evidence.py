"""Effective samples of values, and their intervals."""

from random import Random

import pytest

from forests.core.certainty.evidence import (
    Evidence,
    evidence_of,
    value_interval,
    wilson_interval,
)
from forests.core.tree import ROOT, Grade, NodePath, ReasoningTree, TreeNode
from forests.core.values import Estimator, NodeValue, estimate_values


def leaf(path: NodePath, drawn_from: int, *, is_correct: bool, count: int = 1) -> TreeNode:
    grade = Grade.CORRECT if is_correct else Grade.INCORRECT
    return TreeNode(
        path, f"{path}", count=count, drawn={drawn_from: count}, terminal=True, grade=grade
    )


def two_by_two(drawn_from: int) -> ReasoningTree:
    """Return a tree with a step and two continuations of two leaves each, drawn at this depth."""
    tree = ReasoningTree()
    tree.add(TreeNode((0,), "step", drawn={0: 1}))
    for child in range(2):
        tree.add(TreeNode((0, child), f"{child}", count=2, drawn={drawn_from: 2}))
        for position in range(2):
            tree.add(leaf((0, child, position), drawn_from, is_correct=bool(child)))
    return tree


def samples(tree: ReasoningTree, path: NodePath, agreement: float) -> float:
    known = evidence_of(tree, estimate_values(tree), "leaf_mean", correlation=lambda _: agreement)
    return known[path].samples


def test_leaves_that_share_a_later_step_count_as_fewer_samples() -> None:
    tree = two_by_two(drawn_from=2)
    assert samples(tree, (0,), 0.0) == pytest.approx(4)
    assert samples(tree, (0,), 0.5) == pytest.approx(4 / 1.5)
    assert samples(tree, (0,), 1.0) == pytest.approx(2)
    assert samples(tree, (0, 0), 1.0) == pytest.approx(2)


def test_samples_of_the_step_itself_are_independent_even_where_they_share_a_text() -> None:
    assert samples(two_by_two(drawn_from=0), (0,), 1.0) == pytest.approx(4)


def test_merged_samples_count_each() -> None:
    tree = ReasoningTree()
    tree.add(TreeNode((0,), "step"))
    tree.add(leaf((0, 0), 1, is_correct=True, count=3))
    tree.add(leaf((0, 1), 1, is_correct=False))
    assert samples(tree, (0,), 1.0) == pytest.approx(4)


def test_a_lone_chain_is_one_sample_however_long() -> None:
    tree = ReasoningTree()
    for depth in range(1, 3_000):
        tree.add(TreeNode((0,) * depth, "step", drawn={depth - 1: 1}))
    tree.add(leaf((0,) * 3_000, 2_999, is_correct=True))
    known = evidence_of(tree, estimate_values(tree), "leaf_mean")
    assert known[(0,)].samples == pytest.approx(1)
    assert known[(0,) * 3_000].is_certain


def test_a_deep_tree_that_branches_everywhere_needs_no_deep_recursion() -> None:
    tree = ReasoningTree()
    for depth in range(1, 1_500):
        path = (0,) * depth
        tree.add(TreeNode(path, "step", drawn={depth - 1: 1}))
        tree.add(leaf((*path[:-1], 1), depth - 1, is_correct=bool(depth % 2)))
    tree.add(leaf((0,) * 1_500, 1_499, is_correct=True))
    known = evidence_of(tree, estimate_values(tree), "leaf_mean")
    assert 1 <= known[(0,)].samples <= 1_500


def test_own_rollouts_are_independent() -> None:
    tree = two_by_two(drawn_from=1)
    values = estimate_values(tree, "own_rollouts")
    known = evidence_of(tree, values, "own_rollouts", correlation=lambda _: 1.0)
    assert known[(0,)] == Evidence(2, 4)


@pytest.mark.parametrize("estimator", ["leaf_mean", "child_mean", "own_rollouts"])
def test_the_share_of_the_effective_samples_is_the_value(estimator: Estimator) -> None:
    random = Random(1)
    tree = ReasoningTree()
    for first in range(4):
        tree.add(TreeNode((first,), "s", count=random.randint(1, 3), drawn={0: 1}))
        for position in range(first + 1):
            is_correct = random.random() < 0.5
            tree.add(leaf((first, position), 1, is_correct=is_correct, count=random.randint(1, 3)))
    values = estimate_values(tree, estimator)
    for path, one in evidence_of(tree, values, estimator).items():
        assert one.correct / one.samples == pytest.approx(values[path].value)
        assert 0 < one.samples <= values[path].leaves + 1e-9


def test_a_hard_value_is_no_share_so_only_ends_have_evidence() -> None:
    tree = two_by_two(drawn_from=2)
    known = evidence_of(tree, estimate_values(tree, "any"), "any")
    assert set(known) == {(0, child, position) for child in range(2) for position in range(2)}


def test_values_without_a_result_have_no_evidence() -> None:
    tree = ReasoningTree()
    tree.add(TreeNode((0,), "open"))
    tree.add(TreeNode((1,), "end", terminal=True, grade=Grade.UNCOMPARED))
    assert evidence_of(tree, estimate_values(tree), "leaf_mean") == {}
    assert value_interval(NodeValue(None, 0)) is None


def test_the_interval_of_a_value_is_wide_for_few_samples() -> None:
    assert value_interval(NodeValue(1.0, 2)) == pytest.approx((0.3424, 1.0), abs=1e-4)
    assert value_interval(NodeValue(0.5, 64)) == wilson_interval(32, 64)


def test_the_end_of_a_solution_has_no_width() -> None:
    tree = two_by_two(drawn_from=2)
    known = evidence_of(tree, estimate_values(tree), "leaf_mean")
    assert known[(0, 1, 0)].interval == (1.0, 1.0)
    assert known[ROOT].interval[0] < 0.5 < known[ROOT].interval[1]
