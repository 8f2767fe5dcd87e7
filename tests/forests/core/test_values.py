from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forests.core.certainty.evidence import evidence_of
from forests.core.counting import count_tree
from forests.core.estimators import (
    STRATEGY_ESTIMATORS,
    EstimatorError,
    caution,
    caution_of_samples,
    choose_estimator,
    own_estimator,
)
from forests.core.tree import ROOT, Grade, ReasoningTree, TreeNode
from forests.core.values import (
    ESTIMATORS,
    UNGRADED,
    NodeValue,
    estimate_values,
    leaf_result,
    root_value,
    scored_values,
)
from tests.metrics.trees import leaf, permuted, tree_of, trees

RIGHT, WRONG, SILENT = Grade.CORRECT, Grade.INCORRECT, Grade.UNANSWERED
UNCOMPARED = Grade.UNCOMPARED
OPEN = TreeNode((2,), text="Open.")


def test_leaf_mean_weighs_samples():
    tree = tree_of(leaf((0, 0), RIGHT, count=3), leaf((0, 1), WRONG), leaf((1,), WRONG))
    assert estimate_values(tree) == {
        (): NodeValue(3 / 5, 5),
        (0,): NodeValue(3 / 4, 4),
        (0, 0): NodeValue(1.0, 3),
        (0, 1): NodeValue(0.0, 1),
        (1,): NodeValue(0.0, 1),
    }


def test_child_mean_weighs_children_by_their_samples():
    tree = tree_of(
        TreeNode((0,), text="A step.\n", count=2),
        leaf((0, 0), RIGHT),
        leaf((0, 1), RIGHT),
        leaf((0, 2), WRONG),
        leaf((0, 3), WRONG),
        leaf((1,), WRONG),
    )
    values = estimate_values(tree, "child_mean")
    assert values[(0,)] == NodeValue(0.5, 4)
    assert values[ROOT].value == pytest.approx((2 * 0.5 + 1 * 0) / 3)


def test_any_asks_for_one_correct_leaf():
    tree = tree_of(leaf((0, 0), RIGHT), leaf((0, 1), WRONG), leaf((1,), WRONG))
    values = estimate_values(tree, "any")
    assert [values[path].value for path in ((), (0,), (1,))] == [1.0, 1.0, 0.0]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_an_open_leaf_has_no_result_and_no_part_in_its_parents_value(estimator):
    tree = tree_of(leaf((0,), RIGHT), leaf((1,), RIGHT), OPEN)
    values = estimate_values(tree, estimator)
    assert values[(2,)] == NodeValue(None, 0)
    assert values[ROOT] == NodeValue(1.0, 2)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_tree_without_a_finished_leaf_has_no_value(estimator):
    assert estimate_values(ReasoningTree(), estimator) == {(): NodeValue(None, 0)}


@pytest.mark.parametrize(
    ("node", "as_incorrect", "excluded"),
    [
        (leaf((0,), RIGHT), True, True),
        (leaf((0,), WRONG), False, False),
        (leaf((0,), SILENT), False, None),
        (leaf((0,), None), False, None),
        (leaf((0,), RIGHT, truncated=True), False, None),
        (leaf((0,), WRONG, truncated=True), False, None),
        (OPEN, None, None),
    ],
)
def test_unanswered_and_truncated_leaves_count_as_incorrect_or_not_at_all(
    node, as_incorrect, excluded
):
    assert leaf_result(node, "incorrect") is as_incorrect
    assert leaf_result(node, "exclude") is excluded


@given(trees(), st.sampled_from(ESTIMATORS), st.sampled_from(UNGRADED))
def test_values_lie_between_0_and_1_and_only_no_result_is_none(tree, estimator, ungraded):
    values = estimate_values(tree, estimator, ungraded)
    assert values.keys() == tree.nodes.keys()
    for value, leaves in values.values():
        assert (value is None) == (leaves == 0)
        assert value is None or 0 <= value <= 1


@given(trees(), st.sampled_from(UNGRADED))
def test_leaf_mean_is_the_share_of_correct_samples(tree, ungraded):
    value, leaves = estimate_values(tree, "leaf_mean", ungraded)[ROOT]
    results = [
        result
        for node in tree.leaves()
        for result in [leaf_result(node, ungraded)] * node.count
        if result is not None
    ]
    assert leaves == len(results)
    assert value == (sum(results) / len(results) if results else None)


@given(trees())
def test_the_root_has_the_counters_of_the_tree(tree):
    counters = count_tree(tree)
    root = estimate_values(tree)[ROOT]
    assert (root.correct, root.leaves) == (counters["num_correct"], counters["num_leaves"])


@given(trees(), st.sampled_from(ESTIMATORS), st.randoms(use_true_random=False))
def test_the_value_of_the_root_is_that_of_all_values(tree, estimator, numbers):
    for node in tree.leaves():
        depths = [depth for depth in range(node.depth) if numbers.random() < 0.5]
        node.drawn = {depth: numbers.randint(1, 2) for depth in depths}
    assert root_value(tree, estimator) == estimate_values(tree, estimator)[ROOT].value


@given(trees())
def test_a_node_has_the_leaves_of_its_children(tree):
    values = estimate_values(tree)
    for node in tree:
        children = [values[child.path] for child in tree.children(node.path)]
        if children:
            assert values[node.path].leaves == sum(one.leaves for one in children)
            assert values[node.path].correct == sum(one.correct for one in children)


def test_scores_are_values_as_they_are_and_a_node_without_one_has_none():
    tree = tree_of(leaf((0, 0), RIGHT, count=3), leaf((0, 1), WRONG), leaf((1,), SILENT), OPEN)
    assert scored_values(tree, {(): 0.03125, (0,): -2.5, (0, 1): 0.0, (1,): 0.5}) == {
        (): NodeValue(0.03125, 5),
        (0,): NodeValue(-2.5, 4),
        (0, 0): NodeValue(None, 0),
        (0, 1): NodeValue(0.0, 1),
        (1,): NodeValue(0.5, 1),
        (2,): NodeValue(None, 0),
    }


class TestChoiceOfAnEstimator:
    @pytest.mark.parametrize(
        ("strategy", "estimator"),
        [
            ("branching", "leaf_mean"), ("sampled", "leaf_mean"), ("imported", "leaf_mean"),
            ("math_shepherd", "own_rollouts"), ("omega_prm", "own_rollouts"),
        ],
    )  # fmt: skip
    def test_a_strategy_has_one_of_its_own(self, strategy, estimator):
        assert own_estimator(strategy) == choose_estimator(strategy, "auto") == estimator

    def test_that_of_a_strategy_whose_package_is_missing_is_not_guessed(self):
        assert own_estimator("two_by_two") == "leaf_mean", "pages still show something"
        with pytest.raises(EstimatorError, match=r"not installed.*name an --estimator"):
            choose_estimator("two_by_two", "auto")
        assert choose_estimator("two_by_two", "any") == "any"

    @pytest.mark.parametrize("strategy", STRATEGY_ESTIMATORS)
    def test_one_that_means_nothing_is_refused_with_those_that_do(self, strategy):
        for estimator in ESTIMATORS:
            if estimator in STRATEGY_ESTIMATORS[strategy]:
                assert choose_estimator(strategy, estimator) == estimator
            else:
                with pytest.raises(
                    EstimatorError, match=r"strategy \w+: use leaf_mean, child_mean, any"
                ):
                    choose_estimator(strategy, estimator)

    def test_steps_that_a_search_chose_are_warned_of(self):
        assert "--estimator own_rollouts" in caution("omega_prm", "leaf_mean")
        assert caution("omega_prm", "own_rollouts") == caution("branching", "leaf_mean") == ""
        assert caution_of_samples("branching") == caution_of_samples("sampled") == ""
        for strategy in ("math_shepherd", "omega_prm"):
            assert "pass rates" in caution_of_samples(strategy)
            assert caution(strategy, "any").startswith(caution_of_samples(strategy))


@given(trees(), st.sampled_from(ESTIMATORS), st.randoms(use_true_random=False))
def test_the_order_of_siblings_changes_no_value(tree, estimator, numbers):
    shuffled, moved = permuted(tree, numbers)
    before, after = estimate_values(tree, estimator), estimate_values(shuffled, estimator)
    assert {moved[path]: value for path, value in before.items()} == after


class TestOwnRollouts:
    """Math-Shepherd's soft estimate uses only rollouts that were drawn from the node itself."""

    TREE = tree_of(
        replace(leaf((0, 0), RIGHT, count=3), drawn={0: 1, 1: 2}),
        replace(leaf((0, 1), WRONG, count=5), drawn={1: 1, 2: 4}),
        replace(leaf((1,), WRONG), drawn={0: 1}),
        replace(leaf((2,), SILENT), drawn={0: 1}),
    )

    def test_a_value_is_the_share_of_the_rollouts_that_were_drawn_from_the_node(self):
        values = estimate_values(self.TREE, "own_rollouts")
        assert values[ROOT] == NodeValue(1 / 3, 3)
        assert values[(0,)] == NodeValue(2 / 3, 3)

    def test_rollouts_without_a_result_can_be_left_out(self):
        values = estimate_values(self.TREE, "own_rollouts", "exclude")
        assert values[ROOT] == NodeValue(1 / 2, 2)
        assert values[(2,)] == NodeValue(None, 0)

    def test_a_leaf_and_a_node_without_rollouts_of_its_own_have_their_leaf_mean(self):
        tree = tree_of(
            replace(leaf((0, 0, 0), RIGHT, count=3), drawn={0: 3}),
            replace(leaf((0, 1), WRONG), drawn={0: 1}),
        )
        assert estimate_values(tree, "own_rollouts") == estimate_values(tree, "leaf_mean")
        assert estimate_values(tree, "own_rollouts")[(0,)] == NodeValue(3 / 4, 4)
        assert estimate_values(self.TREE, "own_rollouts")[(0, 1)] == NodeValue(0.0, 5)

    def test_other_estimates_do_not_ask_from_where_samples_were_drawn(self):
        assert estimate_values(self.TREE, "leaf_mean")[(0,)] == NodeValue(3 / 8, 8)
        assert estimate_values(self.TREE)[ROOT] == NodeValue(3 / 10, 10)


@pytest.mark.parametrize("ungraded", UNGRADED)
def test_an_answerless_leaf_counts_as_incorrect_unless_it_is_excluded(ungraded):
    expected = NodeValue(0.0, 1) if ungraded == "incorrect" else NodeValue(None, 0)
    assert estimate_values(tree_of(leaf((0,), SILENT)), ungraded=ungraded)[ROOT] == expected


@pytest.mark.parametrize("ungraded", UNGRADED)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_leaf_that_could_not_be_compared_changes_no_value(estimator, ungraded):
    leaves = [leaf((0, 0), RIGHT), leaf((0, 1), WRONG), leaf((1, 0), WRONG)]
    odd = [leaf((0, 2), UNCOMPARED, count=7), leaf((2,), UNCOMPARED)]
    for node in (*leaves, *odd):
        node.drawn = {0: node.count}
    without, with_odd = tree_of(*leaves), tree_of(*leaves, *odd)

    values = estimate_values(with_odd, estimator, ungraded)

    assert {path: values[path] for path in without.nodes} == estimate_values(
        without, estimator, ungraded
    )
    assert values[0, 2] == values[2,] == (None, 0)
    assert leaf_result(with_odd.nodes[2,], ungraded) is None


@pytest.mark.parametrize(("ungraded", "result"), [("incorrect", False), ("exclude", None)])
def test_a_cut_leaf_is_what_it_was_before_whatever_its_answer(ungraded, result):
    assert leaf_result(leaf((0,), UNCOMPARED, truncated=True), ungraded) is result


def test_a_depth_from_which_no_sample_was_drawn_is_not_divided_by():
    tree = ReasoningTree.from_nodes(
        [TreeNode(()), TreeNode((0,), "4", terminal=True, grade=Grade.CORRECT, drawn={0: 0})]
    )

    assert {found.value for found in estimate_values(tree, "own_rollouts").values()} == {1.0}


class TestThroughRollouts:
    """Samples that pass through a node count; rollouts drawn from later steps do not."""

    def test_rollouts_of_later_steps_do_not_count(self):
        tree = tree_of(
            replace(leaf((0, 0), RIGHT), drawn={0: 1}),
            replace(leaf((0, 1, 0), WRONG, count=8), drawn={2: 8}),
            replace(leaf((0, 1, 1), WRONG, count=2), drawn={0: 1, 1: 1}),
            replace(leaf((1,), WRONG), drawn={0: 1}),
        )
        tree.nodes[0,].drawn = {0: 2}
        tree.nodes[0, 1].drawn = {0: 1, 1: 1}
        values = estimate_values(tree, "through_rollouts")
        assert values[ROOT] == NodeValue(1 / 3, 3)
        assert values[(0,)] == NodeValue(1 / 3, 3)
        assert values[(0, 1)] == NodeValue(0.0, 10)
        assert values[(0, 0)] == NodeValue(1.0, 1)

    def test_a_single_step_ends_where_its_first_continuation_ended(self):
        tree = tree_of(
            TreeNode((0,), text="A step.\n", count=2, drawn={0: 2}),
            replace(leaf((0, 0), RIGHT), drawn={1: 1}),
            *(replace(leaf((0, number), WRONG), drawn={1: 1}) for number in range(1, 8)),
            TreeNode((1,), text="Another.\n", drawn={0: 1}),
            replace(leaf((1, 0), WRONG), drawn={1: 1}),
        )
        values = estimate_values(tree, "through_rollouts")
        assert values[ROOT] == NodeValue(2 / 3, 3)
        assert values[(0,)] == NodeValue(1 / 8, 8)
        known = evidence_of(tree, values, "through_rollouts")
        assert known[ROOT].samples == pytest.approx(9 / 5), "two samples share one outcome"
        assert known[(0,)].samples == pytest.approx(8)

    def test_added_rollouts_change_no_earlier_value(self):
        tree = tree_of(
            TreeNode((0,), text="A step.\n", drawn={0: 1}),
            TreeNode((0, 0), text="A second.\n", drawn={1: 1}),
            replace(leaf((0, 0, 0), RIGHT), drawn={2: 1}),
        )
        before = estimate_values(tree, "through_rollouts")
        for number in range(1, 5):
            tree.add(replace(leaf((0, 0, number), WRONG), drawn={2: 1}))
        after = estimate_values(tree, "through_rollouts")
        assert before[(0, 0)] != after[(0, 0)] == NodeValue(1 / 5, 5)
        assert (before[ROOT], before[(0,)]) == (after[ROOT], after[(0,)])

    def test_trees_that_do_not_tell_what_was_drawn_have_their_leaf_mean(self):
        tree = tree_of(leaf((0, 0), RIGHT, count=3), leaf((0, 1), WRONG), leaf((1,), WRONG))
        for node in tree:
            node.drawn = {}
        assert estimate_values(tree, "through_rollouts") == estimate_values(tree)
