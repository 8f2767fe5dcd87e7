"""Judging a scorer on a forest in a real database, and its page."""

import csv
import io
import json
from datetime import UTC, datetime
from random import Random

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from forests.core.values import estimate_values
from forests.models import Forest, TreeStatus
from forests.storage.scores import start_scorer, write_scores
from forests.storage.trees import delete_forest, iter_trees
from metrics.measuring.forests import runs_of
from metrics.models import ScorerReport
from tests.forests.factories import add_trees, make_forest, open_tree
from tests.metrics.trees import coin_tree

pytestmark = pytest.mark.django_db

NAME = "ducks-test-first"


@pytest.fixture
def forest(db) -> Forest:
    forest = add_trees(make_forest(NAME), [coin_tree(Random(n), (3, 2, 2)) for n in range(12)])
    return add_trees(forest, [open_tree()], status=TreeStatus.GROWING)


def score_by(forest: Forest, name: str, score) -> None:
    """Store what `score` gives for the Monte Carlo value of each node."""
    scorer = start_scorer(forest, name, {"model": name})
    for stored in iter_trees(forest, range(12)):
        values = estimate_values(stored.tree)
        scores = {path: score(one.value) for path, one in values.items() if path}
        write_scores(scorer, {stored.id: scores})


def judged(capsys, scorer: str, *arguments: str) -> str:
    call_command("evaluate_scorer", "--forest_name", NAME, "--scorer", scorer, *arguments)
    return str(capsys.readouterr().out)


def test_a_scorer_that_knows_the_monte_carlo_values_does_as_well_as_the_oracle(forest, capsys):
    score_by(forest, "perfect", lambda value: value)
    found = json.loads(judged(capsys, "perfect", "--num_beam_values", "1,4", "--json"))
    assert found["quality"]["auroc"]["value"] == 1.0
    assert found["quality"]["first_error"]["f1"]["value"] == 1.0
    assert (found["num_trees"], found["num_trees_used"]) == (13, 12)
    by_score, by_value = found["searches"]["prm"], found["searches"]["labelled"]
    assert by_score == by_value
    [best] = [
        row for row in by_score
        if (row["procedure"], row["metric"], row["k"]) == ("best_of_n", "accuracy", 4)
    ]  # fmt: skip
    [majority] = [row for row in by_score if (row["metric"], row["k"]) == ("majority", 4)]
    assert best["gain"] == pytest.approx(best["value"] - majority["value"])
    assert best["gain_low"] > 0


def test_a_turned_scorer_loses_against_a_majority_vote_and_says_so(forest, capsys):
    score_by(forest, "turned", lambda value: 1 - value)
    out = judged(capsys, "turned", "--num_beam_values", "4", "--procedures", "best_of_n")
    lines = [" ".join(line.replace("│", " ").split()) for line in out.splitlines()]
    assert any(line.startswith("AUROC of steps 0.000 (0.000-0.000)") for line in lines)
    [mine] = [line for line in lines if line.startswith("scorer best of N mean 4")]
    assert " -" in mine
    assert any(line.startswith("oracle (Monte Carlo) best of N mean 4 ") for line in lines)


def test_csv_and_markdown_have_the_numbers(forest, capsys):
    score_by(forest, "perfect", lambda value: value)
    rows = list(csv.DictReader(io.StringIO(judged(capsys, "perfect", "--print_as", "csv"))))
    assert {row["values"] for row in rows} == {"prm", "labelled", "random"}
    assert "| AUROC of steps | 1.000 (1.000-1.000) |" in judged(
        capsys, "perfect", "--print_as", "md"
    )


def test_the_page_shows_the_report_with_pictures_until_the_forest_goes(forest, capsys, client):
    client.force_login(User.objects.create_superuser("reader"))
    score_by(forest, "perfect", lambda value: value)
    judged(capsys, "perfect", "--label_threshold", "0.25")
    html = client.get(f"/{NAME}/metrics/").content.decode()
    assert "AUROC of steps" in html
    assert (
        f"python manage.py evaluate_scorer --forest_name {NAME} --scorer perfect "
        "--num_beam_values 1,2,4,8 --aggregation mean --procedures best_of_n,beam "
        "--estimator leaf_mean --label_threshold 0.25"
    ) in html
    for picture in ("accuracy", "roc", "calibration"):
        address = f"/{NAME}/metrics/scorers/perfect/{picture}.svg"
        assert address in html
        assert client.get(address).content.startswith(b"<?xml")
    assert client.get(f"/{NAME}/metrics/scorers/perfect/nothing.svg").status_code == 404
    assert "before the forest was regraded" not in html
    Forest.objects.filter(pk=NAME).update(graded_at=datetime.now(UTC))
    assert "before the forest was regraded" in client.get(f"/{NAME}/metrics/").content.decode()
    delete_forest(Forest.objects.get(pk=NAME))
    assert not ScorerReport.objects.exists()


def test_prm_values_are_the_scores_of_the_scorer_that_is_named(forest, capsys):
    score_by(forest, "perfect", lambda value: value)
    words = ["--forest_name", NAME, "--value_function_option"]
    call_command("beam_search", *words, "prm", "--scorer", "perfect")
    call_command("beam_search", *words, "labelled")
    by_label, by_score = runs_of(forest)
    assert by_score.rows == by_label.rows
    assert by_score.parameters["scorer"] == "perfect"


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("evaluate_scorer", ["--scorer", "none"], "has no scorer 'none', it has perfect"),
        ("evaluate_scorer", ["--scorer", "empty"], "has no scorer 'empty'"),
        ("beam_search", ["--value_function_option", "prm"], "prm and --scorer go together"),
        ("beam_search", ["--scorer", "perfect"], "prm and --scorer go together"),
        (
            "evaluate_scorer",
            ["--scorer", "perfect", "--label_threshold", "1"],
            "'1' is not allowed: give a number from 0 to below 1",
        ),
    ],
)
def test_bad_input_is_one_line(forest, command, arguments, message):
    score_by(forest, "perfect", lambda value: value)
    with pytest.raises(CommandError, match=message):
        call_command(command, "--forest_name", NAME, *arguments)


def test_a_scorer_whose_trees_have_no_scores_yet_is_refused(forest):
    start_scorer(forest, "empty", {})
    with pytest.raises(CommandError, match=r"no complete tree .* has scores of 'empty'"):
        call_command("evaluate_scorer", "--forest_name", NAME, "--scorer", "empty")
