import json
from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from forests.models import Forest
from preferences.models import Preference
from tests.preferences.trees import RIGHT, tree_of

pytestmark = pytest.mark.django_db


def run(*arguments: str, min_confidence: str | None = "0") -> tuple[str, str]:
    """Return what the command wrote to stdout and to stderr.

    The forests here are too small for sure pairs, so all are kept unless a test says otherwise.
    """
    out, err = StringIO(), StringIO()
    if min_confidence is not None:
        arguments = (*arguments, "--min_confidence", min_confidence)
    call_command("create_preferences", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_the_command_prints_the_name_and_the_counts(forest):
    out, err = run("--forest_name", forest.name, "--min_margin", "0.6", "--set_name", "mine")
    assert out.startswith(
        "forest_name: sums-test-first\nset_name: mine\nnum_pairs: 12\nmean_margin: 1.000\n"
    )
    assert "pairs with a margin below --min_margin" in out
    assert err == ""
    assert Preference.objects.count() == 12


def test_json_has_the_parameters_and_what_was_left_out(forest):
    out, _ = run("--forest_name", forest.name, "--min_leaves", "2", "--json")
    shown = json.loads(out)
    assert shown["num_pairs"] == 6
    assert shown["dropped"]["nodes_with_too_few_leaves"] == 12 * 1
    assert shown["parameters"]["min_leaves"] == 2
    assert shown["set_name"].startswith("best_vs_worst-")


def test_trees_that_are_missing_are_mentioned(make_forest):
    forest = make_forest(incomplete=[2])
    _, err = run("--forest_name", forest.name)
    assert err.startswith("1 of 6 trees are not complete and were left out")


def test_no_pair_is_said_plainly_and_is_no_failure(make_forest):
    forest = make_forest(trees=[tree_of({"0.0": ("5", RIGHT), "0.1": ("five", RIGHT)})])
    out, err = run("--forest_name", forest.name)
    assert "num_pairs: 0\nmean_margin: none\n" in out
    assert "pairs with equal values" in out
    assert err.startswith("no pair was found")


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["--forest_name", "nope"], "no forest named 'nope'; known: sums-test-first", 1),
        (["--forest_name", "sums-test-first", "--min_margin", "2"], "min_margin must be", 2),
        (["--forest_name", "sums-test-first", "--set_name", "A b"], "set name 'A b' cannot", 1),
    ],
)
def test_wrong_input_is_one_line_and_a_code(forest, arguments, message, code):
    with pytest.raises(CommandError, match=message) as caught:
        run(*arguments)
    assert caught.value.returncode == code
    assert "\n" not in str(caught.value)


def test_a_forest_without_a_complete_tree_is_refused_with_what_to_do(make_forest):
    forest = make_forest(incomplete=range(6))
    with pytest.raises(
        CommandError, match="no complete tree: run rollout_worker or populate_forest first"
    ):
        run("--forest_name", forest.name)


def test_a_forest_that_is_partly_seeded_is_refused(forest):
    Forest.objects.filter(pk=forest.name).update(is_seeded=False)
    with pytest.raises(CommandError, match="only partly seeded"):
        run("--forest_name", forest.name)


def test_another_set_under_the_same_name_needs_to_be_asked_for(forest):
    run("--forest_name", forest.name, "--set_name", "mine")
    other = ("--forest_name", forest.name, "--set_name", "mine", "--seed", "1")
    with pytest.raises(CommandError, match=r"seed is 0, not 1.*: choose another --set_name"):
        run(*other)
    out, err = run(*other, "--replace")
    assert err == "deleted preference set mine with 18 pairs\n"
    assert "num_pairs: 18" in out
    assert Preference.objects.count() == 18
