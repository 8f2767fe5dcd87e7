"""Pairs and labels by the progress that steps make."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from common.errors import UserError
from forests.core.naming import path_of_node
from forests.core.opinions.disagreements import GRADED_LEAVES
from forests.core.opinions.verdicts import PROVER
from forests.core.tree import ROOT, NodePath, parse_path
from forests.labels.disagreeing import read_largest, update_disagreements
from forests.models import Forest, Tree
from forests.storage.scores import start_scorer, write_scores
from preferences.models import Preference, PreferenceSet
from tests.forests.factories import RIGHT, WRONG, add_trees, leaf, make_forest, step, tree_of

pytestmark = pytest.mark.django_db

GOOD, SAME, BAD = (parse_path(name) for name in ("0.0", "0.1", "0.2"))
PROVEN = {
    ROOT: 0.25, GOOD: 0.75, (*GOOD, 0): 1.0, (*GOOD, 1): 0.0,
    SAME: 0.25, (*SAME, 0): 1.0, (*SAME, 1): 0.0, BAD: 0.0, (*BAD, 0): 0.0,
}  # fmt: skip


@pytest.fixture
def forest() -> Forest:
    """The value of the prompt is 1/2. One step makes it 3/4, one keeps it, and one makes it 0."""
    tree = tree_of(
        step("0.0", "good\n", count=8),
        leaf("0.0.0", "#### 1", RIGHT, count=6, answer="1"),
        leaf("0.0.1", "#### 2", WRONG, count=2, answer="2"),
        step("0.1", "same\n", count=8),
        leaf("0.1.0", "so #### 1", RIGHT, count=4, answer="1"),
        leaf("0.1.1", "so #### 2", WRONG, count=4, answer="2"),
        step("0.2", "bad\n", count=4),
        leaf("0.2.0", "#### 3", WRONG, count=4, answer="3"),
    )
    forest = add_trees(make_forest(), [tree])
    prover = start_scorer(forest, "helper", {}, PROVER)
    write_scores(prover, {Tree.objects.get().id: PROVEN})
    return forest


def create(forest: Forest, *arguments: str) -> dict[str, Any]:
    out = StringIO()
    words = ["--forest_name", forest.name, *arguments, "--json"]
    call_command("create_preferences", *words, stdout=out, stderr=StringIO())
    told: dict[str, Any] = json.loads(out.getvalue())
    return told


def exported(out: Path, format_name: str, *arguments: str) -> tuple[list[dict[str, Any]], Any]:
    call_command(
        "export_preferences", "--forest_name", "ducks-test-first", "--format", format_name,
        "--container", "jsonl", "--output", str(out), *arguments,
        stdout=StringIO(), stderr=StringIO(),
    )  # fmt: skip
    rows = [json.loads(line) for line in (out / "jsonl" / "train.jsonl").read_text().splitlines()]
    return rows, json.loads((out / "manifest.json").read_text())


def first_labels(rows: list[dict[str, Any]], column: str) -> dict[str, Any]:
    return {row["completions"][0].strip(): row[column][0] for row in rows}


def test_a_step_is_good_if_it_makes_progress(forest, tmp_path):
    rows, manifest = exported(tmp_path / "a", "trl_stepwise", "--values", "progress")
    assert first_labels(rows, "labels") == {"good": True, "same": False, "bad": False}
    assert manifest["parameters"]["label_threshold"] == 0
    assert manifest["parameters"]["is_progress"] is True
    assert "what it adds to that of its prefix" in (tmp_path / "a" / "README.md").read_text()
    loose = ("--values", "progress", "--label_threshold", "-0.1")
    rows, _ = exported(tmp_path / "b", "trl_stepwise", *loose)
    assert first_labels(rows, "labels") == {"good": True, "same": True, "bad": False}


def test_with_values_writes_the_progress_and_no_interval(forest, tmp_path):
    arguments = ("--values", "progress", "--with_values")
    rows, _ = exported(tmp_path / "a", "trl_stepwise", *arguments)
    assert first_labels(rows, "values") == {"good": 0.25, "same": 0.0, "bad": -0.5}
    assert first_labels(rows, "n") == {"good": 8, "same": 8, "bad": 4}
    assert {bound for row in rows for bound in (*row["low"], *row["high"])} == {None}


def test_progress_by_the_scores_of_a_prover(forest, tmp_path):
    arguments = ("--values", "progress:helper", "--with_values")
    rows, manifest = exported(tmp_path / "a", "trl_stepwise", *arguments)
    assert first_labels(rows, "values") == {"good": 0.5, "same": 0.0, "bad": -0.25}
    assert first_labels(rows, "labels") == {"good": True, "same": False, "bad": False}
    assert manifest["parameters"]["scorer"] == "helper"


def test_prm800k_rates_by_the_sign(forest, tmp_path):
    [row], _ = exported(tmp_path / "a", "prm800k", "--values", "progress")
    first = row["label"]["steps"][0]
    ratings = {one["text"]: one["rating"] for one in first["completions"]}
    assert ratings == {"good": 1, "same": 0, "bad": -1}
    assert first["completions"][first["chosen_completion"]]["text"] == "good"


def sides(name: str) -> dict[tuple[NodePath, NodePath], tuple[float, float, float | None]]:
    found = PreferenceSet.objects.get(name=name)
    return {
        (path_of_node(one.chosen_id), path_of_node(one.rejected_id)): (
            one.chosen_value, one.rejected_value, one.confidence,
        )
        for one in Preference.objects.filter(preference_set_id=found.pk)
    }  # fmt: skip


def test_pairs_have_progress_and_the_confidence_of_the_values_behind_it(forest):
    options = ("--pairing", "all_pairs", "--level", "step", "--min_confidence", "0")
    create(forest, *options, "--set_name", "values")
    told = create(forest, *options, "--set_name", "progress", "--values", "progress")
    values, progress = sides("values"), sides("progress")
    assert progress.keys() == values.keys() != set()
    assert progress[GOOD, BAD][:2] == (0.25, -0.5)
    for pair, (*_, confidence) in progress.items():
        assert confidence == values[pair][2]
        assert confidence is not None
    assert told["parameters"]["is_progress"] is True

    create(forest, *options, "--set_name", "prover", "--values", "progress:helper")
    assert sides("prover")[GOOD, BAD] == (0.5, -0.25, None)


def test_sets_are_found_by_their_values(forest, tmp_path):
    options = ("--level", "step", "--min_confidence", "0")
    create(forest, *options, "--set_name", "values")
    create(forest, *options, "--set_name", "progress", "--values", "progress")
    arguments = ("--values", "progress", "--with_values", "--single_steps")
    rows, manifest = exported(tmp_path / "a", "trl", *arguments)
    assert manifest["preference_set"]["name"] == "progress"
    assert (-0.5, 0.25) in {(row["rejected_value"], row["chosen_value"]) for row in rows}
    rows, _ = exported(tmp_path / "b", "trl_unpaired", "--set", "progress", "--single_steps")
    assert {row["completion"]: row["label"] for row in rows}["good\n"] is True
    with pytest.raises(CommandError, match="has values of progress: leave --values out"):
        exported(tmp_path / "c", "trl", "--set", "progress", "--values", "labels")


@pytest.mark.parametrize("name", ["progress", "progress:helper"])
@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("create", ["--level", "trajectory"], "whole solutions make no progress"),
        ("export", ["--format", "processbench"], "--format processbench looks for the first error"),
        (
            "export",
            ["--format", "trl_stepwise", "--cut_at_first_error"],
            "--cut_at_first_error looks for the first error",
        ),
    ],
)
def test_what_progress_cannot_say_is_refused_in_one_line(
    forest, tmp_path, name, command, arguments, message
):
    words = [f"{command}_preferences", "--forest_name", forest.name, "--values", name, *arguments]
    if command == "export":
        words += ["--output", str(tmp_path / "a")]
    with pytest.raises(CommandError, match=message) as raised:
        call_command(*words)
    assert "\n" not in str(raised.value)
    assert not PreferenceSet.objects.exists()
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--values", "progress", "--estimator", "any"], "no step has progress above 0"),
        (["--values", "progress:"], "'progress:' is not allowed: give labels, or scorer:NAME"),
        (["--values", "gain"], "'gain' is not allowed"),
        (["--values", "progress:absent"], "has no scorer 'absent'"),
        (["--values", "progress:helper", "--estimator", "leaf_mean"], "values progress:helper"),
    ],
)
def test_values_that_cannot_be(forest, arguments, message):
    with pytest.raises((CommandError, UserError), match=message):
        create(forest, *arguments)


def test_a_prover_disagrees_with_nobody(forest):
    update_disagreements(forest)
    assert read_largest(forest, 10) == []
    write_scores(start_scorer(forest, "critic", {}, "judge"), {Tree.objects.get().id: {GOOD: 0.0}})
    update_disagreements(forest)
    found = read_largest(forest, 10)
    assert {(one.one, one.other) for _, one in found} == {("critic", GRADED_LEAVES)}
