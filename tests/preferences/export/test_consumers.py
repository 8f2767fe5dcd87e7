"""Exported rows fit the programs that read such datasets.

The readers here repeat the code of these programs:

- TRL 1.16, `examples/datasets/math_shepherd.py` and `prm800k.py`
- OpenR (164eeef), `preprocess/src/preprocessors` and `preprocess/src/data_types`
- the README of openai/prm800k
- OpenRLHF (6a981c8c^), `openrlhf/datasets/process_reward_dataset.py` and `reward_dataset.py`
- RLHFlow (fc39179), `math-rm/prm_evaluate.py`
- Step-DPO, `train.py`, which calls `datasets.load_dataset` on JSON lines
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from uuid import UUID

import pyarrow as pa
import pytest
from datasets import load_dataset
from hypothesis import given

from forests.core.step_tags import STEP_TAG, without_number
from forests.storage.reader import DatabaseReader
from preferences.core.value_sources import ValueSource
from preferences.export.containers import Batch, JsonLines
from preferences.export.dataset_rows import TreeItems, iter_tree_items
from preferences.export.formats.base import RowOptions
from preferences.export.formats.prm800k import labeler_id
from tests.preferences.core.test_pairing import trees
from tests.preferences.export.formats.test_all_formats import (
    ASKED,
    FORMATS,
    QUESTION,
    item_of,
    read_math_shepherd,
    rows_of,
)
from tests.preferences.trees import RIGHT, WRONG, addition_tree, tree_of

LABELER = labeler_id("leaf_mean")

ABOVE_ZERO = TreeItems(lambda value: value > 0)


def read_by_openr(row) -> tuple[str, list[str], list[str]] | None:
    """Return question, steps and labels as OpenR finds them, or None if it leaves the row out."""
    if row["input"].count("Step 1: ") != 1:
        return None
    question, text = row["input"].split("Step 1: ")
    labelled = row["label"].split("Step 1: ")[1]
    steps = [part.strip() for part in re.split(r"Step \d*:", text)]
    labels = [part.strip()[-1] for part in re.split(r"Step \d*:", labelled)]
    if not set(labels) <= {"+", "-"}:
        return None
    return question.strip(), [step[: step.find(STEP_TAG)].strip() for step in steps], labels


def read_prm800k_by_trl(row) -> Iterator[tuple[list[str], list[bool]]]:
    """Yield steps and labels of each solution of a session: each alternative ends one."""
    steps: list[str] = []
    labels: list[bool] = []
    for step in row["label"]["steps"]:
        for number, completion in enumerate(step["completions"]):
            if number != step["chosen_completion"]:
                yield [*steps, completion["text"]], [*labels, completion["rating"] == 1]
        if step["chosen_completion"] is None:
            break
        chosen = step["completions"][step["chosen_completion"]]
        steps.append(chosen["text"])
        labels.append(chosen["rating"] == 1)
    yield steps, labels


@given(trees())
def test_two_readers_find_the_same_steps_and_labels_in_math_shepherd_rows(tree):
    item = item_of(tree)
    stepwise = [
        ([without_number(step) for step in row["completions"]], row["labels"])
        for row in rows_of("trl_stepwise", item)
    ]
    rows = rows_of("math_shepherd", item)
    assert len({row["input"] for row in rows}) == len(rows)
    for row in rows:
        question, numbered, labels = read_math_shepherd(row)
        steps = [without_number(step) for step in numbered]
        assert question == QUESTION.strip()
        assert (steps, labels) in stepwise
        marks = ["+" if label else "-" for label in labels]
        assert read_by_openr(row) == (question, steps, marks)


def read_by_openrlhf(row, key: str = "label") -> list[tuple[str, object]]:
    """Return the text before each placeholder token, and its label; each token must have one."""
    *texts, rest = row["input"].split(STEP_TAG)
    assert isinstance(row[key], list), "labels should be a list of strings or numbers"
    assert not rest.strip()
    return list(zip(texts, row[key], strict=True))


@given(trees())
def test_openrlhf_finds_one_label_for_each_placeholder(tree):
    rows = rows_of("openrlhf_prm", item_of(tree), with_values=True)
    shepherd = rows_of("math_shepherd", item_of(tree))
    assert [row["input"] for row in rows] == [row["input"] for row in shepherd]
    for row, other in zip(rows, shepherd, strict=True):
        labels = [label for _, label in read_by_openrlhf(row)]
        assert labels == ["+" if label else "-" for label in read_math_shepherd(other)[2]]
        values = [value for _, value in read_by_openrlhf(row, "values")]
        assert [label == "+" for label in labels] == [float(str(value)) > 0 for value in values]


def test_a_solution_with_the_placeholder_in_its_text_is_no_row_of_openrlhf():
    item = item_of(tree_of({"0.0": ("сутки", RIGHT), "0.1": ("<extra_0> \\boxed{1}", WRONG)}))
    [row] = rows_of("openrlhf_prm", item)
    assert read_by_openrlhf(row) == [
        (QUESTION.strip() + " Step 1: <extra_0> \\boxed{1} ", "-"),
    ]


def test_openrlhf_puts_prompt_and_sides_together_as_trl_does():
    """Its DPO and RM cut the rendered prompt off the rendered conversation, and read `margin`."""

    def rendered(messages, *, is_open: bool = False) -> str:
        turns = [f"<{one['role']}>{one['content']}<end>" for one in messages]
        return "".join(turns) + ("<assistant>" if is_open else "")

    for row in rows_of("trl_conversational", item_of(addition_tree()), with_values=True):
        prompt = rendered(row["prompt"], is_open=True)
        for side in ("chosen", "rejected"):
            whole = rendered(row["prompt"] + row[side])
            assert whole.startswith(prompt)
            assert whole[len(prompt) :] == row[side][0]["content"] + "<end>"
        assert row["margin"] == row["chosen_value"] - row["rejected_value"]


@given(trees())
def test_rlhflow_rows_are_the_chats_with_which_it_scores_a_solution(tree):
    """Each step is a message of the user; the first message also holds the question."""
    stepwise = {
        tuple(step.strip() for step in row["completions"]): row["labels"]
        for row in reversed(rows_of("trl_stepwise", item_of(tree)))
    }
    rows = rows_of("rlhflow", item_of(tree))
    assert len(rows) == len(stepwise)
    for row in rows:
        turns = row["conversations"]
        assert [turn["role"] for turn in turns] == ["user", "assistant"] * (len(turns) // 2)
        asked = [turn["content"] for turn in turns[::2]]
        steps = (asked[0].removeprefix(f"{QUESTION.strip()} "), *asked[1:])
        assert [turn["content"] == "+" for turn in turns[1::2]] == stepwise[steps]


def test_the_labels_of_math_shepherd_stand_where_the_tags_of_the_input_stand():
    """Its dataset card says so: the marks replace the tag."""
    for row in rows_of("math_shepherd", item_of(addition_tree())):
        marked = row["input"]
        for label in read_math_shepherd(row)[2]:
            marked = marked.replace(STEP_TAG, "+" if label else "-", 1)
        assert marked == row["label"]


def test_openr_leaves_out_a_step_that_names_another_and_misreads_none():
    tree = tree_of({"0.0": ("As in Step 3: so", RIGHT), "0.1": ("We add", WRONG)})
    rows = rows_of("math_shepherd", item_of(tree))
    assert [read_by_openr(row) for row in rows] == [None, (QUESTION.strip(), ["We add"], ["-"])]


def test_solutions_that_differ_in_blanks_alone_are_one_row_of_math_shepherd():
    """Two rows with the same input and different labels would teach nothing."""
    dropped: Counter[str] = Counter()
    item = item_of(tree_of({"0.0": ("We add", RIGHT), "0.1": ("We add ", WRONG)}))
    rows = list(FORMATS["math_shepherd"].rows(item, RowOptions(label_threshold=0), dropped))
    assert [read_by_openr(row) for row in rows] == [(QUESTION.strip(), ["We add"], ["+"])]
    assert dropped == Counter(solutions_repeated=1)


def test_prm800k_rows_have_the_types_that_its_readers_want():
    [row] = rows_of("prm800k", item_of(addition_tree()), labeler=LABELER)
    assert str(UUID(row["labeler"])) == row["labeler"]
    assert labeler_id("leaf_mean") != labeler_id("child_mean")
    ratings = [c["rating"] for step in row["label"]["steps"] for c in step["completions"]]
    assert set(ratings) <= {-1, 0, 1}
    assert row["label"]["finish_reason"] in {"found_error", "solution", "bad_problem", "give_up"}


@pytest.mark.parametrize("microsecond", [0, 1, 118856])
def test_the_time_of_a_prm800k_row_is_read_by_openr(make_forest, microsecond):
    """Its reader knows only one form: UTC without a time zone, with six digits of microseconds."""
    forest = make_forest()
    there = timezone(timedelta(hours=-5))
    forest.created_at = datetime(2026, 11, 27, 22, 57, 18, microsecond, tzinfo=there)
    _, item = next(iter_tree_items(DatabaseReader(forest), ValueSource(), Counter(), ABOVE_ZERO))
    [row] = rows_of("prm800k", item, labeler=LABELER)
    read = datetime.strptime(row["timestamp"], "%Y-%m-%dT%H:%M:%S.%f")  # noqa: DTZ007
    assert read == datetime(2026, 11, 28, 3, 57, 18, microsecond)  # noqa: DTZ001
    assert row["timestamp"] == f"2026-11-28T03:57:18.{microsecond:06}"


PRM800K_ROW = {
    "labeler": "e90a38f3-3135-4465-87af-3e6322e3d772",
    "timestamp": "2022-07-30T23:23:32.118856",
    "generation": None,
    "is_quality_control_question": False,
    "is_initial_screening_question": False,
    "question": {"problem": "In cents?", "ground_truth_answer": "29"},
    "label": {
        "steps": [
            {
                "completions": [{"text": "Let's say.", "rating": 1, "flagged": False}],
                "human_completion": None,
                "chosen_completion": 0,
            }
        ],
        "total_time": 278270,
        "finish_reason": "found_error",
    },
}
"""The columns and types of the dataset's first row."""


def test_prm800k_rows_have_the_columns_of_the_dataset(make_forest):
    _, item = next(
        iter_tree_items(DatabaseReader(make_forest()), ValueSource(), Counter(), ABOVE_ZERO)
    )
    [row] = rows_of("prm800k", item, labeler=LABELER)
    assert kinds(row) == kinds(PRM800K_ROW)


def kinds(value: object) -> object:
    """Return the columns and types of a row; of a list, those of its first entry."""
    if isinstance(value, dict):
        return {name: kinds(one) for name, one in value.items()}
    if isinstance(value, list):
        return [kinds(value[0])]
    return type(value)


@given(trees())
def test_the_trajectory_of_a_prm800k_row_is_a_path_of_the_tree(tree):
    """The trajectory is rebuilt as its README says: from the chosen completion of each step."""
    for row in rows_of("prm800k", item_of(tree), labeler=LABELER):
        rebuilt = [
            step["human_completion"]
            if step["chosen_completion"] is None
            else step["completions"][step["chosen_completion"]]["text"]
            for step in row["label"]["steps"]
        ]
        chosen = [text for text in rebuilt if text is not None]
        paths = [
            [node.text.strip() for node in tree.path_nodes(leaf.path)] for leaf in tree.leaves()
        ]
        written = [[text for text in path if text] for path in paths]
        assert any(path[: len(chosen)] == chosen for path in written)
        assert None not in rebuilt[:-1]
        assert (rebuilt[-1] is None) == (row["label"]["finish_reason"] != "solution")


@given(trees())
def test_solutions_in_prm800k_rows_have_the_labels_of_their_steps(tree):
    item = item_of(tree)
    labels_of: dict[tuple[str, ...], set[tuple[bool, ...]]] = {}
    for node in tree:
        steps = [one for one in tree.path_nodes(node.path) if one.text.strip()]
        values = [item.values[one.path].value for one in steps]
        texts = tuple(one.text.strip() for one in steps)
        labels_of.setdefault(texts, set()).add(tuple((value or 0) > 0 for value in values))
    for row in rows_of("prm800k", item, labeler=LABELER):
        for steps, labels in read_prm800k_by_trl(row):
            assert tuple(labels) in labels_of[tuple(steps)]


@pytest.fixture
def step_dpo_rows(tmp_path, monkeypatch):
    """Return the rows of a file, read by the function that Step-DPO uses."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    rows = rows_of("step_dpo", item_of(addition_tree()))
    schema = FORMATS["step_dpo"].schema(False, RowOptions(label_threshold=0.0))
    container = JsonLines(tmp_path, schema)
    container.write("train", Batch(rows, pa.Table.from_pylist(rows, schema=schema)))
    container.close()
    [file] = (tmp_path / "jsonl").iterdir()
    assert ".json" in str(file)  # else Step-DPO takes it for a name on the hub
    return load_dataset("json", data_files=[str(file)])["train"]


def test_step_dpo_puts_prompt_and_first_steps_together_as_they_were(step_dpo_rows):
    """Its template `qwen2-boxed`: the question in a frame, and right after it the first steps."""
    frame = "<|im_start|>user\n{instruction}<|im_end|>\n<|im_start|>assistant\n"
    given_, trained = rows_of("trl", item_of(addition_tree())), []
    for row in step_dpo_rows:
        prompt = frame.format(instruction=row["prompt"]) + row["initial_reason_steps"]
        trained.append({"prompt": prompt, **{key: row[key] for key in ("chosen", "rejected")}})
    before, after = frame.split("{instruction}")
    wanted = [before + ASKED + after + row["prompt"].removeprefix(QUESTION) for row in given_]
    assert [row["prompt"] for row in trained] == wanted
    assert [row["chosen"] for row in trained] == [row["chosen"] for row in given_]
    assert [row["rejected"] for row in trained] == [row["rejected"] for row in given_]


def test_every_line_of_a_file_is_one_row_whatever_ends_lines_elsewhere(tmp_path):
    """Readers split at line feeds; a step may hold other characters that end lines."""
    tree = tree_of({"0.0": ("a\u2028b\x85c\rd\n", RIGHT), "0.1": ("e\x0b\x0c", WRONG)})
    rows = rows_of("trl", item_of(tree))
    schema = FORMATS["trl"].schema(False, RowOptions(label_threshold=0.0))
    container = JsonLines(tmp_path, schema)
    container.write("train", Batch(rows, pa.Table.from_pylist(rows, schema=schema)))
    container.close()
    with (tmp_path / "jsonl" / "train.jsonl").open("rb") as lines:
        assert [json.loads(line) for line in lines] == rows
