"""Where Monte Carlo values, judges and people disagree about a step."""

from hypothesis import given
from hypothesis import strategies as st

from forests.core.opinions.disagreements import (
    GRADED_LEAVES,
    MAX_OF_A_TREE,
    Disagreement,
    disagreements_of,
    largest,
)
from forests.core.tree import parse_path
from tests.forests.factories import step, tree_of

TREE = tree_of(step("0.0", "a"), step("0.0.0", "b"), step("0.0.1", "c"))
A, B, C = (parse_path(name) for name in ("0.0", "0.0.0", "0.0.1"))


def test_a_step_called_wrong_whose_samples_are_mostly_right_is_a_disagreement():
    found = disagreements_of(TREE, {A: (0.6, 1.0), B: (0.0, 0.2)}, {"judge": {A: 0.0, B: 0.0}})

    assert found == [Disagreement(A, 0.6, "judge", GRADED_LEAVES)]


def test_a_step_called_right_after_which_the_value_falls_is_a_disagreement():
    intervals = {A: (0.7, 0.9), B: (0.0, 0.2), C: (0.6, 0.9)}

    found = disagreements_of(TREE, intervals, {"judge": {A: 1.0, B: 1.0, C: 1.0}})

    assert [(one.path, round(one.size, 6)) for one in found] == [(B, 0.5)]


def test_a_low_value_is_no_disagreement_where_it_was_as_low_before():
    intervals = {(): (0.1, 0.3), A: (0.1, 0.3)}

    assert disagreements_of(TREE, intervals, {"judge": {A: 1.0}}) == []


def test_few_samples_are_little_disagreement():
    few, many = {A: (0.2, 1.0)}, {A: (0.9, 1.0)}

    [little] = disagreements_of(TREE, few, {"judge": {A: 0.0}})
    [much] = disagreements_of(TREE, many, {"judge": {A: 0.0}})

    assert (little.size, much.size) == (0.2, 0.9)


def test_two_scorers_disagree_by_the_difference_of_their_scores():
    found = disagreements_of(TREE, {}, {"judge": {A: 1.0, B: 1.0}, "human": {A: 0.0, B: 1.0}})

    assert found == [Disagreement(A, 1.0, "human", "judge")]


def test_a_judge_whose_votes_are_divided_says_nothing_against_a_value():
    assert disagreements_of(TREE, {A: (0.9, 1.0)}, {"judge": {A: 0.5}}) == []


def test_the_largest_of_several_trees_come_first_and_equal_ones_in_their_order():
    small, large = Disagreement(A, 0.2, "j", "h"), Disagreement(B, 0.9, "j", "h")

    assert largest([(3, [small]), (1, [large, small])], 2) == [(1, large), (1, small)]


SHARES = st.floats(0, 1)


@given(
    st.dictionaries(st.sampled_from([(), A, B, C]), st.tuples(SHARES, SHARES)),
    st.dictionaries(
        st.sampled_from("abc"), st.dictionaries(st.sampled_from([A, B, C]), SHARES), max_size=3
    ),
)
def test_sizes_are_shares_in_order_and_of_steps_that_somebody_scored(intervals, scores):
    ordered = {path: (min(ends), max(ends)) for path, ends in intervals.items()}

    found = disagreements_of(TREE, ordered, scores)

    assert len(found) <= MAX_OF_A_TREE
    assert all(0 < one.size <= 1 for one in found)
    assert [one.size for one in found] == sorted((one.size for one in found), reverse=True)
    assert all(any(one.path in given for given in scores.values()) for one in found)
