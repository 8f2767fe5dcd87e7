"""Exports and pairs that keep what Monte Carlo values, a judge and people agree on."""

import json
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forests.core.opinions.verdicts import JUDGE, Verdict
from forests.core.tree import TreeNode, parse_path
from forests.models import Forest, Tree
from forests.storage.scores import start_scorer, write_scores
from preferences.core.consensus import Coverage
from preferences.core.value_sources import ValueSource
from preferences.models import Preference, PreferenceSet
from tests.forests.factories import RIGHT, WRONG, add_trees, leaf, make_forest, step, tree_of
from tests.forests.labelling import say

pytestmark = pytest.mark.django_db(transaction=True)

GOOD, LUCKY, BAD = (parse_path(name) for name in ("0.0", "0.1", "0.2"))
END_OF_GOOD, END_OF_LUCKY, END_OF_BAD = (*GOOD, 0), (*LUCKY, 0), (*BAD, 0)


@pytest.fixture
def forest() -> Forest:
    """A good step, a wrong step with a right answer by luck, and a wrong step with a wrong one."""
    tree = tree_of(
        step("0.0", "good\n", count=8), leaf("0.0.0", "#### 1", RIGHT, count=8, answer="1"),
        step("0.1", "lucky\n", count=8), leaf("0.1.0", "so #### 1", RIGHT, count=8, answer="1"),
        step("0.2", "bad\n", count=8), leaf("0.2.0", "#### 2", WRONG, count=8, answer="2"),
    )  # fmt: skip
    forest = add_trees(make_forest(), [tree])
    judge = start_scorer(forest, "judge", {}, JUDGE)
    scores = {
        GOOD: 1.0, END_OF_GOOD: 1.0,  # all right
        LUCKY: 0.0,  # the judge stops at the first wrong step
        BAD: 0.0,
    }  # fmt: skip
    write_scores(judge, {Tree.objects.get().id: scores})
    return forest


def exported(tmp_path: Path, format_name: str, *arguments: str) -> tuple[list[dict], dict]:
    out = tmp_path / format_name
    call_command(
        "export_preferences", "--forest_name", "ducks-test-first", "--format", format_name,
        "--container", "jsonl", "--output", str(out), *arguments,
    )  # fmt: skip
    rows = [json.loads(line) for line in (out / "jsonl" / "train.jsonl").read_text().splitlines()]
    return rows, json.loads((out / "manifest.json").read_text())


def test_solutions_are_kept_whose_every_step_has_the_same_label_from_all(forest, tmp_path, capsys):
    rows, manifest = exported(tmp_path, "trl_stepwise", "--agree", "mc,judge")

    assert {tuple(row["completions"]): tuple(row["labels"]) for row in rows} == {
        ("good\n", "#### 1"): (True, True),
        ("bad\n", "#### 2"): (False, False),
    }
    assert manifest["consensus"] == {
        "steps": 6, "compared": 6, "agreed": 4, "coverage": 1.0, "agreement": 4 / 6,
    }  # fmt: skip
    assert manifest["parameters"]["agree"] == ["judge"]
    said = capsys.readouterr().err
    assert "all sources have an opinion of 6 of 6 steps (100.0 %), and agree on 4 of these" in said


def test_a_right_answer_after_a_wrong_step_is_no_solution_without_an_error(forest, tmp_path):
    """Monte Carlo values miss the wrong step, the judge finds it; both together leave it out."""

    def labels(*arguments: str) -> dict[str, int]:
        name = f"{len(arguments)}"
        (tmp_path / name).mkdir()
        rows, _ = exported(tmp_path / name, "processbench", *arguments)
        return {row["steps"][0]: row["label"] for row in rows}

    assert labels() == {"good": -1, "lucky": -1, "bad": 0}
    assert labels("--values", "scorer:judge") == {"good": -1, "lucky": 0, "bad": 0}
    assert labels("--agree", "judge", "--seed", "1") == {"good": -1, "bad": 0}


def test_prm800k_rates_only_alternatives_on_which_all_agree(forest, tmp_path):
    rows, _ = exported(tmp_path, "prm800k", "--agree", "judge")

    [first, *_] = rows[0]["label"]["steps"]
    assert {one["text"]: one["rating"] for one in first["completions"]} == {
        "good": 1, "lucky": None, "bad": -1,
    }  # fmt: skip


def test_people_can_be_the_third_source(forest: Forest, tmp_path: Path):
    say(forest, 0, GOOD, "ann", Verdict.RIGHT, "")
    say(forest, 0, END_OF_GOOD, "ann", Verdict.RIGHT, "")

    rows, manifest = exported(tmp_path, "trl_stepwise", "--agree", "mc,judge,human")

    assert [row["completions"][0] for row in rows] == ["good\n"]
    assert (manifest["consensus"]["compared"], manifest["consensus"]["agreed"]) == (2, 2)


def pairs() -> set[tuple[str, str]]:
    return {(one.chosen, one.rejected) for one in Preference.objects.all()}


def create(*arguments: str) -> dict[str, Any]:
    call_command(
        "create_preferences", "--forest_name", "ducks-test-first", "--min_confidence", "0",
        "--pairing", "all_pairs", "--level", "step", *arguments,
    )  # fmt: skip
    dropped: dict[str, Any] = PreferenceSet.objects.latest("created_at").dropped
    return dropped


def test_pairs_are_kept_whose_chosen_side_every_source_prefers(forest: Forest):
    create()
    assert pairs() == {("good\n", "bad\n"), ("lucky\n", "bad\n")}
    Preference.objects.all().delete()

    dropped = create("--agree", "judge")

    assert pairs() == {("good\n", "bad\n")}
    assert dropped["pairs_on_which_sources_disagree"] == 1


def test_pairs_with_a_side_that_a_source_does_not_rate_are_told_with_the_remedy(
    forest: Forest, capsys
):
    scorer = start_scorer(forest, "two_solutions", {}, JUDGE)
    write_scores(scorer, {Tree.objects.get().id: {GOOD: 1.0, LUCKY: 0.0}})

    dropped = create("--agree", "two_solutions")

    assert pairs() == set()
    assert dropped["pairs_without_other_scores"] == 2
    assert "2 pairs left out because a source of --agree does not rate both sides: judge all " in (
        capsys.readouterr().err
    )


def test_a_scorer_and_monte_carlo_values_can_change_places(forest: Forest):
    dropped = create("--values", "scorer:judge", "--agree", "mc")

    assert pairs() == {("good\n", "bad\n")}
    assert dropped["pairs_on_which_sources_disagree"] == 1
    parameters = PreferenceSet.objects.get().parameters
    assert (parameters["scorer"], parameters["agree"]) == ("judge", ["mc"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--agree", "mc"], "--agree names only mc, which gives the values"),
        (["--agree", "nobody"], "has no scorer 'nobody', it has judge"),
        (["--values", "scorer:judge", "--agree", "judge"], "--agree names only judge"),
        (["--agree", "judge,"], "'judge,' is not allowed: give names, such as mc,judge"),
    ],
)
def test_sources_that_cannot_agree_are_refused(forest: Forest, arguments, message):
    with pytest.raises(CommandError, match=message):
        create(*arguments)
    assert not PreferenceSet.objects.exists()


def test_an_export_of_pairs_has_what_its_set_kept(forest: Forest, tmp_path: Path):
    create("--agree", "judge")

    rows, manifest = exported(tmp_path, "trl", "--single_steps")

    assert len(rows) == 1
    assert "consensus" not in manifest
    with pytest.raises(CommandError, match="says which sources agree on its pairs"):
        exported(tmp_path, "trl_unpaired", "--agree", "judge")


def test_a_set_without_other_sources_keeps_its_name(forest: Forest):
    create()

    assert "agree" not in PreferenceSet.objects.get().parameters


def test_a_set_is_refused_when_earlier_labels_of_its_scorer_have_changed(forest: Forest):
    say(forest, 0, GOOD, "ann", Verdict.RIGHT)
    say(forest, 0, BAD, "ann", Verdict.WRONG)
    create("--values", "scorer:human", "--set_name", "s")
    assert pairs() == {("good\n", "bad\n")}
    create("--values", "scorer:human", "--set_name", "s")  # nothing has changed

    say(forest, 0, GOOD, "ann", Verdict.WRONG)
    say(forest, 0, BAD, "ann", Verdict.RIGHT)

    with pytest.raises(CommandError, match="made before scores of 'human' changed: --replace"):
        create("--values", "scorer:human", "--set_name", "s")
    create("--values", "scorer:human", "--set_name", "s", "--replace")
    assert pairs() == {("bad\n", "good\n")}


def test_a_neutral_step_is_no_error_and_a_wrong_answer_needs_one(tmp_path: Path):
    tree = tree_of(
        step("0.0", "first\n", count=2), leaf("0.0.0", "#### 1", RIGHT, answer="1"),
        leaf("0.0.1", "#### 2", WRONG, answer="2"),
    )  # fmt: skip
    forest = add_trees(make_forest(), [tree])
    neutral = {GOOD: 0.5, END_OF_GOOD: 1.0, (*GOOD, 1): 1.0}
    write_scores(start_scorer(forest, "judge", {}, JUDGE), {Tree.objects.get().id: neutral})

    rows, manifest = exported(tmp_path, "processbench", "--values", "scorer:judge")

    assert [(row["label"], row["final_answer_correct"]) for row in rows] == [(-1, True)]
    assert manifest["left_out"] == {"solutions_without_first_error": 1}


def test_what_sources_say_after_the_agreed_first_error_does_not_matter_where_it_is_cut(
    tmp_path: Path,
):
    tree = tree_of(
        step("0.1", "wrong\n", count=2), step("0.1.0", "worse\n", count=2),
        leaf("0.1.0.0", "#### 2", WRONG, count=2, answer="2"), step("0.0", "other\n"),
    )  # fmt: skip
    forest = add_trees(make_forest(), [tree])
    judge = start_scorer(forest, "judge", {}, JUDGE)
    write_scores(judge, {Tree.objects.get().id: {LUCKY: 0.0, END_OF_LUCKY: 1.0}})

    rows, _ = exported(tmp_path, "trl_stepwise", "--agree", "judge", "--cut_at_first_error")

    assert [row["completions"] for row in rows] == [["wrong\n"]]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.integers(0, 10**6))
def test_whatever_a_scorer_says_the_evidence_of_what_is_kept_is_that_of_all_samples(seed: int):
    chance = Random(seed)
    nodes = []
    for path in product(range(2), repeat=4):
        nodes += [
            TreeNode(path[:depth], text=f"step {depth}", count=2 ** (4 - depth))
            for depth in (1, 2, 3)
            if not any(path[depth:])
        ]
        grade = RIGHT if chance.random() < 0.5 else WRONG
        nodes.append(TreeNode(path, text="end", terminal=True, grade=grade))
    tree = tree_of(*nodes)
    scores = {"judge": {node.path: chance.choice([0.0, 0.5, 1.0]) for node in tree if node.path}}
    source, alone = ValueSource(agree=("judge",)), ValueSource()

    values = source.agreed_values_of(tree, scores, lambda value: value > 0, Coverage())
    known = source.known_evidence(tree, scores, values)

    whole = alone.evidence_of(tree, alone.values_of(tree, {}))
    assert known == {path: whole[path] for path, one in values.items() if one.value is not None}


def test_two_sources_keep_the_same_steps_whichever_of_them_gives_the_values():
    tree = tree_of(step("0.0", "a", count=4), leaf("0.0.0", "b", RIGHT), leaf("0.0.1", "c", WRONG))
    scores = {"judge": {GOOD: 1.0, END_OF_GOOD: 1.0, (*GOOD, 1): 1 / 3}}

    def kept(source: ValueSource, threshold: float) -> set:
        values = source.agreed_values_of(tree, scores, lambda one: one > threshold, Coverage())
        return {path for path, one in values.items() if path and one.value is not None}

    ours = kept(ValueSource(agree=("judge",)), 0.0)
    assert ours == {GOOD, END_OF_GOOD, (*GOOD, 1)}
    assert kept(ValueSource(scorer="judge", agree=("mc",)), 0.5) == ours
