"""The card of a dataset: what a stranger needs to load it, trust it and make it again."""

import re
import shlex
from ast import literal_eval
from io import StringIO
from pathlib import Path

import pytest
import yaml
from datasets import load_dataset
from django.core.management import call_command
from huggingface_hub import DatasetCard

from forests.core.values import NodeValue
from preferences.core.pairing import PairingOptions
from preferences.core.statistics import EvidenceStatistics
from preferences.export.limits import known_limits
from preferences.export.trainers import FOLDER, RECIPES, loading_sections, recipes_of
from preferences.export.writing import FORMATS
from preferences.sets.creation import SetParameters, create_preferences

pytestmark = pytest.mark.django_db

ELSEWHERE = ("trl", "transformers", "verifiers")
"""Libraries of trainers that these tests do not run; tests/interop has TRL."""


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def exported(forest, tmp_path):
    """Return a function that exports the forest in a format and returns the folder and its card."""
    parameters = SetParameters(PairingOptions(pairing="all_pairs", min_margin=0.1))
    create_preferences(forest, "all", parameters, report=lambda _trees: None)

    def export(name: str, *more: object) -> tuple[Path, DatasetCard]:
        output = tmp_path / "out" / name
        run(
            "export_preferences", "--forest_name", forest.name, "--format", name,
            "--container", "jsonl,parquet", "--output", output, *more,
        )  # fmt: skip
        return output, DatasetCard.load(output / "README.md")

    return export


def run(command: str, *arguments: object) -> None:
    call_command(command, *map(str, arguments), stdout=StringIO(), stderr=StringIO())


def blocks(card: DatasetCard, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)\n```", card.text, re.DOTALL)


OURS = [name for name in FORMATS if not FORMATS.package(name)]


@pytest.mark.parametrize("name", OURS)
def test_some_code_reads_each_format(name):
    assert recipes_of(name)


# Critiques need the words of a judge, and traces need kept tokens; this forest has neither.
@pytest.mark.parametrize(
    "name",
    [name for name in OURS if name != "verifiers" and not FORMATS[name].has_critiques],
)
def test_the_loading_code_of_each_format_is_right(name, exported, capsys):
    output, card = exported(name)
    programs = blocks(card, "python")
    for program in programs:
        code = compile(program.replace(FOLDER, str(output)), "card", "exec")
        if not any(f"from {library}" in program for library in ELSEWHERE):
            exec(code, {})  # noqa: S102  written by this project
    assert "load_dataset" in programs[0]
    for settings in blocks(card, "yaml"):
        assert yaml.safe_load(settings)
    for commands in blocks(card, "sh"):
        for word in shlex.split(commands, comments=True):
            if f"{FOLDER}/" in word:
                file = word[word.index(FOLDER) :].replace(FOLDER, str(output))
                assert Path(file).is_file()


def test_the_code_that_reads_rows_reads_what_they_say(exported, capsys):
    output, card = exported("math_shepherd")
    marked = next(code for code in blocks(card, "python") if "marks" in code)
    exec(marked.replace(FOLDER, str(output)), {})  # noqa: S102  written by this project
    said = [line.split(" ", 1) for line in capsys.readouterr().out.splitlines()]
    rows = load_dataset(str(output), split="train")
    for (number, marks), row in zip(said, rows, strict=True):
        assert int(number) == row["input"].count("ки") == len(literal_eval(marks))
        assert set(literal_eval(marks)) <= {"+", "-"}


def test_the_hub_finds_the_dataset_by_its_tags(exported):
    _, card = exported("trl_stepwise", "--with_values")
    data = card.data
    assert data.license == "mit"
    assert data.task_categories == ["token-classification"]
    assert data.size_categories == ["n<1K"]
    assert data.source_datasets == ["extended|example/sums"]
    assert {"prm", "process-reward-model", "trl", "axolotl", "trl_stepwise"} <= set(data.tags)
    features = {one["name"]: one for one in data.dataset_info["features"]}
    assert features["labels"] == {"name": "labels", "sequence": "bool"} or (
        features["labels"]["list"] == "bool"
    )
    _, pairs = exported("trl")
    assert {"preference", "dpo", "trl"} <= set(pairs.data.tags)
    assert "prm" not in pairs.data.tags


@pytest.mark.parametrize(
    ("name", "option"), [("trl", "balance_length"), ("trl_stepwise", "with_values")]
)
def test_the_commands_of_the_card_make_the_same_dataset_again(
    name, option, exported, forest, tmp_path
):
    more = ("--test_fraction", "0.5", "--seed", "3", "--pass_rate", "0.1,0.9", f"--{option}")
    output, card = exported(name, *more)
    commands = next(code for code in blocks(card, "sh") if code.startswith("prm seed_forest"))
    seed, grow, *others = map(shlex.split, commands.splitlines())
    assert seed[1:] == [
        "seed_forest", "--dataset_config_name", "sums", "--dataset_split", "test",
        "--forest_name_suffix", "first",
    ]  # fmt: skip
    assert grow == ["prm", "rollout_worker", "--forest_name", forest.name]
    again = tmp_path / "again"
    for _, command, *arguments in others:
        if "--output" in arguments:
            assert f"--{option}" in arguments
            assert arguments[arguments.index("--container") + 1] == "parquet,jsonl"
            arguments[arguments.index("--output") + 1] = str(again)
        else:
            arguments.append("--replace")
        run(command, *arguments)
    for split in ("train", "test"):
        file = f"jsonl/{split}.jsonl"
        assert (again / file).read_text() == (output / file).read_text()


def test_the_card_says_how_sure_pairs_and_labels_are(exported):
    _, pairs = exported("trl")
    assert "| confidence | pairs |" in pairs.text
    assert "| unknown | 0 |" in pairs.text
    _, steps = exported("trl_stepwise", "--label_threshold", "0.5")
    assert re.search(r"\d+ of \d+ values are those of good steps", steps.text)
    assert "| samples | values |" in steps.text


def test_evidence_is_counted_by_value_and_steps_without_one_have_no_label():
    found = EvidenceStatistics()
    values = [NodeValue(0.5, 2), NodeValue(1.0, 40), NodeValue(0.0, 0), NodeValue(None, 0)]
    found.add_steps(values, lambda value: value > 0.5)
    figures = found.as_dict()
    assert [name for name, number in figures.pop("samples").items() if number] == [
        "2 to 3", "32 and more",
    ]  # fmt: skip
    assert figures == {"median_samples": 2, "steps": 3, "good": 1, "undecided": 0}


def test_known_limits_follow_from_what_was_exported(exported):
    _, steps = exported("processbench")
    assert "- Monte Carlo values see only final answers." in steps.text
    assert "- Every solution with a right answer has label -1" in steps.text
    assert "samples or fewer" in steps.text
    assert "not compared with the questions of any benchmark" in steps.text
    single = {
        "format": "trl",
        "preference_set": {"parameters": {"level": "step"}},
        "parameters": {},
        "evidence": {"median_samples": 40, "confidence": {"unknown": 3}},
        "left_out": {},
        "models": {"a": 1},
        "forest": {"num_uncompared": 0, "num_trees": 1, "num_complete": 1},
    }
    said = " ".join(known_limits(single))
    assert "create the set with `--level step_to_end`" in said
    assert "Nobody knows the confidence of 3 pairs." in said
    assert "samples or fewer" not in said
    judged = {
        "format": "trl_stepwise",
        "preference_set": None,
        "parameters": {"scorer": "judge", "agree": ["other"], "decontaminate": "x.jsonl"},
        "evidence": {"median_samples": None},
        "left_out": {"thoughts": 2},
        "models": {"a": 1, "b": 2},
        "forest": {"num_uncompared": 3, "num_trees": 4, "num_complete": 2},
    }
    said = " ".join(known_limits(judged))
    for part in ("`judge` says", "other agree", "thoughts", "3 samples", "2 of 4 trees", "Several"):
        assert part in said
    assert "Monte Carlo" not in said
    assert "benchmark" not in said


def test_a_dataset_on_the_hub_is_loaded_by_its_name_and_files_from_a_copy():
    said = "\n".join(loading_sections("ms_swift", ["jsonl"], "me/sums"))
    assert 'load_dataset("me/sums")' in said
    assert "hf download me/sums --repo-type dataset --local-dir sums" in said
    assert "--dataset sums/jsonl/train.jsonl" in said
    assert FOLDER not in said
    without = "\n".join(loading_sections("ms_swift", ["parquet"], ""))
    missing = "ms-swift DPO and RM can read it too if it is exported with `--container jsonl`."
    assert missing in without
    assert "swift rlhf" not in without


def test_every_recipe_has_formats_and_code_without_open_places():
    for one in RECIPES:
        assert one.formats
        for name in one.formats:
            containers = [one.container or "jsonl"]
            assert "$" not in "\n".join(loading_sections(name, containers, ""))
