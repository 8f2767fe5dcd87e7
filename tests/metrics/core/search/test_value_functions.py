from dataclasses import replace
from math import exp, sqrt
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forests.core.tree import Grade, ReasoningTree, TreeNode
from forests.core.values import ESTIMATORS, UNGRADED, estimate_values
from metrics.core.evaluation import Evaluation, EvaluationOptions
from metrics.core.search.value_functions import VALUE_FUNCTIONS, ValueOptions, value_function
from tests.metrics.trees import coin_tree, leaf, tree_of, trees

RIGHT, WRONG = Grade.CORRECT, Grade.INCORRECT


def searches(name, tree, tree_id="t", **options):
    return value_function(ValueOptions(value_function=name, **options))(tree_id, tree, {})


def add(evaluation, tree, tree_id="t"):
    evaluation.add(tree_id, tree, value_function(evaluation.options.values)(tree_id, tree, {}))


@given(trees())
def test_labelled_values_are_the_monte_carlo_values_of_the_whole_tree(tree):
    [(searched, values)] = searches("labelled", tree, estimator="any", ungraded="exclude")
    assert searched is tree
    assert values == {p: v.value for p, v in estimate_values(tree, "any", "exclude").items()}


@given(trees())
def test_held_out_halves_share_the_leaves_between_them_evenly_under_every_node(tree):
    halves = [search.tree for search in searches("labelled_held_out", tree)]
    for node in tree.leaves():
        where = [half.nodes[node.path] for half in halves if node.path in half.nodes]
        assert where == [node]
    for node in tree:
        below = [one for one in tree.leaves() if one.path[: node.depth] == node.path]
        sizes = [sum(one.count for one in below if one.path in half.nodes) for half in halves]
        sizes += [0] * (2 - len(halves))
        assert abs(sizes[0] - sizes[1]) <= max(one.count for one in below)


@given(
    trees(),
    st.sampled_from(ESTIMATORS),
    st.sampled_from(UNGRADED),
    st.sampled_from([*Grade, None]),
    st.randoms(use_true_random=False),
)
def test_the_grade_of_a_held_out_leaf_changes_no_value_of_its_search(
    tree, estimator, ungraded, grade, numbers
):
    """The search uses values of the other half only, whatever the samples and the new grade."""
    for node in tree:
        depths = [depth for depth in range(node.depth) if numbers.random() < 0.7]
        node.drawn = {depth: numbers.randint(1, 3) for depth in depths}
    options = {"estimator": estimator, "ungraded": ungraded}
    for number, (searched, values) in enumerate(searches("labelled_held_out", tree, **options)):
        changed = {
            one.path: replace(one, grade=grade, truncated=numbers.random() < 0.5)
            for one in searched.leaves()
        }
        other = ReasoningTree.from_nodes([changed.get(node.path, node) for node in tree])
        again = searches("labelled_held_out", other, **options)[number]
        assert again.tree.leaves() == list(changed.values())
        assert again.values == values


@given(trees(all_finished=True))
def test_a_half_holds_as_many_samples_of_each_step_as_rollouts_end_in_it(tree):
    for node in tree.bottom_up():  # as `sampled` growth counts them
        children = tree.children(node.path)
        if children:
            node.count = sum(child.count for child in children)
        node.drawn = {0: node.count} if node.path else {}
    for half, _ in searches("labelled_held_out", tree):
        for node in half:
            if node.path and (children := half.children(node.path)):
                assert node.count == sum(child.count for child in children)
                assert node.drawn == {0: node.count}


def test_a_step_that_both_halves_continue_is_in_both():
    tree = tree_of(
        TreeNode((0,), text="A step.\n", count=2, drawn={0: 2}),
        *(replace(leaf((0, n), RIGHT), drawn={1: 1}) for n in range(4)),
    )
    for half, _ in searches("labelled_held_out", tree):
        assert half.nodes[0,].count == 1
        assert half.nodes[0,].drawn == {0: 1}


def test_rollouts_of_one_step_vote_in_one_half_only():
    """A step has own rollouts, three right and one wrong; each half has one of its two leaves."""
    tree = tree_of(
        TreeNode((0,), text="A step.\n", count=1, drawn={0: 1}),
        replace(leaf((0, 0), RIGHT, count=4), drawn={0: 1, 1: 3}),
        replace(leaf((0, 1), WRONG), drawn={1: 1}),
    )
    found = searches("labelled_held_out", tree, estimator="own_rollouts")
    by_leaf = {search.tree.leaves()[0].path: search.values for search in found}
    assert by_leaf[0, 0][0,] == 0.0
    assert by_leaf[0, 1][0,] == 1.0
    assert by_leaf[0, 0].get((0, 0)) is None


MERGED = {"1": (1,), "1 or 2": (1, 2), "2": (2,), "1 to 9": (1, 1, 1, 2, 3, 9)}


@pytest.mark.parametrize("aggregation", ["mean", "last", "min"])
@pytest.mark.parametrize("counts", MERGED.values(), ids=MERGED.keys())
def test_held_out_values_know_nothing_of_leaves_that_are_right_by_lot(counts, aggregation):
    """Decision 3's experiment: an honest estimate is 0.5, however many samples a leaf has."""
    numbers = Random(3)
    evaluation = Evaluation(
        EvaluationOptions(
            num_beam_values=(1,),
            aggregations=(aggregation,),
            values=ValueOptions(value_function="labelled_held_out"),
        )
    )
    for index in range(500):
        tree = coin_tree(numbers)
        for node in tree.leaves():
            node.count = numbers.choice(counts)
        add(evaluation, tree, str(index))
    [accuracy] = [row for row in evaluation.rows() if row.metric == "accuracy"]
    assert accuracy.trees == 500
    assert accuracy.value is not None
    assert abs(accuracy.value - 0.5) <= 3.5 * sqrt(0.25 / 500)


@pytest.mark.parametrize("name", ["labelled_held_out", "random", "logprob"])
def test_no_search_but_the_oracle_beats_chance_where_leaves_are_right_by_lot(name):
    numbers = Random(1)
    evaluation = Evaluation(
        EvaluationOptions(
            num_beam_values=(1, 4),
            aggregations=("mean", "last"),
            values=ValueOptions(value_function=name),
        )
    )
    for index in range(400):
        tree = coin_tree(numbers)
        for node in tree:
            node.tokens, node.logprob = 3, -numbers.random()
        add(evaluation, tree, str(index))
    for row in evaluation.rows():
        if row.metric in ("accuracy", "majority_vote"):
            assert row.value == pytest.approx(0.5, abs=0.09), row  # 3.6 standard errors
    assert evaluation.trees_used == 400


def test_the_oracle_knows_the_answers_where_leaves_are_right_by_lot():
    numbers = Random(1)
    evaluation = Evaluation(EvaluationOptions(num_beam_values=(1,), aggregations=("last",)))
    for index in range(50):
        add(evaluation, coin_tree(numbers), str(index))
    values = {row.metric: row.value for row in evaluation.rows() if row.aggregation}
    assert values["accuracy"] == 1.0


def test_random_values_follow_from_the_seed_and_the_tree():
    tree = coin_tree(Random(1))
    [first] = searches("random", tree, "forest/0000001", seed=3)
    [same] = searches("random", tree, "forest/0000001", seed=3)
    [other_tree] = searches("random", tree, "forest/0000002", seed=3)
    [other_seed] = searches("random", tree, "forest/0000001", seed=4)
    assert first.values == same.values
    assert first.values != other_tree.values
    assert first.values != other_seed.values


def test_logprob_is_the_mean_token_probability_along_the_path():
    tree = tree_of(
        TreeNode((0,), tokens=3, logprob=-0.6),
        TreeNode((0, 0), tokens=1, logprob=-1.0, terminal=True),
        TreeNode((0, 1), tokens=0, logprob=None, terminal=True),  # the blank end of a sample
        TreeNode((1,), tokens=4, logprob=None),
        TreeNode((1, 0), tokens=1, logprob=-1.0, terminal=True),
    )
    [(_, values)] = searches("logprob", tree)
    assert values == {
        (0,): pytest.approx(exp(-0.2)),
        (0, 0): pytest.approx(exp(-0.4)),
        (0, 1): pytest.approx(exp(-0.2)),
        (1,): None,
        (1, 0): None,
    }


@pytest.mark.parametrize("name", VALUE_FUNCTIONS)
@given(tree=trees())
def test_every_value_lies_between_0_and_1(name, tree):
    for search in searches(name, tree):
        assert all(value is None or 0 <= value <= 1 for value in search.values.values())


def test_a_tree_of_one_leaf_cannot_be_held_out():
    evaluation = Evaluation(
        EvaluationOptions(values=ValueOptions(value_function="labelled_held_out"))
    )
    add(evaluation, tree_of(leaf((0, 0), RIGHT, count=5)))
    assert evaluation.left_out == {"no_value": 1}
    assert evaluation.trees_used == 0
