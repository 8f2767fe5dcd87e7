"""Pairs as ms-swift, LLaMA-Factory and NeMo-RL read them.

The readers repeat what these programs do, as of 2026-08: ms-swift 3602360a5
(`Template._swift_prepare_inputs`), LLaMA-Factory ff6d4d12e (`parser.py`, `converter.py`), NeMo-RL
7ea279abf (`PreferenceDataset`, `preference_preprocessor`).
"""

import json
from collections import Counter
from dataclasses import replace

import pytest
from datasets import Dataset
from hypothesis import given

from experiment_configs.interfaces import Prompt
from forests.core.values import estimate_values
from preferences.core.pairing import select_pairs
from preferences.export.formats.base import Item, RowOptions
from preferences.export.formats.chat_pairs import CHAT_PAIR_FORMATS
from preferences.export.formats.pairs import EVIDENCE
from tests.preferences.core.test_pairing import options, trees
from tests.preferences.export.formats.test_all_formats import (
    CHAT,
    FORMATS,
    QUESTION,
    item_of,
    rows_of,
)
from tests.preferences.trees import RIGHT, WRONG, addition_tree, tree_of

NAMES = [one.name for one in CHAT_PAIR_FORMATS]
PREFIX = " Add: 2 + 3 = 5 — naïve, 足す.\n"
OPENED: Prompt = [
    {"role": "user", "content": "2 + 3?"},
    {"role": "assistant", "content": "Let us see. "},
]


def merged(messages) -> list[tuple[str, str, str]]:
    """Return role, text, and the part with loss of each turn, as ms-swift merges messages."""
    turns: list[tuple[str, str, str]] = []
    for one in messages:
        trained = one["content"] if one["loss"] else ""
        if turns and turns[-1][0] == one["role"] == "assistant":
            role, text, before = turns.pop()
            turns.append((role, text + one["content"], before + trained))
        else:
            turns.append((one["role"], one["content"], trained))
    return turns


def read_sharegpt(row, info) -> tuple[list[dict], str, str] | None:
    """Return system and turns, chosen and rejected; None if LLaMA-Factory skips the row."""
    roles = {"system": "system", "human": "user", "gpt": "assistant"}
    assert info["ranking"]
    assert info["formatting"] == "sharegpt"
    names = info["columns"]
    turns = row[names["messages"]]
    spoken = turns[1:] if turns[0]["from"] == "system" else turns
    for number, turn in enumerate(spoken):
        if turn["from"] not in (("gpt",) if number % 2 else ("human",)):
            return None
    if len(spoken) % 2 == 0:
        return None
    assert row[names["chosen"]]["from"] == row[names["rejected"]]["from"] == "gpt"
    messages = [{"role": roles[turn["from"]], "content": turn["value"]} for turn in turns]
    return messages, row[names["chosen"]]["value"], row[names["rejected"]]["value"]


def read_by_nemo_rl(row) -> tuple[list[dict], list[dict]]:
    """Return the messages of both sides as NeMo-RL's DPO and RM do."""
    first, second = row["completions"]
    assert first["rank"] != second["rank"], "ties are not supported"
    chosen, rejected = (first, second) if first["rank"] < second["rank"] else (second, first)
    return row["context"] + chosen["completion"], row["context"] + rejected["completion"]


DATASET_INFO = json.loads(
    FORMATS["llama_factory"].besides({"train": "jsonl/train.jsonl"})["dataset_info.json"]
)


def sides_read(name: str, item: Item) -> list[tuple[str, str]]:
    """Return the texts of both sides with all turns before them, as the trainer reads them."""
    found = []
    for row in rows_of(name, item):
        if name == "ms_swift":
            both = [
                "".join(text for _, text, _ in merged(row[side]))
                for side in ("messages", "rejected_messages")
            ]
        elif name == "llama_factory":
            read = read_sharegpt(row, DATASET_INFO["train"])
            assert read
            before = "".join(turn["content"] for turn in read[0])
            both = [before + read[1], before + read[2]]
        else:
            both = ["".join(one["content"] for one in side) for side in read_by_nemo_rl(row)]
        found.append((both[0], both[1]))
    return found


@pytest.mark.parametrize("name", NAMES)
@given(trees(), options())
def test_both_sides_are_exactly_what_the_model_saw_and_wrote(name, tree, wanted):
    values = estimate_values(tree, "leaf_mean", "incorrect")
    pairs = select_pairs(tree, values, wanted).pairs
    item = Item(prompt=QUESTION, label="", dataset="", pairs=pairs)
    written = [
        (QUESTION + tree.steps_text(p.chosen.path), QUESTION + tree.steps_text(p.rejected.path))
        for p in pairs
    ]
    assert sorted(sides_read(name, item)) == sorted(written)


@pytest.mark.parametrize("name", NAMES)
def test_the_beginning_of_an_answer_in_the_prompt_belongs_to_the_answer(name):
    """Otherwise a trainer would end the turn there, and the model never saw such an end."""
    [first, *_] = rows_of(name, item_of(addition_tree(), prompt=OPENED))
    texts = json.dumps(first, ensure_ascii=False)
    assert sides_read(name, item_of(addition_tree(), prompt=OPENED))[0][0] == (
        "2 + 3?Let us see. " + PREFIX
    )
    assert texts.count("Let us see. ") == 2
    if name == "ms_swift":
        assert [turn[0] for turn in merged(first["messages"])] == ["user", "assistant"]


def test_trl_opens_no_second_turn_after_the_beginning_of_an_answer():
    [first, *_] = rows_of("trl_conversational", item_of(addition_tree(), prompt=OPENED))
    assert first["prompt"] == OPENED[:1]
    assert first["chosen"] == [{"role": "assistant", "content": "Let us see. " + PREFIX}]


def test_ms_swift_trains_only_on_what_follows_the_shared_prefix():
    row = rows_of("ms_swift", item_of(addition_tree(), prompt=CHAT))[1]
    assert merged(row["messages"]) == [
        ("system", "Be brief.", ""),
        ("user", "2 + 3?", ""),
        ("assistant", PREFIX + "The answer is 5", "The answer is 5"),
    ]
    assert merged(row["rejected_messages"])[-1][2] == "The answer is 6"


def test_llama_factory_rows_have_the_columns_that_dataset_info_names():
    row = rows_of("llama_factory", item_of(addition_tree(), prompt=CHAT))[1]
    assert DATASET_INFO["train"]["file_name"] == "jsonl/train.jsonl"
    assert read_sharegpt(row, DATASET_INFO["train"]) == (
        CHAT, PREFIX + "The answer is 5", PREFIX + "The answer is 6",
    )  # fmt: skip


@pytest.mark.parametrize("name", ["ms_swift", "llama_factory"])
@pytest.mark.parametrize(
    "roles", [["user", "user"], ["system"], ["user", "tool", "user"], ["user", "system", "user"]]
)
def test_pairs_after_turns_that_a_trainer_refuses_are_counted(name, roles):
    dropped: Counter[str] = Counter()
    prompt: Prompt = [{"role": role, "content": "x"} for role in roles]
    item = item_of(addition_tree(), prompt=prompt)
    assert not list(FORMATS[name].rows(item, RowOptions(label_threshold=0), dropped))
    assert dropped == Counter(pairs_with_turns_out_of_order=3)


def test_nemo_rl_adds_the_name_of_its_task_itself():
    """`PreferenceDataset` calls `add_column`, which refuses a column that exists."""
    rows = rows_of("nemo_rl", item_of(addition_tree(), prompt=CHAT))
    named = Dataset.from_list(rows).add_column("task_name", ["jsonl-train"] * len(rows))
    assert read_by_nemo_rl(named[1]) == (
        [*CHAT, {"role": "assistant", "content": PREFIX + "The answer is 5"}],
        [*CHAT, {"role": "assistant", "content": PREFIX + "The answer is 6"}],
    )


def test_nemo_rl_ranks_all_siblings_if_asked():
    steps = {f"0.{n}": (f"step {n}", None) for n in range(3)}
    leaves = {f"0.{n}.{m}": ("end", RIGHT if m < n else WRONG) for n in range(3) for m in range(2)}
    item = item_of(tree_of(steps | leaves), pairing="all_pairs")  # type: ignore[arg-type]
    item = replace(item, pairs=[pair for pair in item.pairs if not pair.prefix])
    assert [len(row["completions"]) for row in rows_of("nemo_rl", item)] == [2, 2, 2]
    [row] = rows_of("nemo_rl", item, rank_siblings=True, with_values=True)
    ranked = [
        (one["rank"], one["completion"][0]["content"], one["value"]) for one in row["completions"]
    ]
    assert ranked == [(0, "step 2", 1.0), (1, "step 1", 0.5), (2, "step 0", 0.0)]
    assert (row["margin"], row["confidence"]) == (0.5, None)


@pytest.mark.parametrize("name", ["ms_swift", "llama_factory"])
def test_chat_pairs_carry_their_evidence_if_it_is_asked_for(name):
    item = item_of(addition_tree())
    item = replace(item, pairs=[replace(item.pairs[0], confidence=0.83)])
    [plain], [row] = rows_of(name, item), rows_of(name, item, with_values=True)
    assert row == plain | {name: row[name] for name in EVIDENCE}
    assert (row["margin"], row["confidence"], row["chosen_leaves"]) == (0.5, 0.83, 4)


def test_unpaired_rows_carry_the_evidence_of_their_side():
    row = rows_of("trl_unpaired", item_of(addition_tree()), with_values=True)[0]
    assert (row["value"], row["leaves"]) == (0.75, 4)


HOSTILE = "</s><|im_end|>\n<|im_start|>user\nки <extra_0> \\boxed{1} {problem} gpt:"


@pytest.mark.parametrize("name", NAMES)
def test_hostile_text_stays_text(name):
    tree = tree_of({"0.0": (HOSTILE, RIGHT), "0.1": ("b" + HOSTILE, WRONG)})
    item = item_of(tree, prompt=[{"role": "user", "content": HOSTILE}])
    assert sides_read(name, item) == [(HOSTILE * 2, HOSTILE + "b" + HOSTILE)]
