from math import exp
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forests.core.tree import Grade, TreeNode
from forests.core.values import estimate_values
from metrics.core.evaluation import Evaluation, EvaluationOptions
from metrics.core.value_functions import VALUE_FUNCTIONS, ValueOptions, value_function
from tests.metrics.trees import coin_tree, leaf, tree_of, trees

RIGHT, WRONG = Grade.CORRECT, Grade.INCORRECT


def searches(name, tree, tree_id="t", **options):
    return value_function(ValueOptions(value_function=name, **options))(tree_id, tree, {})


def add(evaluation, tree, tree_id="t"):
    evaluation.add(tree_id, tree, value_function(evaluation.options.values)(tree_id, tree, {}))


def samples_by_path(tree):
    return {node.path: node.count for node in tree.leaves() if node.path}


@given(trees())
def test_labelled_values_are_the_exact_values_of_the_whole_tree(tree):
    [(searched, values)] = searches("labelled", tree, estimator="any", ungraded="exclude")
    assert searched is tree
    assert values == {p: v.value for p, v in estimate_values(tree, "any", "exclude").items()}


@given(trees())
def test_held_out_halves_share_the_samples_between_them(tree):
    halves = [samples_by_path(search.tree) for search in searches("labelled_held_out", tree)]
    assert all(halves)
    for path, count in samples_by_path(tree).items():
        assert sum(half.get(path, 0) for half in halves) == count
    sizes = [sum(half.values()) for half in halves] + [0] * (2 - len(halves))
    assert abs(sizes[0] - sizes[1]) <= 1


@given(trees(all_finished=True), st.integers(0, 100))
def test_a_held_out_leaf_has_no_vote_for_itself(tree, number):
    """To turn the grade of a searched sample over changes no value that the search goes by."""
    found = searches("labelled_held_out", tree)
    search = found[number % len(found)]
    single = [p for p, count in samples_by_path(search.tree).items() if tree.nodes[p].count == 1]
    for path in single:
        node = tree.nodes[path]
        node.grade = WRONG if node.grade is RIGHT else RIGHT
    again = searches("labelled_held_out", tree)[number % len(found)]
    assert again.values == search.values


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
    add(evaluation, tree_of(leaf((0, 0), RIGHT)))
    assert evaluation.left_out == {"no_value": 1}
    assert evaluation.trees_used == 0
