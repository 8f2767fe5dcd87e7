"""Filters of trees in create_preferences, export_preferences and beam_search."""

import json
from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from forests.models import Forest
from preferences.models import Preference
from tests.preferences.conftest import MakeForest
from tests.preferences.trees import RIGHT, WRONG, tree_of

pytestmark = pytest.mark.django_db


def leaves(right: int, wrong: int):
    return tree_of({"0.0": ("so 5", RIGHT, right), "0.1": ("so 6", WRONG, wrong)})


@pytest.fixture
def graded(make_forest: MakeForest) -> Forest:
    """Return a forest with the pass rates 0.1, 0.2, 0.5 and 0.9."""
    return make_forest(trees=[leaves(1, 9), leaves(1, 4), leaves(2, 2), leaves(9, 1)])


def run(command: str, forest: Forest, *arguments: object) -> tuple[dict, str]:
    out, err = StringIO(), StringIO()
    words = ["--forest_name", forest.name, "--json", *map(str, arguments)]
    call_command(command, *words, stdout=out, stderr=err)
    return json.loads(out.getvalue()), err.getvalue()


@pytest.mark.parametrize(
    ("words", "trees", "reason"),
    [
        (("--pass_rate", "0.2,0.8"), {1, 2}, "trees_outside_pass_rate"),
        (("--only_majority_wrong",), {0, 1}, "trees_whose_majority_is_not_wrong"),
    ],
)
def test_pairs_are_made_of_the_wanted_trees(graded, words, trees, reason):
    shown, _ = run("create_preferences", graded, *words)

    assert {one.tree_index for one in Preference.objects.all()} == trees
    assert shown["dropped"][reason] == 2
    assert shown["num_trees_used"] == 2
    assert run("create_preferences", graded, *words)[0]["num_pairs"] == 2


def test_a_set_with_a_filter_has_another_name(graded):
    names = {
        run("create_preferences", graded, *words)[0]["set_name"]
        for words in ((), ("--pass_rate", "0.2,0.8"), ("--only_majority_wrong",))
    }
    assert len(names) == 3


@pytest.mark.parametrize("name", ["trl", "trl_stepwise"])
def test_an_export_has_the_rows_of_the_wanted_trees(graded, name, tmp_path):
    run("create_preferences", graded)

    manifest, _ = run(
        "export_preferences", graded, "--format", name, "--pass_rate", "0.2,0.8",
        "--output", tmp_path / "out",
    )  # fmt: skip

    assert manifest["left_out"]["trees_outside_pass_rate"] == 2
    assert manifest["parameters"]["pass_rate"] == [0.2, 0.8]
    assert manifest["rows"]["train"] == (2 if name == "trl" else 4)


def test_a_search_uses_the_wanted_trees_and_keeps_its_run_apart(graded, reader):
    whole, _ = run("beam_search", graded)
    shown, _ = run("beam_search", graded, "--pass_rate", "0.2,0.8")

    assert shown["trees"] == {"total": 4, "used": 2, "left_out": {"trees_outside_pass_rate": 2}}
    assert shown["parameters"]["pass_rate"] == [0.2, 0.8]
    assert whole["trees"]["used"] == 4
    page = reader.get(f"/{graded.name}/metrics/").content.decode()
    assert page.count("Only trees with a pass rate</dt><dd>from 0.2 to 0.8") == 1


@pytest.mark.parametrize("wrong", ["0.8,0.2", "0.2", "a,b", "-0.1,1", "0,1.1", "nan,1", "0,1,1"])
@pytest.mark.parametrize("command", ["create_preferences", "beam_search"])
def test_a_range_that_is_none_is_refused(graded, command, wrong):
    with pytest.raises(CommandError, match="give two numbers from 0 to 1, the lower one first"):
        call_command(command, "--forest_name", graded.name, f"--pass_rate={wrong}")
