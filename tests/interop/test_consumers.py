"""Other programs read what is exported, as it is, and train on the model's own text.

`make test-interop` names the folder of their environments; elsewhere this is skipped.
"""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from forests.models import Forest
from tests.forests.factories import QUESTION, add_trees, make_forest
from tests.interop.consumers import CONSUMERS, READERS
from tests.preferences.trees import addition_tree

FOLDER = os.environ.get("INTEROP", "")

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(not FOLDER, reason="needs environments: run make test-interop"),
]

ADD, SUBTRACT = " Add: 2 + 3 = 5 — naïve, 足す.\n", "\tSubtract: 3 - 2 = 1 \n"
PAIRS = (  # prefix, chosen, rejected, margin: what `addition_tree` comes to
    ("", f"{ADD}The answer is 5", f"{SUBTRACT}The answer is 1", 0.5),
    (ADD, "The answer is 5", "The answer is 6", 1.0),
    (SUBTRACT, "  The answer is 5", "The answer is 1", 1.0),
)
SOLUTIONS = (
    (ADD, "The answer is 5", [1, 1]),
    (ADD, "The answer is 6", [1, 0]),
    (SUBTRACT, "The answer is 1", [1, 0]),
    (SUBTRACT, "  The answer is 5", [1, 1]),
)
TEXT = f"Question: {QUESTION}\nAnswer:"
CHAT = "<|system|>Add.</s><|user|>2 + 3?</s><|assistant|>"
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
    trains: bool = True
    margin: bool = False

    def __str__(self) -> str:
        return f"{self.consumer}-{self.kind}-{self.format}"


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
    Reading("openrlhf", "dpo", "trl", TEXT, " </s>", trains=False),
    Reading(
        "openrlhf", "rm_messages", "trl_conversational", CHAT, "</s>", learns="all", margin=True
    ),
    Reading("nemo_rl", "pairs", "nemo_rl", CHAT, "</s>", learns="answer", trains=False),
)


@pytest.fixture
def forest(db) -> Forest:
    return _with_pairs(make_forest("additions-test-first"))


@pytest.fixture
def chats(db) -> Forest:
    """Return a forest whose prompts are chats."""
    worker_config = {**make_forest("x-test-first").worker_config, "api": "chat"}
    prompt = [{"role": "system", "content": "Add."}, {"role": "user", "content": "2 + 3?"}]
    return _with_pairs(make_forest("chats-test-first", worker_config=worker_config), prompt=prompt)


def _with_pairs(forest: Forest, **fields: Any) -> Forest:
    forest = add_trees(forest, [addition_tree() for _ in range(2)], **fields)
    words = ["--forest_name", forest.name, "--set_name", "all", "--pairing", "all_pairs"]
    call_command("create_preferences", "--min_confidence", "0", *words)
    return forest


def read(
    consumer: str, kind: str, forest: Forest, name: str, container: str, output: Path, *more: str
) -> dict[str, Any]:
    """Export, and return what the consumer makes of it."""
    one = CONSUMERS[consumer]
    if one.checkout and not os.environ.get(one.checkout):
        pytest.skip(f"{one.name} has no package: {one.checkout} names a checkout of its source")
    words = ["--forest_name", forest.name, "--format", name, "--container", container]
    call_command("export_preferences", *words, "--output", str(output), *more)
    done = subprocess.run(
        [one.python(Path(FOLDER)), READERS / one.reader, kind, output, container],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": f"{output}-home"},
        cwd=output.parent,
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def assert_trained(found: dict[str, Any]) -> None:
    assert found["steps"] == len(found["losses"]) == 2
    assert found["finite"]
    assert found["changed"]


def split(parts: list[list[Any]]) -> tuple[str, str]:
    """Return the text that the trainer does not learn, and the text that it learns after that."""
    text = "".join(part for part, _ in parts)
    learnt = "".join(part for part, is_learnt in parts if is_learnt)
    assert text.endswith(learnt)
    return text[: len(text) - len(learnt)], learnt


@pytest.mark.parametrize(
    ("reading", "container"),
    [pytest.param(one, kind, id=f"{one}-{kind}") for one in READINGS for kind in one.containers],
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
            "answer": (reading.prompt, prefix),
            "all": ("", reading.prompt + prefix),
        }[reading.learns]
        sides = ((context, f"{start}{side}{reading.end}") for side in (chosen, rejected))
        expected.add((*sides, margin if reading.margin else None))
    assert {
        (split(row["chosen"]), split(row["rejected"]), row["margin"]) for row in found["read"]
    } == expected
    if reading.trains:
        assert_trained(found)


@pytest.mark.parametrize("consumer", ["trl_prm", "axolotl"])
def test_labels_stand_at_the_end_of_the_steps(forest, tmp_path, consumer: str):
    kind = {"trl_prm": "prm", "axolotl": "stepwise"}[consumer]
    found = read(consumer, kind, forest, "trl_stepwise", "jsonl", tmp_path / "out")

    # Both put a line end after each step, and the label on it.
    assert {(json.dumps(row["text"]), tuple(row["labels"])) for row in found["read"]} == {
        (
            json.dumps([[TEXT + first, False], ["\n", True], [second, False], ["\n", True]]),
            tuple(labels),
        )
        for first, second, labels in SOLUTIONS
    }
    assert_trained(found)


def test_kto_is_given_each_continuation_with_its_label(chats, tmp_path):
    found = read("trl", "kto", chats, "trl_unpaired", "parquet", tmp_path / "out")

    assert {(split(row["text"]), row["labels"]) for row in found["read"]} == {
        ((CHAT, f"{prefix}{text}</s>"), is_good)
        for prefix, chosen, rejected, _ in PAIRS
        for text, is_good in ((chosen, True), (rejected, False))
    }
    assert_trained(found)


def test_fapo_rewards_the_first_error_most(forest, tmp_path):
    found = read("verl", "prompts", forest, "fapo", "parquet", tmp_path / "out")

    assert {(row["ground_truth"], row["total_steps"]) for row in found["read"]} == {(-1, 2), (1, 2)}
    for row in found["read"]:
        assert QUESTION in row["prompt"][-1]["content"]
        if found["asked_reward"]:
            best = max(row["rewards"], key=row["rewards"].__getitem__)
            assert int(best) == row["ground_truth"]
            assert row["rewards"][best] == 1.0
