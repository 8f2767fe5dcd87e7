"""What `export_preferences` refuses, warns of and writes beside the rows of a format."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from datasets import load_dataset
from django.core.management import CommandError, call_command

from forests.core.opinions.judged import JudgedTree
from forests.core.opinions.verdicts import HUMAN, JUDGE, PRM
from forests.models import Forest
from forests.storage.scores import start_scorer, write_judged
from forests.storage.trees import tree_ids
from preferences.export.trainers import trainers_of
from preferences.export.writing import FORMATS
from tests.preferences.trees import RIGHT, WRONG, tree_of

ENDING = [name for name, one in FORMATS.items() if one.ends_completions]
CONTAINER = {"fapo": "parquet"}


@pytest.fixture
def forest(make_forest) -> Forest:
    made: Forest = make_forest()
    return made


def pair(forest: Forest, *arguments: str) -> None:
    call_command(
        "create_preferences", "--forest_name", forest.name, "--min_confidence", "0", *arguments,
        stdout=StringIO(), stderr=StringIO(),
    )  # fmt: skip


def exported(forest: Forest, out: Path, name: str, *arguments: str) -> tuple[dict[str, Any], str]:
    """Return the manifest, and what the command said."""
    told = StringIO()
    call_command(
        "export_preferences", "--forest_name", forest.name, "--format", name, "--output", str(out),
        *arguments, stdout=StringIO(), stderr=told,
    )  # fmt: skip
    return json.loads((out / "manifest.json").read_text()), told.getvalue()


def rows_in(out: Path) -> list[dict[str, Any]]:
    text = (out / "jsonl" / "train.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def judge(forest: Forest, name: str = "critic", kind: str = JUDGE, **parameters: Any) -> None:
    """Store a judge's opinion of the first tree: two votes on its first step."""
    scorer = start_scorer(forest, name, {"kind": kind, **parameters}, kind)
    said = "**right:** It adds.\n\n**wrong:** It does not."
    [tree] = tree_ids(forest, [0])
    write_judged(scorer, {tree: JudgedTree({(0,): 0.5}, {(0,): said}, {(0,): [1, 0, 1]})})


class TestSingleSteps:
    @pytest.mark.parametrize("name", ENDING)
    def test_they_are_refused_where_trainers_end_each_completion(self, forest, tmp_path, name):
        pair(forest, "--level", "step")
        with pytest.raises(CommandError) as refused:
            exported(forest, tmp_path / "out", name)
        assert "--level step_to_end" in str(refused.value)
        assert "--single_steps" in str(refused.value)
        assert "\n" not in str(refused.value)
        assert not (tmp_path / "out").exists()

    def test_the_default_level_ends_every_side_with_the_solution(self, forest, tmp_path):
        pair(forest)
        manifest, _ = exported(forest, tmp_path / "out", "trl", "--container", "jsonl")
        rows = rows_in(tmp_path / "out")
        assert all("The answer is" in row[side] for row in rows for side in ("chosen", "rejected"))
        assert manifest["preference_set"]["parameters"]["level"] == "step_to_end"
        assert manifest["trainers"] == trainers_of(FORMATS["trl"])
        card = (tmp_path / "out" / "README.md").read_text()
        assert "each continued to the end of a solution" in card

    def test_an_option_writes_them_and_manifest_and_card_say_so(self, forest, tmp_path):
        pair(forest, "--level", "step")
        manifest, _ = exported(forest, tmp_path / "out", "trl", "--single_steps")
        assert manifest["parameters"]["single_steps"] is True
        assert "| Sides of a pair | single steps." in (tmp_path / "out" / "README.md").read_text()

    def test_step_dpo_is_made_for_them(self, forest, tmp_path):
        pair(forest, "--level", "step")
        manifest, _ = exported(forest, tmp_path / "out", "step_dpo")
        assert manifest["rows"]["train"] == 18

    def test_steps_that_end_solutions_are_safe(self, make_forest, tmp_path):
        tree = tree_of({"0.0": ("So 5", RIGHT), "0.1": ("So 6", WRONG)})
        forest = make_forest("ends-test-first", [tree])
        pair(forest, "--level", "step")
        manifest, _ = exported(forest, tmp_path / "out", "trl")
        assert manifest["rows"]["train"] == 1


class TestMargin:
    def test_it_is_written_only_if_asked_for_and_the_command_says_what_it_does(
        self, forest, tmp_path
    ):
        pair(forest)
        manifest, told = exported(forest, tmp_path / "a", "trl")
        assert "margin" not in manifest["columns"]
        assert "changes the loss" not in told
        manifest, told = exported(forest, tmp_path / "b", "trl", "--with_values")
        assert "margin" in manifest["columns"]
        assert "`margin` changes the loss of the reward trainers" in told


class TestLlamaFactory:
    def test_the_directory_is_a_dataset_dir(self, forest, tmp_path, monkeypatch):
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
        pair(forest)
        out = tmp_path / "out"
        exported(
            forest, out, "llama_factory", "--container", "dataset,jsonl", "--test_fraction", "0.4"
        )
        info = json.loads((out / "dataset_info.json").read_text())
        assert set(info) == {"train", "test"}
        for split, attributes in info.items():
            file = out / attributes["file_name"]
            rows = load_dataset("json", data_files=[str(file)], split="train")
            assert set(attributes["columns"].values()) <= set(rows.column_names)
            assert rows.num_rows == json.loads((out / "manifest.json").read_text())["rows"][split]
        assert set(load_dataset(str(out))) == {"train", "test"}  # the card names them too

    def test_a_container_that_it_cannot_read_is_refused(self, forest, tmp_path):
        pair(forest)
        with pytest.raises(CommandError, match="read parquet or jsonl: add one"):
            exported(forest, tmp_path / "out", "llama_factory", "--container", "dataset")


class TestCritics:
    def test_critique_pairs_without_a_judge_name_the_command_that_asks_one(self, forest, tmp_path):
        with pytest.raises(CommandError, match="score_nodes --kind judge --votes"):
            exported(forest, tmp_path / "out", "critique_pairs")

    def test_the_only_judge_is_the_critic_of_monte_carlo_labels(self, forest, tmp_path):
        judge(forest, template="per_step")
        manifest, _ = exported(forest, tmp_path / "out", "critique_pairs", "--container", "jsonl")
        [row] = rows_in(tmp_path / "out")
        assert row["chosen"][0]["content"] == "It adds. \\boxed{correct}"
        assert row["rejected"][0]["content"] == "It does not. \\boxed{incorrect}"
        assert manifest["parameters"]["critic"] == "critic"
        assert manifest["parameters"]["critique"] == "per_step"

    def test_votes_that_agree_leave_no_pairs_and_the_reason_says_what_to_do(self, forest, tmp_path):
        scorer = start_scorer(forest, "critic", {}, JUDGE)
        [tree] = tree_ids(forest, [0])
        write_judged(scorer, {tree: JudgedTree({(0,): 1.0}, {(0,): "Fine."}, {(0,): [1, 0, 0]})})
        with pytest.raises(CommandError, match="ask the judge for more votes"):
            exported(forest, tmp_path / "out", "critique_pairs")

    def test_of_several_judges_one_must_be_chosen(self, forest, tmp_path):
        judge(forest, "one")
        judge(forest, "other")
        with pytest.raises(CommandError, match="choose one by --critic: one, other"):
            exported(forest, tmp_path / "a", "critique_sft")
        manifest, _ = exported(forest, tmp_path / "b", "critique_sft", "--critic", "other")
        assert manifest["parameters"]["critic"] == "other"

    def test_people_can_be_the_critic_and_a_reward_model_cannot(self, forest, tmp_path):
        judge(forest, "people", HUMAN)
        start_scorer(forest, "prm", {}, PRM)
        manifest, _ = exported(forest, tmp_path / "a", "critique_sft", "--critic", "people")
        assert manifest["rows"]["train"] == 24
        with pytest.raises(CommandError, match="gives no verdicts"):
            exported(forest, tmp_path / "b", "critique_sft", "--critic", "prm")

    @pytest.mark.parametrize(
        ("name", "arguments", "message"),
        [
            ("critique_sft", ["--critique", "per_step"], "was asked for first_error"),
            ("trl_stepwise", ["--critic", "critic"], "is for critiques, and trl_stepwise has none"),
            ("critique_sft", ["--critic", "nobody"], "has no scorer 'nobody'"),
            ("critique_sft", ["--values", "progress"], "a step without progress may be right"),
            ("fapo", ["--container", "jsonl"], "read parquet: add one"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, forest, tmp_path, name, arguments, message):
        judge(forest, template="first_error")
        with pytest.raises(CommandError, match=message):
            exported(forest, tmp_path / "out", name, *arguments)
        assert not (tmp_path / "out").exists()

    def test_a_prompt_must_have_its_places(self, forest, tmp_path):
        (tmp_path / "prompt.txt").write_text("{problem}")
        with pytest.raises(CommandError, match=r"has \{solution\} 0 times"):
            exported(
                forest, tmp_path / "out", "fapo", "--critique_prompt", str(tmp_path / "prompt.txt")
            )
