"""Trainers of models that judge steps read critiques and conversations as they are."""

import pytest

from forests.models import Forest
from forests.storage.scores import start_scorer, write_judged
from forests.storage.trees import iter_trees
from preferences.export.formats.critiques import LAST_STEP
from rollouts.scoring.judge_prompts import PROMPTS, filled_prompt
from tests.forests.factories import QUESTION
from tests.interop.reading import SOLUTIONS, assert_trained, chat_text, joined, read, split
from tests.preferences.export.formats.test_critiques import judged

pytestmark = pytest.mark.django_db

SAYS = {1: "It holds. \\boxed{correct}", 0: "It does not hold. \\boxed{incorrect}"}
CHATML = "<|im_start|>user\n{asked}<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture
def judged_forest(forest: Forest) -> Forest:
    """Return a forest with a judge of two votes that differ in the last step of each solution."""
    scorer = start_scorer(forest, "judge", {"template": "per_step"}, "judge")
    replies = [[f"0: {SAYS[1]}\n1: {SAYS[last]}" for last in (1, 0)] for _ in SOLUTIONS]
    said = {stored.id: judged(stored.tree, "per_step", *replies) for stored in iter_trees(forest)}
    write_judged(scorer, said)
    return forest


def critiques() -> list[tuple[str, str]]:
    """Return the question about each solution, and the answer that follows from its labels."""
    return [
        (
            filled_prompt(PROMPTS["per_step"], QUESTION, [first, second]),
            "\n".join(f"{number}: {SAYS[label]}" for number, label in enumerate(labels)),
        )
        for first, second, labels in SOLUTIONS
    ]


def reads(consumer: str, name: str, *, trains: bool = True, checked: str = "sft") -> object:
    mark = pytest.mark.reads(
        consumer, name, "jsonl", f"{checked}: text, learnt tokens", trains=trains
    )
    return pytest.param(consumer, marks=mark)


@pytest.mark.parametrize(
    "consumer",
    [
        reads("trl", "critique_sft"),
        reads("axolotl", "critique_sft"),
        reads("ms_swift", "critique_sft"),
        reads("nemo_rl", "critique_sft", trains=False),
    ],
)
def test_a_trainer_of_chats_learns_the_verdicts_and_reasons(judged_forest, tmp_path, consumer):
    found = read(consumer, "sft", judged_forest, "critique_sft", "jsonl", tmp_path / "out")

    expected = set()
    for asked, answer in critiques():
        turn, opening, end = chat_text(("user", asked)), "<|assistant|>", f"{answer}</s>"
        expected.add(
            {
                "trl": ("", turn + opening + end),
                "axolotl": (turn + opening, end),
                "ms_swift": (CHATML.format(asked=asked), f"{answer}<|im_end|>\n"),
                "nemo_rl": (turn, opening + end),
            }[consumer]
        )
    assert {split(row["text"]) for row in found["read"]} == expected
    if consumer != "nemo_rl":
        assert_trained(found)


@pytest.mark.parametrize(
    "consumer",
    [
        reads("trl", "critique_pairs", checked="dpo"),
        reads("openrlhf", "critique_pairs", checked="dpo_messages"),
    ],
)
def test_a_trainer_of_pairs_prefers_the_vote_that_agrees_with_the_label(
    judged_forest, tmp_path, consumer
):
    kind = {"trl": "dpo", "openrlhf": "dpo_messages"}[consumer]
    found = read(consumer, kind, judged_forest, "critique_pairs", "jsonl", tmp_path / "out")

    expected = set()
    for first, second, labels in SOLUTIONS:
        asked = filled_prompt(LAST_STEP, QUESTION, [first, second])
        context = f"{chat_text(('user', asked))}<|assistant|>"
        votes = (labels[1], 1 - labels[1])
        expected.add(tuple((context, f"{SAYS[vote]}</s>") for vote in votes))
    assert {(split(row["chosen"]), split(row["rejected"])) for row in found["read"]} == expected
    assert_trained(found)


@pytest.mark.reads("axolotl", "rlhflow", "jsonl", "sft: text, a mark learnt after each step")
def test_axolotl_learns_the_mark_of_each_step_of_a_conversation(forest, tmp_path):
    found = read("axolotl", "sft_conversations", forest, "rlhflow", "jsonl", tmp_path / "out")

    def parts(first: str, second: str, labels: list[int]) -> tuple[tuple[str, bool], ...]:
        asked = (f"{QUESTION} {first.strip()}", second.strip())
        return tuple(
            part
            for text, label in zip(asked, labels, strict=True)
            for part in (
                (f"<|user|>{text}</s><|assistant|>", False),
                (f"{'+' if label else '-'}</s>", True),
            )
        )

    assert {joined(row["text"]) for row in found["read"]} == {
        parts(*solution) for solution in SOLUTIONS
    }
    assert_trained(found)
