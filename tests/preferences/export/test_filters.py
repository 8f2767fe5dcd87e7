"""Filters of an export, from the command to the files."""

import json
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from tokenizers import Tokenizer, models, pre_tokenizers

from forests.models import Forest
from preferences.models import PreferenceSet
from tests.forests.factories import (
    RIGHT,
    WRONG,
    add_trees,
    leaf,
    make_forest,
    tree_of,
)

pytestmark = pytest.mark.django_db

NAME = "ducks-test-first"


def steps_tree(right: str, wrong: str):
    return tree_of(leaf("0.0", right, RIGHT, answer="1"), leaf("0.1", wrong, WRONG, answer="2"))


@pytest.fixture
def forest(db) -> Forest:
    """Return a forest of six pairs; in four of them, the chosen side is longer."""
    longer = [steps_tree(f"The long right answer {n}.", f"Wrong {n}.") for n in range(4)]
    shorter = [steps_tree(f"Right {n}.", f"The long wrong answer {n}.") for n in range(2)]
    forest = make_forest(NAME)
    for number, tree in enumerate([*longer, *shorter]):
        prompt = f"Question: how many eggs has farm number {number}?\nAnswer:"
        forest = add_trees(forest, [tree], prompt=prompt)
    call_command(
        "create_preferences", "--min_confidence", "0", "--forest_name", NAME, "--set_name", "all"
    )
    return forest


def exported(output: Path, *arguments: str) -> tuple[list[dict], dict]:
    words = ["--forest_name", NAME, "--container", "jsonl", "--output", str(output)]
    call_command("export_preferences", *words, *arguments)
    lines = (output / "jsonl" / "train.jsonl").read_text("utf-8").splitlines()
    return list(map(json.loads, lines)), json.loads((output / "manifest.json").read_text())


def test_length_tells_nothing_in_a_balanced_dataset(forest, tmp_path):
    rows, manifest = exported(tmp_path / "out", "--balance_length")
    assert sum(len(row["chosen"]) > len(row["rejected"]) for row in rows) == 2
    assert len(rows) == 4
    assert manifest["left_out"] == {"pairs_that_tell_by_length": 2}
    assert manifest["parameters"]["balance_length"] is True
    again, _ = exported(tmp_path / "again", "--balance_length")
    assert again == rows
    others = [
        exported(tmp_path / f"{n}", "--balance_length", "--seed", f"{n}")[0] for n in range(6)
    ]
    assert any(other != rows for other in others)


def test_trees_with_a_question_of_the_benchmark_are_left_out(forest, tmp_path):
    file = tmp_path / "bench.jsonl"
    file.write_text('{"question": "How many eggs has farm number 3"}\nhas farm  NUMBER 5\n')
    rows, manifest = exported(tmp_path / "out", "--decontaminate", str(file))
    assert {row["prompt"].partition("?")[0][-1] for row in rows} == set("0124")
    assert manifest["left_out"] == {"trees_in_the_benchmark": 2}
    rows, _ = exported(tmp_path / "steps", "--format", "trl_stepwise", "--decontaminate", str(file))
    assert len(rows) == 8


@pytest.fixture
def tokenizer(tmp_path) -> Path:
    """Return a tokenizer with words as tokens."""
    made = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.save(str(tmp_path / "tokenizer.json"))
    return Path(tmp_path)


def test_pairs_with_too_many_tokens_are_left_out(forest, tmp_path, tokenizer):
    words = ["--tokenizer", str(tokenizer), "--max_length"]
    prompt = "Question: how many eggs has farm number 0?\nAnswer:"
    longest = len(f"{prompt}The long right answer 0.".split())
    rows, _ = exported(tmp_path / "all", *words, str(longest))
    assert len(rows) == 6
    with pytest.raises(CommandError, match=r"no rows to write \(6 pairs with more than --max"):
        exported(tmp_path / "none", *words, str(longest - 1))


def test_the_card_has_tables_and_a_picture_of_the_pairs(forest, tmp_path):
    _, manifest = exported(tmp_path / "out", "--test_fraction", "0.4")
    card = (tmp_path / "out" / "README.md").read_text()
    assert sum(found["pairs"] for found in manifest["statistics"].values()) == 6
    assert "|  | train | test |" in card
    assert "![Pairs by margin](margins.png)" in card
    assert (tmp_path / "out" / "margins.png").read_bytes().startswith(b"\x89PNG")
    assert "margins.png" in manifest["files"]


def test_the_set_knows_how_long_its_sides_are(forest, capsys):
    made = PreferenceSet.objects.get()
    assert (made.num_chosen_longer, made.num_chosen_shorter) == (4, 2)
    assert (made.mean_chosen_characters or 0) > (made.mean_rejected_characters or 0)
    call_command(
        "create_preferences", "--min_confidence", "0", "--forest_name", NAME, "--set_name", "all"
    )
    assert "num_chosen_longer: 4\nnum_chosen_shorter: 2\n" in capsys.readouterr().out
    again = PreferenceSet.objects.get()
    assert again.chosen_characters == made.chosen_characters


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max_length", "9"], "--max_length and --tokenizer go together"),
        (["--max_length", "9", "--tokenizer", "/nowhere"], "no tokenizer '/nowhere'"),
        (["--decontaminate", "/nowhere.txt"], "/nowhere.txt cannot be read: No such file"),
        (
            ["--format", "trl_stepwise", "--balance_length"],
            "--max_length and --balance_length choose pairs, and trl_stepwise has none",
        ),
    ],
)
def test_bad_filters_are_one_line_and_write_nothing(forest, tmp_path, arguments, message):
    with pytest.raises(CommandError, match=message):
        exported(tmp_path / "out", *arguments)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no question"),
        (b"{x\n", "line 1: not JSON"),
        (b'  {"question": NaN}\n', "line 1: NaN is not JSON"),
        (b'{"question": ' + b"[" * 5000 + b"\n", "line 1: its brackets are nested too deeply"),
        (b'{"question": " "}\n', "line 1 has none of prompt"),
        (b'[{"question": "How many?"}]\n', "line 1 is a JSON list: give one JSON object per line"),
        (b'[\n  {"question": "How many?"}\n]\n', "line 1 is a JSON list"),
        (b"\x1f\x8b\x08", "is compressed: unpack it first"),
        (b'fine\n{"a": 1}\n', "line 2 has none of prompt, question, problem, text"),
        (b"\xff\xfe", "is not UTF-8"),
    ],
)
def test_a_bad_benchmark_file_names_its_line(forest, tmp_path, content, message):
    file = tmp_path / "bench.jsonl"
    file.write_bytes(content)
    with pytest.raises(CommandError, match=message):
        exported(tmp_path / "out", "--decontaminate", str(file))
