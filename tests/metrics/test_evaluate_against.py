"""A scorer compared with labels, by the definitions of AgentProcessBench and ProcessBench."""

import json
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from benchmarks.agent_process_bench import main as convert
from forests.core.tree import parse_path
from forests.models import Forest
from forests.storage.scores import start_scorer, write_scores
from metrics.models import ScorerReport
from tests.forests.factories import (
    RIGHT,
    WRONG,
    add_trees,
    duck_tree,
    leaf,
    make_forest,
    step,
    tree_of,
)

pytestmark = pytest.mark.django_db

NAME = "ducks-test-first"
FAST = ["--procedures", "best_of_n", "--num_beam_values", "1"]


def line_of(grade):
    return tree_of(step("0.0", "A.\n"), step("0.0.0", "B.\n"), leaf("0.0.0.0", "C.", grade))  # noqa: S104


@pytest.fixture
def forest(db) -> Forest:
    return add_trees(make_forest(NAME), [line_of(RIGHT), line_of(WRONG), line_of(RIGHT)])


def label(forest: Forest, name: str, kind: str, *trees: list[float | None]) -> None:
    """Store scores along the only path of each tree; None: no score."""
    scorer = start_scorer(forest, name, {}, kind)
    for index, scores in enumerate(trees):
        found = {(0,) * (n + 1): one for n, one in enumerate(scores) if one is not None}
        if found:
            write_scores(scorer, {f"{forest.name}/{index:07d}": found})


def evaluate(capsys, *arguments: str) -> dict:
    words = ["--forest_name", NAME, "--scorer", "critic", "--against", "people", "--json"]
    call_command("evaluate_scorer", *words, *FAST, *arguments)
    quality: dict = json.loads(capsys.readouterr().out)["quality"]
    return quality


def test_step_acc_and_first_err_acc_on_three_classes(forest, capsys):
    label(forest, "people", "human", [1, 0.5, 1], [1, 0, 0], [0.5, 1, 0])
    label(forest, "critic", "judge", [1, 0, 1], [1, 0, 1], [0.5, 1, 0])
    found = evaluate(capsys)["agreement"]
    assert found["step_acc"]["value"] == 7 / 9
    assert found["first_err_acc"]["value"] == 2 / 3
    assert found["step_acc"]["low"] <= 7 / 9 <= found["step_acc"]["high"]
    assert (found["steps"], found["solutions"]) == (9, 3)


def test_missing_verdicts_count_as_in_agent_process_bench_and_are_told(forest, capsys):
    label(forest, "people", "human", [1, 1, 1], [1, 0, 0], [1, 1, 1])
    label(forest, "critic", "judge", [1, None, 1], [], [])
    quality = evaluate(capsys)
    found = quality["agreement"]
    assert found["step_acc"]["value"] == 2 / 9  # a step without a verdict does not agree
    assert found["first_err_acc"]["value"] == 2 / 3  # and does not count as an error
    assert (found["steps_without_score"], found["solutions_without_score"]) == (7, 2)
    errors = quality["first_error"]  # for ProcessBench an unjudged solution is a miss
    assert (errors["wrong"]["value"], errors["right"]["value"]) == (0, 0)


def test_steps_that_the_reference_does_not_label_do_not_count(forest, capsys):
    label(forest, "people", "human", [1, None, 0], [None, 1, None])
    label(forest, "critic", "judge", [1, 0, 0], [1, 1, 1], [0, 0, 0])
    found = evaluate(capsys)["agreement"]
    assert (found["steps"], found["step_acc"]["value"]) == (3, 1.0)
    # The critic finds an error in a step that the reference leaves out: another first error.
    assert (found["solutions"], found["first_err_acc"]["value"]) == (2, 1 / 2)


def test_first_errors_of_a_judge_need_no_threshold_and_no_later_steps(forest, capsys):
    label(forest, "people", "human", [1, 1, 1], [1, 0, 0], [1, 1, 0])
    label(forest, "critic", "judge", [1, 1, 1], [1, 0, None], [0, None, None])
    quality = evaluate(capsys)
    errors = quality["first_error"]
    assert errors["thresholds"] == [0.5]
    assert (errors["wrong"]["value"], errors["right"]["value"]) == (1 / 2, 1)
    assert errors["f1"]["value"] == pytest.approx(2 / 3)
    assert quality["auroc"]["value"] == pytest.approx((4 + 1 / 2) / 5)


def test_labels_of_shared_steps_judge_only_the_solutions_that_they_decide(capsys, db):
    forest = add_trees(make_forest(NAME), [duck_tree()])
    people = start_scorer(forest, "people", {}, "human")
    labels = {"0.0": 1.0, "0.0.0.0": 1.0, "0.1": 0.0}  # noqa: S104
    tree = f"{NAME}/0000000"
    write_scores(people, {tree: {parse_path(path): one for path, one in labels.items()}})
    critic = start_scorer(forest, "critic", {}, "judge")
    write_scores(critic, {tree: {parse_path("0.0"): 1.0, parse_path("0.1"): 0.0}})
    found = evaluate(capsys)["agreement"]
    # The labels decide one solution by its last step, three by the wrong step 0.1, and no other.
    assert (found["solutions"], found["first_err_acc"]["value"]) == (4, 1.0)
    assert (found["steps"], found["step_acc"]["value"]) == (3, 2 / 3)


def test_a_judge_is_measured_by_its_verdicts_against_monte_carlo_values_too(forest, capsys):
    label(forest, "critic", "judge", [1, 1, 1], [0, None, None], [1, 1, 1])
    call_command("evaluate_scorer", "--forest_name", NAME, "--scorer", "critic", "--json", *FAST)
    quality = json.loads(capsys.readouterr().out)["quality"]
    assert "agreement" not in quality
    assert quality["first_error"]["solutions"] == 3
    assert quality["first_error"]["f1"]["value"] == 1.0


def test_both_reports_are_kept_and_the_page_shows_them(forest, capsys, client):
    client.force_login(User.objects.create_superuser("reader"))
    label(forest, "people", "human", [1, 1, 1], [1, 0, 0], [1, 1, 1])
    label(forest, "critic", "judge", [1, 1, 1], [1, 0, 0], [1, 1, 1])
    evaluate(capsys)
    call_command("evaluate_scorer", "--forest_name", NAME, "--scorer", "critic", *FAST)
    assert ScorerReport.objects.count() == 2
    html = client.get(f"/{NAME}/metrics/").content.decode()
    assert "StepAcc" in html
    assert "FirstErrAcc" in html
    assert "Compared with the labels of <bdi>people</bdi> in 3 of 3 trees" in html
    assert "--against people" in html
    reports = client.get(f"/{NAME}/metrics/?format=json").json()["scorers"]
    assert [one["against"] for one in reports] == [None, "people"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--against", "nobody"], "has no scorer 'nobody'"),
        (["--against", "critic"], "--against names the scorer itself"),
        (["--against", "shepherd"], "the scores of 'shepherd' are not labels"),
        (["--against", "people", "--label_threshold", "0.5"], "leave --against out"),
        (["--against", "people"], "no complete tree .* has scores of 'people'"),
    ],
)
def test_bad_input_is_one_line(forest, arguments, message):
    label(forest, "critic", "judge", [1])
    label(forest, "shepherd", "prm", [1])
    label(forest, "people", "human")
    with pytest.raises(CommandError, match=message):
        call_command("evaluate_scorer", "--forest_name", NAME, "--scorer", "critic", *arguments)


def trajectory(query: int, labels: dict[str, int]) -> dict:
    messages = [
        {"role": "system", "content": "Help."},
        {"role": "user", "content": "Which city?"},
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "search"}}]},
        {"role": "tool", "content": "Bonn"},
        {"role": "assistant", "content": "Bonn"},
    ]
    return {
        "query_index": query, "sample_index": 0, "question": "Which city?", "messages": messages,
        "ground_truth": {"target": ["Bonn"]}, "step_labels": labels, "final_label": 1,
    }  # fmt: skip


def judgement(query: int, labels: object, at: str = "2026-02-04", **others: object) -> dict:
    return {
        "query_index": query, "sample_index": 0, "step_labels": labels, "updated_at": at, **others,
    }  # fmt: skip


def test_rows_of_the_shape_of_agent_process_bench_give_its_figures(tmp_path: Path, capsys, db):
    data, runs = tmp_path / "data/AgentProcessBench", tmp_path / "eval/results/Some Model "
    data.mkdir(parents=True)
    runs.mkdir(parents=True)
    reference = [
        trajectory(0, {"2": 1, "4": -1}), trajectory(1, {"2": 1, "4": 1}),
        trajectory(2, {"2": 0, "4": 1}),
    ]  # fmt: skip
    judged = [
        judgement(0, {"2": 1, "4": 1}, at="2026-02-03"),
        judgement(0, {"2": 1, "4": -1}, explanations={"steps": {"4": "It guesses."}}),
        judgement(1, {"2": None, "4": "1"}),
        judgement(2, {"2": 7, "4": -1}),
    ]
    for file, rows in ((data / "toy.jsonl", reference), (runs / "toy__x.jsonl", judged)):
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    out = tmp_path / "out"
    assert convert([str(tmp_path), "toy", str(out)]) == 0
    call_command("import_trees", str(out / "trees.jsonl"), "--forest_name_suffix", "toy")
    words = ["--forest_name", "imported-train-toy", "--scale", "signed", "--scorer"]
    call_command("import_scores", str(out / "people.jsonl"), *words, "people", "--kind", "human")
    call_command("import_scores", str(out / "some-model.jsonl"), *words, "critic")
    capsys.readouterr()
    words = ["--forest_name", "imported-train-toy", "--scorer", "critic", "--against", "people"]
    call_command("evaluate_scorer", *words, "--json", *FAST)
    found = json.loads(capsys.readouterr().out)["quality"]["agreement"]
    assert found["step_acc"]["value"] == 3 / 6
    assert found["first_err_acc"]["value"] == 2 / 3
    assert convert([str(tmp_path), "other", str(out)]) == 1
