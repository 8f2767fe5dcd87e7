"""Trees of other programs become forests like any other."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from forests.core.estimators import choose_estimator
from forests.core.model_counts import from_fields
from forests.core.tree import Grade
from forests.core.values import NodeValue, estimate_values
from forests.models import LEAF_COUNTERS, SPENT_COUNTERS, Forest, Scorer, Tree
from forests.storage.counters import recount_forest
from forests.storage.scores import read_scores
from forests.storage.trees import count_models, iter_trees
from forests.transfer import foreign_trees, importing
from tests.hostile_lines import BAD_FILES, BAD_LABELS, GOOD_LABELS, LABELLED

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
        (): 0.5, (0,): 0.75, (0, 0): 1.0, (0, 1): 0.0, (1,): 0.6,
    }  # fmt: skip
    scorer = Scorer.objects.get()
    assert (scorer.num_trees, scorer.num_nodes) == (2, 8)  # the root is not a step


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


def test_the_question_of_a_line_is_kept_and_otherwise_follows_from_the_prompt(db, tmp_path):
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "3 + 4?"}]
    rows = [OURS | {"question": " 2 + 3?\n"}, OURS | {"prompt": chat}]
    ours = imported(write(tmp_path / "t.jsonl", *rows))
    assert [stored.question for stored in iter_trees(ours)] == ["2 + 3?", "3 + 4?"]


def test_the_question_of_openr_is_its_own_without_what_is_put_before_the_steps(db, tmp_path):
    forest = imported(write(tmp_path / "omega.jsonl", OPENR), "--format", "openr")
    (stored,) = iter_trees(forest)
    assert stored.question == OPENR["question"]
    assert stored.prompt != stored.question


COUNTED: dict[str, Any] = {
    "prompt": "2 + 3?\n",
    "label": 5,
    "rollouts": 32,
    "correct": 1,
    "children": [
        {
            "text": "Add:\n",
            "drawn": {"0": 2},
            "value": 0.333,
            "rollouts": 3,
            "correct": 1,
            "children": [
                {"text": "The answer is 5", "count": 2, "drawn": {"0": 1, "1": 1}},
                {"text": "The answer is 6", "drawn": {"0": 1, "1": 2}, "value": 0},
            ],
        },
        {"text": "Guess:\n", "drawn": {"0": 1}, "rollouts": 4, "correct": 3},
    ],
}


def test_counts_of_rollouts_give_values_and_samples_of_their_own(db, tmp_path):
    forest = imported(write(tmp_path / "t.jsonl", COUNTED))
    [stored] = iter_trees(forest)
    assert [node.count for node in stored.tree] == [1, 2, 1, 2, 3]
    assert stored.tree.nodes[0, 1].drawn == {0: 1, 1: 2}
    assert read_scores(forest, "imported", [0])[0] == {
        (): 1 / 32, (0,): 1 / 3, (1,): 0.75, (0, 1): 0.0,
    }  # fmt: skip
    assert stored.tree.nodes[1,].grade == Grade.CORRECT  # no answer: most rollouts were right
    values = estimate_values(stored.tree, choose_estimator(forest.strategy, "own_rollouts"))
    assert values[()] == NodeValue(2 / 3, 3)
    assert values[0,] == NodeValue(1 / 3, 3)


def test_an_archive_keeps_the_value_of_the_root(db, tmp_path):
    forest = imported(write(tmp_path / "t.jsonl", COUNTED))
    call_command("export_forest", "--forest_name", forest.name, "--output", str(tmp_path / "out"))
    call_command("import_forest", str(tmp_path / "out"), "--forest_name_suffix", "copy")
    copy = Forest.objects.get(pk="imported-train-copy")
    assert read_scores(copy, "imported", [0])[0] == read_scores(forest, "imported", [0])[0]
    assert copy.strategy == "imported"


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
    call_command("create_preferences", "--min_confidence", "0", *words, "--json")
    assert json.loads(capsys.readouterr().out)["num_pairs"] == 2


def interrupted_import(monkeypatch, path: Path, *arguments: str) -> None:
    """Make the forest and its scorer, but write none of its trees."""

    def killed(scorer, scores):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(importing, "write_scores", killed)
        patched.setattr(importing, "_write", lambda *_: None)
        with pytest.raises(CommandError, match="interrupted"):
            imported(path, *arguments)


@pytest.mark.parametrize(
    "arguments",
    [["--format", "jsonl"], ["--format", "jsonl", "--dataset_config_name", "imported"]],
)
def test_an_interrupted_import_takes_no_other_file(db, tmp_path, monkeypatch, settings, arguments):
    settings.CONFIG_PATH = [tmp_path]
    config = tmp_path / "imported.py"
    source = "from experiment_configs.rollout.demo_arithmetic import Config\n"
    config.write_text(source)
    valued = OURS | {"children": [{"text": "5", "value": 0.5}]}
    monday = write(tmp_path / "monday.jsonl", valued)
    friday = write(tmp_path / "friday.jsonl", OURS | {"label": "6"})
    interrupted_import(monkeypatch, monday, *arguments)

    with pytest.raises(CommandError, match=r"partly imported from something else: .*delete_forest"):
        imported(friday, *arguments)
    if "--dataset_config_name" in arguments:
        config.write_text(source + "# graded otherwise\n")
        with pytest.raises(CommandError, match="partly imported from something else"):
            imported(monday, *arguments)
        config.write_text(source)
    assert not Tree.objects.exists()

    monday.rename(tmp_path / "renamed.jsonl")
    assert imported(tmp_path / "renamed.jsonl", *arguments).num_trees == 1


def test_an_interrupted_import_of_another_format_or_split_is_not_continued(
    db, tmp_path, monkeypatch
):
    valued = OURS | {"children": [{"text": "5", "value": 0.5}]}
    path = write(tmp_path / "t.jsonl", OPENR | valued)
    interrupted_import(monkeypatch, path, "--dataset_split", "a-b", "--forest_name_suffix", "c")

    with pytest.raises(CommandError, match="partly imported from something else"):
        imported(path, "--dataset_split", "a-b", "--forest_name_suffix", "c", "--format", "openr")
    with pytest.raises(CommandError, match="holds the dataset split 'a-b', not 'a'"):
        imported(path, "--dataset_split", "a", "--forest_name_suffix", "b-c")


def test_an_interrupted_import_is_gone_on_with(db, tmp_path, monkeypatch):
    path = write(tmp_path / "t.jsonl", *[OURS] * 3)
    monkeypatch.setattr("forests.transfer.importing.TREES_PER_WRITE", 1)
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
    with pytest.raises(CommandError, match="exists already: choose another --forest_name_suffix"):
        imported(path)


CHAT = {"role": "user", "content": "2 + 2?"}
DEEP = json.loads("[" * 300 + "]" * 300)


def _changed(**changes: Any) -> dict[str, Any]:
    return OURS | changes


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([1], "line 2: the line must be a JSON object"),
        (_changed(prompt=""), "`prompt` must be a text, or a list of {role, content}"),
        (_changed(prompt=[{"role": "user"}]), "`prompt` must be a text"),
        (_changed(label=None), "`label` must be a text that is not blank, or a number"),
        (_changed(item=3), "`item` must be a text"),
        (_changed(children="x"), "`children` must be a list"),
        (_changed(children=["x"]), r"node \[0\] must be a JSON object"),
        (
            _changed(children=[{"text": " "}]),
            r"`text` of node \[0\] must be a text that is not blank",
        ),
        (_changed(children=[{"text": "a", "count": 0}]), "must be a whole number from 1"),
        (_changed(children=[{"text": "a", "correct": 1}]), "must be true or false"),
        (_changed(children=[{"text": "a", "answer": 4}]), r"`answer` of node \[0\] must be a text"),
        (
            _changed(children=[{"text": "a", "value": "x"}]),
            r"`value` of node \[0\] must be a number",
        ),
        (
            _changed(children=[{"text": "a", "value": 10**400}]),
            r"`value` of node \[0\] must be a number",
        ),
        (_changed(children=[{"text": "a", "value": float("inf")}]), "Infinity is not JSON"),
        (_changed(children=[{"text": "a", "value": float("nan")}]), "NaN is not JSON: write null"),
        (_changed(prompt=[CHAT | {"a\0": 1}]), "`prompt` has a key that is not a text, or that"),
        (_changed(prompt=[CHAT | {"seed": 2**70}]), "`prompt` has a whole number of more than 64"),
        (_changed(prompt=[CHAT | {"tools": DEEP}]), "`prompt` has more than 50 levels"),
        (_changed(children=[{"text": "a", "count": 10**10}]), "a whole number from 1 to 1000000"),
        (_changed(value="x"), "`value` must be a number"),
        (_changed(rollouts=0, correct=0), "`rollouts` must be a whole number from 1"),
        (
            _changed(children=[{"text": "a", "rollouts": 4}]),
            "`correct` of node .0. must be a whole",
        ),
        (
            _changed(children=[{"text": "a", "rollouts": 4, "correct": True}]),
            "`correct` of node .0. must be a whole number from 0",
        ),
        (
            _changed(children=[{"text": "a", "rollouts": 4, "correct": 5}]),
            "is 5, more than its 4 `rollouts`",
        ),
        (
            _changed(children=[{"text": "a", "rollouts": 4, "correct": 1, "value": 0.5}]),
            "is 0.5, and `correct` of `rollouts` 0.25: they must be the same",
        ),
        (_changed(children=[{"text": "a", "correct": 3}]), "true or false, or come with"),
        (
            _changed(children=[{"text": "a", "drawn": 3}]),
            "each value a whole number from 1 to 1000000",
        ),
        (_changed(children=[{"text": "a", "drawn": {}}]), "samples by depths from 0 to 0"),
        (_changed(children=[{"text": "a", "drawn": {"1": 3}}]), "by depths from 0 to 0, such as"),
        (_changed(children=[{"text": "a", "drawn": {"0": 0}}]), "a whole number from 1"),
        (_changed(children=[{"text": "a", "drawn": {"0": True}}]), "a whole number from 1"),
        (
            _changed(children=[{"text": "a", "count": 2, "drawn": {"0": 3}}]),
            "has 3 samples, and `count` 2: they must be the same",
        ),
        (
            _changed(children=[{"text": "a", "drawn": {"0": 3}}, {"text": "b"}]),
            "every node of a tree must have `drawn`, or none",
        ),
        (
            _changed(
                children=[
                    {
                        "text": "a",
                        "drawn": {"0": 1},
                        "children": [{"text": "b", "drawn": {"0": 2}}],
                    }
                ]
            ),
            "2 samples drawn from depth 0 pass below node .0., and only 1 through it",
        ),
        (_changed(children=[{"text": "\ud800"}]), "line 2: a text holds a lone surrogate"),
        (_changed(item="x" * 1_000_001), "`item` has more than 1000000 characters"),
        (_changed(label="x" * 1_000_001), "`label` has more than"),
        (_changed(prompt=[{"role": "user", "content": "x" * 10**6}]), "`prompt` has more than"),
        (
            _changed(children=[{"text": "a", "answer": "x" * 1_000_001}]),
            "`answer` of node .0. has more than",
        ),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_written(db, tmp_path, row, message):
    path = write(tmp_path / "t.jsonl", OURS, row)
    with pytest.raises(CommandError, match=message):
        imported(path)
    assert not Forest.objects.exists()


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_holds_no_trees_is_one_line(db, tmp_path, name):
    content, message = BAD_FILES[name]
    path = tmp_path / "t.jsonl"
    path.write_bytes(content)
    with pytest.raises(CommandError, match=message):
        imported(path)
    assert not Forest.objects.exists()


def test_a_file_without_rows_has_no_tree(db, tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_bytes(b"\xef\xbb\xbf\n")
    with pytest.raises(CommandError, match="has no tree"):
        imported(path)
    with pytest.raises(CommandError, match="cannot be read: Is a directory"):
        imported(tmp_path)


@pytest.mark.parametrize("name", BAD_LABELS)
def test_a_label_that_is_none_is_named_by_its_line(db, tmp_path, name):
    written, message = BAD_LABELS[name]
    path = tmp_path / "t.jsonl"
    path.write_bytes((LABELLED % b"4") + b"\r\n" + (LABELLED % written))
    with pytest.raises(CommandError, match=rf"t\.jsonl line 2:? .*{message}"):
        imported(path)
    assert not Forest.objects.exists()


@pytest.mark.parametrize("name", GOOD_LABELS)
@pytest.mark.parametrize("form", [b"%s", b"\xef\xbb\xbf%s\r\n", b"[%s]", b"[\n%s\n]\n"])
def test_a_label_keeps_its_spelling_in_lines_and_lists(db, tmp_path, name, form):
    written, label = GOOD_LABELS[name]
    path = tmp_path / "t.jsonl"
    path.write_bytes(form % (LABELLED % written))
    imported(path)
    assert Tree.objects.get().label == label


def test_a_tree_of_too_many_nodes_is_refused(db, tmp_path, monkeypatch):
    monkeypatch.setattr(foreign_trees, "MAX_NODES", 3)
    row = _changed(children=[{"text": str(number)} for number in range(4)])
    with pytest.raises(CommandError, match="more than 3 nodes"):
        imported(write(tmp_path / "t.jsonl", row))


def test_a_path_of_too_many_steps_is_refused(db, tmp_path):
    node: dict[str, Any] = {"text": "end"}
    for _ in range(300):
        node = {"text": "step", "children": [node]}
    with pytest.raises(CommandError, match="more than 200 steps on a path"):
        imported(write(tmp_path / "t.jsonl", _changed(children=[node])))


def test_a_file_whose_name_cannot_be_stored_is_refused(db, tmp_path):
    path = write(tmp_path / "t.jsonl", OURS).rename(tmp_path / os.fsdecode(b"\xff.jsonl"))
    with pytest.raises(CommandError, match=r"holds a lone surrogate: .*: rename the file"):
        imported(path)
    assert not Forest.objects.exists()


def test_samples_that_add_up_to_too_many_are_refused(db, tmp_path):
    children = [{"text": f"{number}", "count": 600_000} for number in range(2)]
    path = write(tmp_path / "t.jsonl", OURS | {"children": children})
    with pytest.raises(CommandError, match=r"line 1: the `count`s .* add up to more than 1000000"):
        imported(path)
    assert not Forest.objects.exists()


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
        {"text": "#### 5 (?)"},
        {"text": "c", "answer": "?", "correct": True},
        {"text": "d", "answer": "6"},
        {"text": "e", "answer": "6.0"},
    ]
    path = write(tmp_path / "t.jsonl", OURS | {"children": leaves})

    forest = imported(path, "--dataset_config_name", "unsure")

    [stored] = iter_trees(forest)
    assert [(leaf.grade, leaf.voted_answer) for leaf in stored.tree.leaves()] == [
        (Grade.UNCOMPARED, "?"),
        (Grade.UNCOMPARED, "5 (?)"),
        (Grade.CORRECT, "?"),
        (Grade.INCORRECT, "6"),
        (Grade.INCORRECT, "6"),
    ]
    assert (forest.num_leaves, forest.num_uncompared, forest.num_correct) == (3, 5, 1)
    assert Tree.objects.get().root_value == 1 / 3
    captured = capsys.readouterr()
    assert "num_uncompared: 5" in captured.out
    assert f"regrade_forest --forest_name {forest.name} tries again" in captured.err


def test_nobody_knows_which_model_wrote_the_trees(tmp_path):
    (tmp_path / "t.jsonl").write_text(json.dumps(OURS))
    call_command("import_trees", str(tmp_path / "t.jsonl"), "--forest_name_suffix", "a")

    forest = Forest.objects.get()
    assert forest.grown_by == []
    assert from_fields(forest.nodes_by_model) == count_models(forest) == {"": forest.num_nodes}
    assert recount_forest(forest) == {}
