"""Labels and pairs on which several sources agree."""

from hypothesis import given
from hypothesis import strategies as st

from forests.core.tree import parse_path
from forests.core.values import NO_RESULT, NodeValue
from preferences.core.consensus import (
    Consensus,
    Coverage,
    agreed_values,
    opinions_of_scores,
    opinions_of_values,
    prefers_by_scores,
    prefers_by_values,
)
from tests.forests.factories import step, tree_of

A, B, C, D = (parse_path(name) for name in ("0.0", "0.0.1", "0.0.1.0", "0.1"))
TREE = tree_of(step("0.0", "a"), step("0.0.1", "b"), step("0.0.1.0", "c"), step("0.1", "d"))
VALUES = {
    (): NodeValue(0.5, 4), A: NodeValue(0.75, 4), B: NodeValue(0.0, 4), C: NodeValue(0.0, 4),
    D: NO_RESULT,
}  # fmt: skip


def above_zero(value: float) -> bool:
    return value > 0


def agreed(*scores: dict) -> tuple[dict, Coverage]:
    coverage = Coverage()
    own = opinions_of_values(VALUES, above_zero)
    others = {f"s{number}": opinions_of_scores(TREE, one) for number, one in enumerate(scores)}
    return agreed_values(VALUES, own, others, coverage), coverage


def test_a_step_keeps_its_value_where_all_sources_say_the_same():
    kept, coverage = agreed({A: 1.0, B: 0.0, C: 0.0})

    assert kept == VALUES
    assert coverage.as_dict() == {
        "steps": 3, "compared": 3, "agreed": 3, "coverage": 1.0, "agreement": 1.0,
    }  # fmt: skip


def test_a_wrong_step_whose_samples_are_still_right_loses_its_label():
    kept, coverage = agreed({A: 0.0, B: 0.0, C: 0.0})

    assert kept[A] == NO_RESULT
    assert kept[B] == VALUES[B]
    assert (coverage.compared, coverage.agreed) == (3, 2)


def test_a_step_without_an_opinion_of_every_source_loses_its_label():
    kept, coverage = agreed({A: 1.0, B: 0.0}, {B: 0.0})

    assert kept[A] == NO_RESULT
    assert kept[B] == VALUES[B]
    assert coverage.compared == 2  # the step after the first wrong one is wrong by rule


def test_votes_that_are_divided_are_no_opinion():
    kept, coverage = agreed({A: 0.5, B: 0.0})

    assert kept[A] == NO_RESULT
    assert (coverage.steps, coverage.compared) == (3, 2)


def test_after_a_step_called_wrong_the_unjudged_ones_are_not_good_either():
    assert opinions_of_scores(TREE, {A: 1.0, B: 0.0}) == {A: True, B: False, C: False}
    assert opinions_of_scores(TREE, {A: 1.0}) == {A: True}
    assert opinions_of_scores(TREE, {B: 0.0, C: 1.0}) == {B: False, C: True}


def test_the_prompt_keeps_its_value_though_nobody_judges_it():
    kept, _ = agreed({})

    assert kept[()] == VALUES[()]
    assert {path for path, value in kept.items() if value == NO_RESULT} == {A, B, C, D}


def test_without_steps_there_is_no_share():
    assert Coverage().as_dict()["coverage"] is None
    assert Coverage(3, 0, 0).as_dict()["agreement"] is None


def test_a_pair_needs_the_preference_of_every_source():
    judge, values = prefers_by_scores({A: 1.0, D: 0.0}), prefers_by_values(VALUES)
    equal = prefers_by_scores({A: 1.0, D: 1.0})

    assert Consensus().reason_against(A, D) == ""
    assert Consensus({"judge": judge}).reason_against(A, D) == ""
    assert Consensus({"judge": judge}).reason_against(D, A) == "pairs_on_which_sources_disagree"
    assert Consensus({"equal": equal}).reason_against(A, D) == "pairs_on_which_sources_disagree"
    both = Consensus({"judge": judge, "mc": values})
    assert both.reason_against(A, D) == "pairs_without_other_scores"


SCORES = st.dictionaries(st.sampled_from([A, B, C, D]), st.sampled_from([0.0, 0.5, 1.0]))


@given(st.lists(SCORES, max_size=3))
def test_more_sources_never_keep_more(scores: list[dict]):
    kept, coverage = agreed(*scores)
    fewer, _ = agreed(*scores[:-1])

    assert {path for path, value in kept.items() if value != NO_RESULT} <= {
        path for path, value in fewer.items() if value != NO_RESULT
    }
    assert 0 <= coverage.agreed <= coverage.compared <= coverage.steps
    assert coverage.agreed == sum(bool(path) and kept[path] != NO_RESULT for path in kept)
