import pytest
from hypothesis import given
from hypothesis import strategies as st

from forests.core.tree import Grade, ReasoningTree
from metrics.core.evaluation import Evaluation, EvaluationOptions
from metrics.core.search.aggregation import AGGREGATIONS
from metrics.core.search.value_functions import VALUE_FUNCTIONS, ValueOptions, value_function
from tests.metrics.trees import grades_tree, leaf, tree_of, trees

RIGHT, WRONG, SILENT = Grade.CORRECT, Grade.INCORRECT, Grade.UNANSWERED


def evaluated(*given_trees, **options):
    evaluation = Evaluation(EvaluationOptions(**options))
    search_by = value_function(evaluation.options.values)
    for index, tree in enumerate(given_trees):
        evaluation.add(str(index), tree, search_by(str(index), tree, {}))
    return evaluation


def numbers_of(evaluation):
    return {(r.metric, r.aggregation, r.k): (r.value, r.trees) for r in evaluation.rows()}


def test_the_numbers_of_two_trees_by_hand():
    mixed = grades_tree(n0_0=RIGHT, n0_1=WRONG, n1_0=WRONG, n1_1=WRONG)
    wrong = grades_tree(n0=WRONG, n1=WRONG)
    found = numbers_of(evaluated(mixed, wrong, num_beam_values=(1, 3), aggregations=("last",)))
    assert found == {
        ("accuracy", "last", 1): (0.5, 2),
        ("majority_vote", "last", 1): (0.5, 2),
        ("weighted_vote", "last", 1): (0.5, 2),
        ("coverage", "last", 1): (0.5, 2),
        ("accuracy", "last", 3): (0.5, 2),
        ("majority_vote", "last", 3): (0.0, 2),
        ("weighted_vote", "last", 3): (0.5, 2),
        ("coverage", "last", 3): (0.5, 2),
        ("pass", None, 1): (0.125, 2),
        ("pass", None, 3): (0.75, 1),
        ("majority", None, 3): (0.0, 1),
    }


def test_a_baseline_leaves_out_trees_with_fewer_samples():
    rows = evaluated(tree_of(leaf((0,), RIGHT)), num_beam_values=(1, 5)).rows()
    [row] = [row for row in rows if (row.metric, row.k) == ("pass", 5)]
    assert (row.value, row.low, row.trees, row.no_result) == (None, None, 0, 1)


def test_a_tree_without_a_result_is_left_out_and_not_wrong():
    silent = tree_of(leaf((0,), SILENT))
    evaluation = evaluated(silent, ReasoningTree(), values=ValueOptions(ungraded="exclude"))
    assert evaluation.left_out == {"no_result": 2}
    assert all((row.value, row.trees) == (None, 0) for row in evaluation.rows())
    counted = evaluated(silent, values=ValueOptions(ungraded="incorrect"))
    assert numbers_of(counted)["accuracy", "mean", 1] == (0.0, 1)


def test_a_tree_without_log_probabilities_is_left_out():
    tree = tree_of(leaf((0,), RIGHT))
    tree.nodes[(0,)].tokens = 3
    evaluation = evaluated(tree, values=ValueOptions(value_function="logprob"))
    assert evaluation.left_out == {"no_value": 1}


@given(st.lists(trees(), min_size=1, max_size=4), st.sampled_from(VALUE_FUNCTIONS))
def test_every_number_is_a_share_with_an_interval_around_it(given_trees, name):
    evaluation = evaluated(
        *given_trees,
        num_beam_values=(1, 2, 4),
        aggregations=tuple(AGGREGATIONS),
        values=ValueOptions(value_function=name),
    )
    assert evaluation.trees_used + sum(evaluation.left_out.values()) == len(given_trees)
    for row in evaluation.rows():
        assert row.trees + row.no_result == evaluation.trees_used
        assert (row.value is None) == (row.trees == 0)
        if row.value is not None:
            assert 0 <= row.low <= row.value + 1e-12
            assert row.value <= row.high + 1e-12 <= 1 + 1e-9


@given(trees(all_finished=True), st.integers(1, 6))
def test_the_oracle_by_last_value_is_never_below_one_random_sample(tree, num_beams):
    found = numbers_of(evaluated(tree, num_beam_values=(num_beams,), aggregations=("last",)))
    top, _ = found["coverage", "last", num_beams]
    pass_at_1, _ = found["pass", None, 1]
    assert top == 1.0 or pass_at_1 == 0.0


@given(
    st.lists(trees(), min_size=1, max_size=4),
    st.sampled_from(VALUE_FUNCTIONS),
    st.sampled_from(["incorrect", "exclude"]),
)
def test_one_whole_sample_gains_exactly_nothing_over_a_majority_vote_of_one(
    given_trees, name, ungraded
):
    evaluation = evaluated(
        *given_trees,
        procedures=("best_of_n",),
        num_beam_values=(1,),
        values=ValueOptions(value_function=name, ungraded=ungraded),
    )
    for row in evaluation.rows():
        if row.metric in ("accuracy", "weighted_vote") and row.trees == evaluation.trees_used > 0:
            assert row.gain == 0.0
            assert str(row.gain) != "-0.0"


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_a_tree_of_right_leaves_is_right_by_every_aggregation(aggregation):
    tree = grades_tree(n0_0=RIGHT, n0_1=RIGHT, n1=RIGHT)
    values = numbers_of(evaluated(tree, aggregations=(aggregation,)))
    assert {value for value, _ in values.values()} == {1.0, None}  # None: fewer than 5 samples
