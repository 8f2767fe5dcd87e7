"""Confidence of the pairs of a set: stored, filtered, reported, and kept by the set."""

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from forests.core.naming import tree_id
from forests.core.tree import NodePath
from forests.models import Forest, Tree, TreeStatus
from forests.storage.scores import start_scorer, write_scores
from preferences.core.confidence import USUAL_CONFIDENCE
from preferences.models import Preference, PreferenceSet
from preferences.sets.creation import SetParameters, create_preferences
from tests.preferences.conftest import MakeForest
from tests.preferences.trees import RIGHT, WRONG, tree_of

pytestmark = pytest.mark.django_db


def run(forest: Forest, *arguments: object) -> tuple[dict[str, Any], str]:
    """Return what the command said as JSON, and what it wrote to stderr."""
    out, err = StringIO(), StringIO()
    words = ["--forest_name", forest.name, "--json", *map(str, arguments)]
    call_command("create_preferences", *words, stdout=out, stderr=err)
    return json.loads(out.getvalue()), err.getvalue()


def split_tree():
    """Return a tree with a step that is always right, and one that is always wrong."""
    return tree_of(
        {
            "0.0": ("good", None),
            "0.1": ("bad", None),
            "0.0.0": ("so 5", RIGHT, 16),
            "0.1.0": ("so 6", WRONG, 16),
        }
    )


def even_tree():
    """Return a tree with two steps, right in 3 and in 2 of 5 samples."""
    return tree_of(
        {
            "0.0": ("one", None),
            "0.1": ("other", None),
            "0.0.0": ("so 5", RIGHT, 3),
            "0.0.1": ("so 6", WRONG, 2),
            "0.1.0": ("so 5", RIGHT, 2),
            "0.1.1": ("so 6", WRONG, 3),
        }
    )


@pytest.fixture
def mixed(make_forest: MakeForest) -> Forest:
    return make_forest(trees=[split_tree(), split_tree(), split_tree(), even_tree()])


def test_unsure_pairs_are_left_out_and_the_command_says_what_to_do(mixed):
    shown, err = run(mixed)

    assert shown["parameters"]["min_confidence"] == USUAL_CONFIDENCE
    assert shown["dropped"]["pairs_below_min_confidence"] == 1
    assert {one.tree_index for one in Preference.objects.filter(depth=0)} == {0, 1, 2}
    assert "1 pair left out because it is not sure enough which side is better" in err
    assert "draw more samples of each step" in err


def test_every_pair_carries_its_confidence(mixed):
    run(mixed, "--min_confidence", 0)

    by_tree = {one.tree_index: one.confidence for one in Preference.objects.filter(depth=0)}
    assert (by_tree[0] or 0) > 0.9
    assert 0 < (by_tree[3] or 0) < USUAL_CONFIDENCE


def test_without_a_least_confidence_a_set_keeps_its_earlier_name_and_parameters(mixed):
    shown, err = run(mixed, "--min_confidence", 0)

    assert shown["set_name"] == SetParameters().default_name
    assert "min_confidence" not in shown["parameters"]
    assert err == ""


def test_whole_solutions_are_right_or_wrong_for_certain(mixed):
    run(mixed, "--level", "trajectory")
    assert {one.confidence for one in Preference.objects.all()} == {1.0}


def test_scores_have_no_samples_so_their_pairs_stay_and_are_unknown(mixed):
    scorer = start_scorer(mixed, "judge", {})
    scores: dict[str, dict[NodePath, float]] = {tree_id(mixed.name, 0): {(0,): 0.6, (1,): 0.5}}
    write_scores(scorer, scores)

    for words in ((), ("--min_confidence", 0.9)):
        shown, err = run(mixed, "--values", "scorer:judge", *words)
        assert shown["num_pairs"] == 1
        assert "--min_confidence does not apply" in err
        assert (
            Preference.objects.filter(preference_set_id=f"{mixed.name}/{shown['set_name']}")[
                0
            ].confidence
            is None
        )


def test_hard_values_are_no_shares_so_their_pairs_are_unknown(mixed):
    shown, err = run(mixed, "--estimator", "any", "--pairing", "all_pairs")
    assert shown["num_pairs"] == 5
    assert "confidence of these pairs is unknown" in err
    assert {one.confidence for one in Preference.objects.all()} == {None}


def test_an_interrupted_set_continues_with_the_same_prior(mixed):
    run(mixed, "--set_name", "whole")
    expected = [(one.tree_index, one.confidence) for one in _pairs(mixed, "whole")]
    run(mixed, "--set_name", "cut")
    stored = PreferenceSet.objects.get(name="cut")
    Preference.objects.filter(preference_set_id=stored.id, tree_index__gte=1).delete()
    PreferenceSet.objects.filter(pk=stored.pk).update(is_complete=False, next_tree=1, num_pairs=1)

    run(mixed, "--set_name", "cut")

    assert [(one.tree_index, one.confidence) for one in _pairs(mixed, "cut")] == expected
    assert PreferenceSet.objects.get(name="cut").prior == stored.prior


def test_a_set_keeps_its_prior_when_it_gains_trees_until_it_is_replaced(make_forest):
    forest = make_forest(trees=[split_tree() for _ in range(8)], incomplete=range(2, 8))
    run(forest)
    early = PreferenceSet.objects.get()
    Tree.objects.filter(forest_id=forest.name).update(status=TreeStatus.COMPLETE)
    Forest.objects.filter(pk=forest.name).update(num_complete=8)

    _, err = run(forest)

    assert PreferenceSet.objects.get().prior == early.prior
    assert "follow from the 2 trees that were complete when the set was made: --replace" in err
    _, err = run(forest, "--replace")
    assert PreferenceSet.objects.get().prior != early.prior
    assert "follow from" not in err


def test_pairs_of_an_earlier_release_stay_unknown_until_the_set_is_replaced(mixed):
    create_preferences(mixed, SetParameters().default_name, SetParameters(), lambda _: None)
    PreferenceSet.objects.update(prior=None)
    Preference.objects.update(confidence=None)

    _, err = run(mixed, "--min_confidence", 0)

    assert "an earlier release made the set; --replace it" in err
    run(mixed, "--min_confidence", 0, "--replace")
    assert all(one.confidence is not None for one in Preference.objects.all())


@pytest.mark.parametrize("wrong", ["-0.1", "1.1", "nan"])
def test_a_confidence_is_a_number_from_0_to_1(mixed, wrong):
    with pytest.raises(CommandError, match="min_confidence must be a number from 0 to 1") as caught:
        run(mixed, "--min_confidence", wrong)
    assert caught.value.returncode == 2
    assert not PreferenceSet.objects.exists()


def _pairs(forest: Forest, name: str) -> list[Preference]:
    found = Preference.objects.filter(preference_set_id=f"{forest.name}/{name}")
    return sorted(found, key=lambda one: (one.tree_index, one.number))
