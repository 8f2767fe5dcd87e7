"""The progress that steps make."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forests.core.tree import ROOT, NodePath, ReasoningTree
from forests.core.values import NO_RESULT, NodeValue, estimate_values, scored_values
from preferences.core.confidence import has_confidence
from preferences.core.pairing import PairingOptions, select_pairs
from preferences.core.progress import progress_over, progress_values
from preferences.core.value_sources import ValueSource
from preferences.export.formats.annotation import Annotation, annotated_part
from tests.forests.factories import RIGHT, WRONG, duck_tree, leaf, step, tree_of

A, B, AA, AB = (0,), (1,), (0, 0), (0, 1)


def tree_with_a_thought() -> ReasoningTree:
    return tree_of(
        step("0.0", "Let me think.\n", is_thought=True),
        step("0.0.0", "First.\n"),
        leaf("0.0.0.0", "#### 1", RIGHT),  # noqa: S104
        leaf("0.0.0.1", "#### 2", WRONG),
        leaf("0.1", "#### 3", WRONG),
    )


def test_progress_is_what_a_step_adds_to_the_value_of_its_prefix():
    tree = duck_tree()
    values = estimate_values(tree)
    progress = progress_values(tree, values)
    assert progress[ROOT] == NO_RESULT
    assert progress[A].value == pytest.approx((values[A].value or 0) - (values[ROOT].value or 0))
    assert progress[A].leaves == values[A].leaves
    assert progress[AB].value == pytest.approx(1 / 2 - 4 / 5)
    assert progress[0, 1, 0].value == 1 - 1 / 2  # a solution that ends well
    assert progress[0, 1, 1].value == 0 - 1 / 2


def test_without_a_value_of_the_step_or_of_its_prefix_there_is_none():
    tree = duck_tree()
    scores = {A: 0.5, AB: 0.25}
    progress = progress_values(tree, scored_values(tree, scores))
    assert {path for path, one in progress.items() if one.value is not None} == {AB}
    assert progress[AB].value == -0.25


def test_a_step_after_a_thought_without_a_score_is_compared_with_the_prefix_before_it():
    tree = tree_with_a_thought()
    values = scored_values(tree, {ROOT: 0.25, AA: 0.75})
    assert progress_values(tree, values)[AA].value == 0.5
    own = estimate_values(tree)  # a thought has a Monte Carlo value of its own
    assert progress_values(tree, own)[AA].value == 0.0


def test_rounding_makes_no_progress():
    tree = tree_of(step("0.0", "a\n"), step("0.0.0", "b\n"))
    shares = {ROOT: 0.3, A: 0.1 + 0.2, AA: 0.8}
    values = {path: NodeValue(share, 10) for path, share in shares.items()}
    assert values[A].value != values[ROOT].value
    progress = progress_values(tree, values)
    assert progress[A].value == 0
    assert progress[AA].value == pytest.approx(0.5)


@given(st.lists(st.floats(0, 1), min_size=12, max_size=13))
def test_progress_is_between_minus_one_and_one_and_adds_up(numbers):
    tree = duck_tree()
    paths: list[NodePath] = sorted(tree.nodes)
    values = dict.fromkeys(tree.nodes, NO_RESULT)
    values |= {path: NodeValue(n, 2) for path, n in zip(paths, numbers, strict=False)}
    progress = progress_values(tree, values)
    assert all(-1 <= one.value <= 1 for one in progress.values() if one.value is not None)
    for path in tree.nodes:
        if path and values[path].value is not None:
            whole = progress_over(tree, progress, ROOT, path).value
            gained = (values[path].value or 0) - (values[ROOT].value or 0)
            assert whole == pytest.approx(gained, abs=1e-8)


def test_the_progress_over_a_step_without_any_is_unknown():
    tree = duck_tree()
    progress = progress_values(tree, scored_values(tree, {A: 0.5, AB: 0.25}))
    assert progress_over(tree, progress, ROOT, AB) == NO_RESULT
    assert progress_over(tree, progress, A, AB).value == -0.25


def test_states_of_several_steps_have_the_progress_of_all_of_them():
    tree = duck_tree()
    values = estimate_values(tree)
    annotation = Annotation("states", {ROOT, AB})
    part, found = annotated_part(
        tree, progress_values(tree, values), annotation, Counter(),
        is_progress=True,
    )  # fmt: skip
    assert part.nodes[A].text == tree.steps_text(AB)
    assert found[A].value == pytest.approx((values[AB].value or 0) - (values[ROOT].value or 0))


def test_pairs_of_progress_are_those_of_the_values():
    tree = duck_tree()
    by_values = ValueSource()
    by_progress = ValueSource(is_progress=True)
    options = PairingOptions(pairing="all_pairs")
    pairs = [
        select_pairs(tree, source.values_of(tree, {}), options).pairs
        for source in (by_values, by_progress)
    ]
    sides = [[(one.chosen.path, one.rejected.path) for one in found] for found in pairs]
    assert sides[0] == sides[1] != []
    for one, other in zip(*pairs, strict=True):
        assert one.margin == pytest.approx(other.margin)


def test_a_source_of_progress_says_so_and_claims_no_shares():
    source = ValueSource(is_progress=True)
    tree = duck_tree()
    assert source.kind == source.name == "progress"
    assert ValueSource.from_dict(source.as_dict()) == source
    assert "is_progress" not in ValueSource().as_dict()
    assert source.evidence_of(tree, source.values_of(tree, {})) == {}
    assert has_confidence(source)
    of_scorer = ValueSource(scorer="helper", is_progress=True)
    assert of_scorer.kind == "progress:helper"
    assert ValueSource.from_dict(of_scorer.as_dict()) == of_scorer
    assert not has_confidence(of_scorer)
