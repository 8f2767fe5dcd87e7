"""Other programs read the exported files as they are, and train on the model's own text.

`make test-interop` names the folder of their environments; without it, these tests are skipped.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from django.core.management import call_command

from forests.core.tokens.branches import Chain, chain_of
from forests.storage.trees import iter_trees
from rollouts.workers.jobs import grow_slice
from tests.forests.factories import QUESTION, add_trees, make_forest
from tests.interop.reading import ADD, SOLUTIONS, SUBTRACT, TEXT, assert_trained, read, split
from tests.preferences.trees import RIGHT, WRONG, tree_of
from tests.rollouts.forests import seeded

pytestmark = pytest.mark.django_db

PAIRS = (  # prefix, chosen, rejected, margin: the pairs of `addition_tree`
    ("", f"{ADD}The answer is 5", f"{SUBTRACT}The answer is 1", 0.5),
    (ADD, "The answer is 5", "The answer is 6", 1.0),
    (SUBTRACT, "  The answer is 5", "The answer is 1", 1.0),
)
TURNS = "<|system|>Add.</s><|user|>2 + 3?</s>"
CHAT = f"{TURNS}<|assistant|>"
CHATML = (
    "<|im_start|>system\nAdd.<|im_end|>\n<|im_start|>user\n2 + 3?<|im_end|>\n"
    "<|im_start|>assistant\n"
)


@dataclass(frozen=True, slots=True)
class Reading:
    """How a consumer reads a format of pairs, and what its trainer is then given."""

    consumer: str
    kind: str
    format: str
    prompt: str
    end: str
    containers: Sequence[str] = ("jsonl",)
    learns: str = "completion"
    """completion: what follows the prefix; answer: prefix too; all: no token is left out."""
    opening: str = ""
    """The part of the chat template before the answer that the trainer learns too."""
    trains: bool = True
    margin: bool = False

    def __str__(self) -> str:
        return f"{self.consumer}-{self.kind}-{self.format}"

    def case(self, container: str) -> Any:
        checked = f"{self.kind}: text, learnt tokens{', margin' if self.margin else ''}"
        mark = pytest.mark.reads(self.consumer, self.format, container, checked, trains=self.trains)
        return pytest.param(self, container, id=f"{self}-{container}", marks=mark)


READINGS = (
    Reading("trl", "dpo", "trl", TEXT, "</s>", ("jsonl", "parquet", "dataset")),
    Reading("trl", "dpo", "trl_conversational", CHAT, "</s>", learns="answer"),
    Reading("trl", "reward", "trl", TEXT, "</s>", learns="all", margin=True),
    Reading("trl", "reward", "trl_conversational", CHAT, "</s>", learns="all", margin=True),
    Reading("axolotl", "dpo", "trl", TEXT, "</s>"),
    Reading("axolotl", "dpo_chat", "trl_conversational", CHAT, "</s>", learns="answer"),
    Reading("ms_swift", "dpo", "ms_swift", CHATML, "<|im_end|>\n", ("jsonl", "parquet")),
    Reading("ms_swift", "rm", "ms_swift", CHATML, "<|im_end|>\n", learns="all", margin=True),
    Reading("llama_factory", "dpo", "llama_factory", CHATML, "<|im_end|>\n", learns="answer"),
    Reading("llama_factory", "rm", "llama_factory", CHATML, "<|im_end|>\n", learns="answer"),
    # OpenRLHF puts a blank before the end of a text that is not from a chat template.
    Reading("openrlhf", "dpo", "trl", TEXT, " </s>"),
    Reading(
        "openrlhf", "rm_messages", "trl_conversational", CHAT, "</s>", learns="all", margin=True
    ),
    Reading(
        "nemo_rl",
        "pairs",
        "nemo_rl",
        TURNS,
        "</s>",
        learns="answer",
        opening="<|assistant|>",
        trains=False,
    ),
)


@pytest.mark.parametrize(
    ("reading", "container"),
    [one.case(container) for one in READINGS for container in one.containers],
)
def test_a_trainer_of_pairs_is_given_the_text_of_the_model(
    request, tmp_path, reading: Reading, container: str
):
    forest = request.getfixturevalue("forest" if reading.prompt == TEXT else "chats")
    more = ["--with_values"] if reading.margin else []
    found = read(
        reading.consumer, reading.kind, forest, reading.format, container, tmp_path / "out", *more
    )

    expected = set()
    for prefix, chosen, rejected, margin in PAIRS:
        context, start = {
            "completion": (reading.prompt + prefix, ""),
            "answer": (reading.prompt, reading.opening + prefix),
            "all": ("", reading.prompt + prefix),
        }[reading.learns]
        sides = ((context, f"{start}{side}{reading.end}") for side in (chosen, rejected))
        expected.add((*sides, margin if reading.margin else None))
    assert {
        (split(row["chosen"]), split(row["rejected"]), row["margin"]) for row in found["read"]
    } == expected
    if reading.trains:
        assert_trained(found)


@pytest.mark.parametrize(
    "consumer",
    [
        pytest.param(
            one, marks=pytest.mark.reads(one, "trl_stepwise", "jsonl", "steps, labels at their end")
        )
        for one in ("trl_prm", "axolotl")
    ],
)
def test_labels_stand_at_the_end_of_the_steps(forest, tmp_path, consumer: str):
    kind = {"trl_prm": "prm", "axolotl": "stepwise"}[consumer]
    found = read(consumer, kind, forest, "trl_stepwise", "jsonl", tmp_path / "out")

    # Both put a line end after each step, and the label on this line end.
    assert {(json.dumps(row["text"]), tuple(row["labels"])) for row in found["read"]} == {
        (
            json.dumps([[TEXT + first, False], ["\n", True], [second, False], ["\n", True]]),
            tuple(labels),
        )
        for first, second, labels in SOLUTIONS
    }
    assert_trained(found)


@pytest.mark.reads("openrlhf_prm", "openrlhf_prm", "jsonl", "labels, on the step tags")
def test_openrlhf_finds_a_label_for_each_step_tag(forest, tmp_path):
    found = read("openrlhf_prm", "prm", forest, "openrlhf_prm", "jsonl", tmp_path / "out")

    assert {(json.dumps(row["text"]), tuple(row["labels"])) for row in found["read"]} == {
        (
            json.dumps(
                [
                    [f"{QUESTION} Step 1: {first.strip()} ", False],
                    ["ки", True],
                    [f"\nStep 2: {second.strip()} ", False],
                    ["ки", True],
                ]
            ),
            tuple("+" if label else "-" for label in labels),
        )
        for first, second, labels in SOLUTIONS
    }
    assert_trained(found)


@pytest.mark.reads(
    "openrlhf_prm",
    "openrlhf_prm",
    "jsonl",
    "soft labels",
    finds="cannot read any: its dataset puts them into a tensor of integers, which PyTorch refuses",
)
def test_openrlhf_cannot_read_soft_labels(forest, tmp_path):
    words = ("openrlhf_prm", "jsonl", tmp_path / "out", "--with_values")
    with pytest.raises(AssertionError, match="source and destination dtypes match, got Long"):
        read("openrlhf_prm", "prm_soft", forest, *words)


@pytest.mark.reads(
    "nemo_rl", "nemo_rl", "jsonl", "`--rank_siblings`: three ranks, its dataset", trains=False
)
def test_nemo_rl_reads_all_siblings_of_a_prefix_in_their_order(tmp_path):
    tree = tree_of(
        {
            "0.0": ("Wrong.\n", None),
            "0.1": ("Half.\n", None),
            "0.2": ("Right.\n", None),
            "0.0.0": ("6", WRONG, 4),
            "0.1.0": ("5", RIGHT, 2),
            "0.1.1": ("6", WRONG, 2),
            "0.2.0": ("5", RIGHT, 4),
        }
    )
    forest = add_trees(make_forest("ranked-test-first"), [tree])
    call_command(
        "create_preferences", "--forest_name", forest.name, "--set_name", "all",
        "--pairing", "all_pairs", "--level", "step", "--min_confidence", "0",
    )  # fmt: skip
    options = ("--rank_siblings", "--single_steps")
    found = read("nemo_rl", "ranks", forest, "nemo_rl", "jsonl", tmp_path / "out", *options)

    asked = [{"role": "user", "content": TEXT}]
    ordered = [["Right.\n", "Half.\n", "Wrong.\n"], ["Half.\n5", "Half.\n6"]]
    assert sorted(found["read"], key=str) == sorted(
        (
            [
                asked,
                [
                    [rank, [{"role": "assistant", "content": text}]]
                    for rank, text in enumerate(texts)
                ],
            ]
            for texts in ordered
        ),
        key=str,
    )


@pytest.mark.reads("trl", "trl_unpaired", "parquet", "kto: text, learnt tokens, labels")
def test_trl_kto_is_given_each_continuation_with_its_label(chats, tmp_path):
    found = read("trl", "kto", chats, "trl_unpaired", "parquet", tmp_path / "out")

    assert {(split(row["text"]), row["labels"]) for row in found["read"]} == {
        ((CHAT, f"{prefix}{text}</s>"), is_good)
        for prefix, chosen, rejected, _ in PAIRS
        for text, is_good in ((chosen, True), (rejected, False))
    }
    assert_trained(found)


@pytest.mark.reads("verl", "fapo", "parquet", "prompt, ground truth", trains=False)
def test_verl_is_given_prompts_with_the_first_error(forest, tmp_path):
    found = read("verl", "prompts", forest, "fapo", "parquet", tmp_path / "out")

    assert {(row["ground_truth"], row["total_steps"]) for row in found["read"]} == {(-1, 2), (1, 2)}
    assert all(QUESTION in row["prompt"][-1]["content"] for row in found["read"])


@pytest.mark.reads("fapo", "fapo", "parquet", "reward of each answer", trains=False)
def test_fapo_rewards_the_first_error_most(forest, tmp_path):
    found = read("fapo", "rewards", forest, "fapo", "parquet", tmp_path / "out")

    assert found["read"]
    for row in found["read"]:
        best = max(row["rewards"], key=row["rewards"].__getitem__)
        assert int(best) == row["ground_truth"]
        assert row["rewards"][best] == 1.0
        assert list(row["rewards"].values()).count(1.0) == 1


@pytest.mark.reads(
    "verifiers", "verifiers", "jsonl", "branches: token ids, masks, log probabilities", trains=False
)
def test_the_branches_of_a_trace_of_verifiers_are_the_solutions_of_the_tree(model_server, tmp_path):
    model_server.tells_ids = True
    forest = seeded(2, keep_tokens=True)
    grow_slice(forest.name, 0, 2)
    found = read("verifiers", "traces", forest, "verifiers", "jsonl", tmp_path / "out")

    solutions = []
    for stored in iter_trees(forest):
        for leaf in stored.tree.leaves():
            assert chain_of(stored.tree, leaf.path) is Chain.WHOLE
            nodes = [stored.tree.root, *stored.tree.path_nodes(leaf.path)]
            ids = [id_ for node in nodes if node.kept for id_ in node.kept.ids]
            said = [one for node in nodes if node.kept for one in node.kept.logprobs]
            mask = [one is not None for one in said]
            solutions.append([ids, mask, [one or 0.0 for one in said]])
    assert sorted(found["read"]) == sorted(solutions)
