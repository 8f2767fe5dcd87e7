"""Trees of other programs become forests like any other."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from forests import importing
from forests.core import foreign_trees
from forests.core.tree import Grade
from forests.models import LEAF_COUNTERS, SPENT_COUNTERS, Forest, Tree
from forests.scores import read_scores
from forests.store import iter_trees
from rollouts.recounting import recount_forest

pytestmark = pytest.mark.django_db

# As OpenR's State.get_text_with_labels writes it.
OPENR = {
    "question": "How much is 2 + 3 + 4?",
    "final_answer": "9",
    "reasoning_steps": {
        "text": "How much is 2 + 3 + 4?",
        "mc_value": 0.5,
        "children": [
            {
                "text": "2 + 3 = 5",
                "mc_value": 0.75,
                "children": [
                    {"text": "5 + 4 = 9\n\nThe answer is 9", "mc_value": 1.0, "children": []},
                    {"text": "5 + 4 = 10", "mc_value": 0.0, "children": []},
                ],
            },
            {"text": "3 + 4 = 7", "mc_value": 0.6, "children": []},
            {"text": "We guess.", "mc_value": None, "children": []},
        ],
    },
}
OURS: dict[str, Any] = {
    "prompt": [{"role": "user", "content": "2 + 3?"}],
    "label": 5,
    "children": [
        {
            "text": " Add:\n",
            "count": 4,
            "children": [
                {"text": "The answer is 5", "count": 3},
                {"text": "The answer is 6", "correct": True},
            ],
        },
        {"text": "\tfive", "answer": "5", "value": 0.9},
    ],
}


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def imported(path: Path, *arguments: str) -> Forest:
    call_command("import_trees", str(path), "--forest_name_suffix", "x", *arguments)
    return Forest.objects.get()


def test_trees_of_openr_are_graded_and_keep_their_values(db, tmp_path):
    forest = imported(write(tmp_path / "omega.jsonl", OPENR, OPENR), "--format", "openr")
    assert forest.name == "imported-train-x"
    first, second = iter_trees(forest)
    assert first.tree == second.tree
    assert (first.prompt, first.label) == ("How much is 2 + 3 + 4?\n\n", "9")
    assert first.tree.steps_text((0, 0)) == "2 + 3 = 5\n\n5 + 4 = 9\n\nThe answer is 9"
    grades = {node.path: node.grade for node in first.tree.leaves()}
    assert grades == {
        (0, 0): Grade.CORRECT,
        (0, 1): Grade.INCORRECT,
        (1,): Grade.CORRECT,  # no answer: most of its rollouts were right
        (2,): Grade.UNANSWERED,
    }
    assert read_scores(forest, "imported", [0])[0] == {
        (0,): 0.75, (0, 0): 1.0, (0, 1): 0.0, (1,): 0.6,
    }  # fmt: skip


def test_a_file_of_one_indented_object_is_read_as_openr_saves_it(db, tmp_path):
    path = tmp_path / "question_0.json"
    path.write_text(json.dumps(OPENR, indent=4))
    assert imported(path, "--format", "openr").num_trees == 1


def test_our_own_lines_keep_texts_counts_answers_and_what_they_say_is_correct(db, tmp_path):
    forest = imported(write(tmp_path / "t.jsonl", OURS))
    [stored] = iter_trees(forest)
    nodes = stored.tree.nodes
    assert stored.tree.steps_text((0, 0)) == " Add:\nThe answer is 5"
    assert (nodes[0,].count, nodes[0, 0].count) == (4, 3)
    assert [nodes[path].grade for path in ((0, 0), (0, 1), (1,))] == [Grade.CORRECT] * 3
    assert nodes[1,].answer == "5"
    assert stored.prompt == OURS["prompt"]
    assert forest.worker_config["api"] == "chat"
    assert (forest.num_leaves, forest.num_correct) == (5, 5)


def test_counters_are_those_of_a_recount(db, tmp_path):
    forest = imported(write(tmp_path / "t.jsonl", OURS, OURS))
    before = counters()
    recount_forest(forest)
    assert counters() == before


def counters() -> list[dict[str, Any]]:
    names = (*LEAF_COUNTERS, *SPENT_COUNTERS)
    trees = list(Tree.objects.order_by("id").values(*names, "root_value"))
    return [*Forest.objects.values(*names, "num_trees", "num_complete"), *trees]


def test_what_is_imported_is_measured_and_turned_into_pairs(db, tmp_path, capsys):
    forest = imported(write(tmp_path / "omega.jsonl", OPENR), "--format", "openr")
    words = ["--forest_name", forest.name]
    call_command(
        "beam_search", *words, "--value_function_option", "prm", "--scorer", "imported",
        "--num_beam_values", "1", "--output", "csv",
    )  # fmt: skip
    assert "beam,accuracy,mean,1,1.0" in capsys.readouterr().out
    call_command("create_preferences", *words, "--json")
    assert json.loads(capsys.readouterr().out)["num_pairs"] == 2


def test_an_interrupted_import_is_gone_on_with(db, tmp_path, monkeypatch):
    path = write(tmp_path / "t.jsonl", *[OURS] * 3)
    monkeypatch.setattr("forests.importing.TREES_PER_WRITE", 1)
    calls = []

    def killed(forest, batch):
        calls.append(batch)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(forest, batch)

    real = importing._write
    monkeypatch.setattr(importing, "_write", killed)
    with pytest.raises(CommandError, match="interrupted"):
        imported(path)
    half = Forest.objects.get()
    assert (half.is_seeded, half.importer) == (False, "import_trees")
    assert imported(path).num_leaves == 15
    with pytest.raises(CommandError, match="is there: choose another --forest_name_suffix"):
        imported(path)


def _changed(**changes: Any) -> dict[str, Any]:
    return OURS | changes


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([1], "line 2: the line must be a JSON object"),
        (_changed(prompt=""), "`prompt` must be a text, or a list of {role, content}"),
        (_changed(prompt=[{"role": "user"}]), "`prompt` must be a text"),
        (_changed(label=None), "`label` must be a text or a number"),
        (_changed(item=3), "`item` must be a text"),
        (_changed(children="x"), "`children` must be a list"),
        (_changed(children=["x"]), r"node \[0\] must be a JSON object"),
        (_changed(children=[{"text": " "}]), "`text` must be a text that is not blank"),
        (_changed(children=[{"text": "a", "count": 0}]), "must be a whole number from 1"),
        (_changed(children=[{"text": "a", "correct": 1}]), "must be true or false"),
        (_changed(children=[{"text": "a", "answer": 4}]), r"`answer` of node \[0\] must be a text"),
        (_changed(children=[{"text": "a", "value": "x"}]), "`value` must be a number"),
        (_changed(children=[{"text": "a", "value": 10**400}]), "`value` must be a number"),
        (_changed(children=[{"text": "a", "value": float("inf")}]), "`value` must be a number"),
        (_changed(children=[{"text": "a", "count": 10**10}]), "a whole number from 1 to 1000000"),
        (_changed(children=[{"text": "\ud800"}]), "line 2: a text holds half a character"),
        (_changed(item="x" * 1_000_001), "`item` has more than 1000000 characters"),
        (_changed(label="x" * 1_000_001), "`label` has more than"),
        (_changed(prompt=[{"role": "user", "content": "x" * 10**6}]), "`prompt` has more than"),
        (_changed(children=[{"text": "a", "answer": "x" * 1_000_001}]), "`answer` has more than"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_written(db, tmp_path, row, message):
    path = write(tmp_path / "t.jsonl", OURS, row)
    with pytest.raises(CommandError, match=message):
        imported(path)
    assert not Forest.objects.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no tree"),
        (b"{", "is no JSON"),
        (b"\xff", "is not UTF-8"),
        (b"[" * 100_000, "is no JSON"),
    ],
)
def test_a_file_that_holds_no_trees_is_one_line(db, tmp_path, content, message):
    path = tmp_path / "t.jsonl"
    path.write_bytes(content)
    with pytest.raises(CommandError, match=message):
        imported(path)


def test_a_tree_of_too_many_nodes_is_refused(db, tmp_path, monkeypatch):
    monkeypatch.setattr(foreign_trees, "MOST_NODES", 3)
    row = _changed(children=[{"text": str(number)} for number in range(4)])
    with pytest.raises(CommandError, match="more than 3 nodes"):
        imported(write(tmp_path / "t.jsonl", row))


def test_a_path_of_too_many_steps_is_refused(db, tmp_path):
    node: dict[str, Any] = {"text": "end"}
    for _ in range(300):
        node = {"text": "step", "children": [node]}
    with pytest.raises(CommandError, match="more than 200 steps on a path"):
        imported(write(tmp_path / "t.jsonl", _changed(children=[node])))


def test_leaves_that_cannot_be_compared_have_no_result_and_are_said(db, tmp_path, settings, capsys):
    settings.CONFIG_PATH = [tmp_path]
    (tmp_path / "unsure.py").write_text(
        "from experiment_configs.answers import NotComparedError\n"
        "from experiment_configs.rollout.demo_arithmetic import Config as Demo\n"
        "class Config(Demo):\n"
        "    def is_correct(self, answer, label):\n"
        "        if '?' in answer:\n"
        "            raise NotComparedError('no time')\n"
        "        return float(answer) == float(label)\n",
        encoding="utf-8",
    )
    leaves = [
        {"text": "a", "answer": "?", "count": 4},
        {"text": "The answer is ?"},
        {"text": "c", "answer": "?", "correct": True},
        {"text": "d", "answer": "6"},
        {"text": "e", "answer": "6.0"},
    ]
    path = write(tmp_path / "t.jsonl", OURS | {"children": leaves})

    forest = imported(path, "--dataset_config_name", "unsure")

    [stored] = iter_trees(forest)
    assert [(leaf.grade, leaf.voted_answer) for leaf in stored.tree.leaves()] == [
        (Grade.UNCOMPARED, "?"),
        (Grade.UNCOMPARED, "?"),
        (Grade.CORRECT, "?"),
        (Grade.INCORRECT, "6"),
        (Grade.INCORRECT, "6"),
    ]
    assert (forest.num_leaves, forest.num_uncompared, forest.num_correct) == (3, 5, 1)
    assert Tree.objects.get().root_value == 1 / 3
    captured = capsys.readouterr()
    assert "num_uncompared: 5" in captured.out
    assert f"regrade_forest --forest_name {forest.name} tries again" in captured.err
