"""Datasets of labelled steps become forests with usable scores."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from forests.core.tree import Grade
from forests.models import Forest, Scorer
from forests.storage.scores import read_scores
from forests.storage.trees import iter_trees
from forests.transfer import importing
from tests.forests.transfer.foreign_rows import PRM800K, PROCESSBENCH, ROWS, STEP_DPO, format_of

pytestmark = pytest.mark.django_db


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def imported(path: Path, format_name: str, *arguments: str) -> Forest:
    call_command(
        "import_trees", str(path), "--format", format_name, "--forest_name_suffix", "x", *arguments
    )
    return Forest.objects.get(pk="imported-train-x")


def problem(number: int, **changes: Any) -> dict[str, Any]:
    return PROCESSBENCH | {"problem": f"Problem {number}?"} | changes


def test_rows_of_one_question_make_one_tree_wherever_they_are_in_the_file(db, tmp_path):
    rows = [
        problem(1),
        problem(2),
        problem(1, steps=["We add.", "2 + 3 = 5.", "The answer is 9."], label=-1,
                final_answer_correct=True),
    ]  # fmt: skip
    for path in (write(tmp_path / "a.jsonl", *rows), tmp_path / "a.json"):
        if not path.exists():
            path.write_text(json.dumps(rows, indent=1))
        forest = imported(path, "processbench")
        first, second = iter_trees(forest)
        assert (first.question, second.question) == ("Problem 1?", "Problem 2?")
        assert [len(one.tree) for one in (first, second)] == [6, 4]
        assert first.tree.nodes[0,].count == 2
        assert (forest.num_leaves, forest.num_correct, forest.num_uncompared) == (3, 1, 0)
        assert read_scores(forest, "imported", [0])[0] == {
            (0,): 1, (0, 0): 0, (0, 1): 1, (0, 1, 0): 1,
        }  # fmt: skip
        call_command("delete_forest", "--forest_name", forest.name, "--yes")


def test_an_interrupted_import_of_merged_rows_is_continued(db, tmp_path, monkeypatch):
    path = write(tmp_path / "a.jsonl", *[problem(n % 3) for n in range(9)])
    monkeypatch.setattr(importing, "TREES_PER_WRITE", 1)
    real, calls = importing._write, []

    def killed(forest, batch):
        calls.append(batch)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(forest, batch)

    monkeypatch.setattr(importing, "_write", killed)
    with pytest.raises(CommandError, match="interrupted"):
        imported(path, "processbench")
    forest = imported(path, "processbench")
    assert (forest.num_trees, forest.num_leaves) == (3, 9)


@pytest.mark.parametrize(
    ("rows", "format_name", "message"),
    [
        ([PROCESSBENCH, PROCESSBENCH | {"label": 9}], "processbench", r"line 2: `label` is 9"),
        ([PRM800K], "openr", "line 1: .*this looks like PRM800K: use --format prm800k"),
        ([STEP_DPO], "jsonl", "line 1: .*this looks like Step-DPO: use --format step_dpo"),
        (
            [ROWS["math_shepherd"] | {"label": "?"}],
            "math_shepherd",
            r"no step that can be imported \(1 rows whose `label` does not repeat `input`\)",
        ),
    ],
)
def test_a_wrong_line_or_format_is_named_and_nothing_is_written(
    db, tmp_path, rows, format_name, message
):
    with pytest.raises(CommandError, match=message):
        imported(write(tmp_path / "a.jsonl", *rows), format_name)
    assert not Forest.objects.exists()


def test_what_is_left_out_is_told(db, tmp_path, capsys):
    path = write(tmp_path / "a.jsonl", PRM800K)
    imported(path, "prm800k")
    assert "left out: 2 steps without a rating" in capsys.readouterr().out


def test_a_solution_whose_answer_nobody_can_grade_has_no_result(db, tmp_path):
    """ProcessBench gives no label: without its own grade, a solution cannot be graded."""
    path = write(tmp_path / "a.jsonl", PROCESSBENCH | {"final_answer_correct": None})
    forest = imported(path, "processbench")
    [stored] = iter_trees(forest)
    assert stored.tree.nodes[0, 0, 0].grade == Grade.UNCOMPARED
    assert (forest.num_correct, forest.num_uncompared) == (0, 1)


@pytest.mark.parametrize("schema", ROWS)
def test_the_scores_of_each_format_can_be_used(db, tmp_path, capsys, schema):
    forest = imported(write(tmp_path / "a.jsonl", ROWS[schema]), format_of(schema))
    words = ["--forest_name", forest.name]

    call_command("evaluate_scorer", *words, "--scorer", "imported")
    capsys.readouterr()
    call_command(
        "create_preferences", *words, "--values", "scorer:imported", "--min_margin", "0.1",
        "--set_name", "file", "--json",
    )  # fmt: skip
    with_pairs = {"prm800k": 1, "step_dpo": 1, "math_aps": 1, "birm": 1, "rstar": 1}
    found = json.loads(capsys.readouterr().out)
    assert found["num_pairs"] == with_pairs.get(schema, 0)

    call_command("export_forest", *words, "--output", str(tmp_path / "out"))
    call_command("import_forest", str(tmp_path / "out"), "--forest_name_suffix", "copy")
    copy = Forest.objects.get(pk="imported-train-copy")
    assert read_scores(copy, "imported", [0]) == read_scores(forest, "imported", [0])
    kinds = {one.name: one.kind for one in Scorer.objects.filter(forest_id=forest.name)}
    assert ("imported_judge" in kinds) == (schema == "birm")
