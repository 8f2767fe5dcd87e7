"""Formats of pairs as ms-swift, LLaMA-Factory and NeMo-RL read them: messages of a chat.

These trainers put a text prompt into a chat template. Read from their sources in 2026-08: ms-swift
3602360a5, LLaMA-Factory ff6d4d12e, NeMo-RL 7ea279abf. All three add an end-of-sequence token.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from forests.core.tree import NodePath
from preferences.core.pairing import Pair
from preferences.core.ranking import Ranking, rankings
from preferences.export.formats.base import (
    MESSAGES,
    TEXT,
    Format,
    Item,
    Row,
    RowOptions,
    columns,
)
from preferences.export.formats.pairs import (
    EVIDENCE_OF_SIDE,
    evidence,
    evidence_of_side,
    with_evidence,
)
from preferences.export.formats.prompts import Message, message, turns_and_opening

# ms-swift

_SWIFT_MESSAGES = pa.list_(pa.struct([("role", TEXT), ("content", TEXT), ("loss", pa.bool_())]))


def _ms_swift(item: Item, options: RowOptions, dropped: Counter[str]) -> Iterator[Row]:
    """Yield rows that exclude the prefix that both sides share from the loss.

    ms-swift joins consecutive messages of one role. The `loss` of each message says whether its
    part counts in the loss.
    """
    turns, opening = turns_and_opening(item.prompt)
    if not _answer_may_follow(turns):
        dropped["pairs_with_turns_out_of_order"] += len(item.pairs)
        return
    for pair in item.pairs:
        before = opening + pair.prefix_text
        yield {
            "messages": _swift_messages(turns, before, pair.chosen.text),
            "rejected_messages": _swift_messages(turns, before, pair.rejected.text),
            **evidence(pair, options),
        }


def _swift_messages(turns: Sequence[Message], before: str, text: str) -> list[Row]:
    prompt: list[Row] = [{**turn, "loss": None} for turn in turns]
    prefix: list[Row] = [{**message("assistant", before), "loss": False}] if before else []
    return [*prompt, *prefix, {**message("assistant", text), "loss": True}]


# LLaMA-Factory

_TURN = pa.struct([("from", TEXT), ("value", TEXT)])
_FACTORY_ROLES: Mapping[str, str] = {"system": "system", "user": "human", "assistant": "gpt"}


def _llama_factory(item: Item, options: RowOptions, dropped: Counter[str]) -> Iterator[Row]:
    """Yield rows in the layout `sharegpt`, the default one that has system messages and turns.

    LLaMA-Factory skips a row unless user and assistant take turns, after at most one system
    message. Pairs with other prompts are counted instead of written.
    """
    turns, opening = turns_and_opening(item.prompt)
    if not _answer_may_follow(turns):
        dropped["pairs_with_turns_out_of_order"] += len(item.pairs)
        return
    conversations = [_turn(_FACTORY_ROLES[turn["role"]], turn["content"]) for turn in turns]
    for pair in item.pairs:
        before = opening + pair.prefix_text
        yield {
            "conversations": conversations,
            "chosen": _turn("gpt", before + pair.chosen.text),
            "rejected": _turn("gpt", before + pair.rejected.text),
            **evidence(pair, options),
        }


def _turn(role: str, text: str) -> Row:
    return {"from": role, "value": text}


def _answer_may_follow(turns: Sequence[Message]) -> bool:
    """Return whether user and assistant take turns, after at most one system message."""
    after_system = turns[1:] if turns and turns[0]["role"] == "system" else turns
    spoken = [turn["role"] for turn in after_system]
    wanted = ["user", "assistant"] * len(spoken)
    return len(spoken) % 2 == 1 and spoken == wanted[: len(spoken)]


def _dataset_info(files: Mapping[str, str]) -> Mapping[str, str]:
    """Return the file in which LLaMA-Factory looks up datasets by name: one for each split."""
    info = {
        split: {
            "file_name": path,
            "ranking": True,
            "formatting": "sharegpt",
            "columns": {
                "messages": "conversations",
                "chosen": "chosen",
                "rejected": "rejected",
            },
        }
        for split, path in files.items()
    }
    return {"dataset_info.json": json.dumps(info, indent=2) + "\n"}


# NeMo-RL


def _nemo_rl(item: Item, options: RowOptions, _dropped: Counter[str]) -> Iterator[Row]:
    """Yield rows of ranked completions: the two sides of a pair, or all siblings that pairs rank.

    NeMo-RL adds `task_name` itself and fails if a file has one. Its DPO and its reward models take
    rows of two.
    """
    turns, opening = turns_and_opening(item.prompt)
    by_prefix: dict[tuple[NodePath, str], list[Pair]] = {}
    for pair in item.pairs:
        by_prefix.setdefault((pair.prefix, pair.prefix_text), []).append(pair)
    for (_, prefix), pairs in by_prefix.items():
        for ranking in _rankings(pairs, options):
            yield {
                "context": turns,
                "completions": [
                    {
                        "rank": rank,
                        "completion": [message("assistant", opening + prefix + side.text)],
                        **evidence_of_side(side, options),
                    }
                    for rank, tie in enumerate(ranking)
                    for side in tie
                ],
                **_least_sure(pairs, ranking, options),
            }


def _rankings(pairs: Sequence[Pair], options: RowOptions) -> Sequence[Ranking]:
    if options.rank_siblings:
        return rankings(pairs)
    return [([pair.chosen], [pair.rejected]) for pair in pairs]


def _least_sure(pairs: Sequence[Pair], ranking: Ranking, options: RowOptions) -> Row:
    """Return the least margin and confidence of the pairs in a row, if asked for."""
    if not options.with_values:
        return {}
    rank_of = {side: rank for rank, tie in enumerate(ranking) for side in tie}
    said = [
        pair
        for pair in pairs
        if rank_of.get(pair.chosen, len(ranking)) < rank_of.get(pair.rejected, -1)
    ]
    known = [pair.confidence for pair in said if pair.confidence is not None]
    return {
        "margin": min(pair.margin for pair in said),
        "confidence": min(known) if len(known) == len(said) else None,
    }


def _nemo_rl_schema(_is_chat: bool, options: RowOptions) -> pa.Schema:
    of_side = list(EVIDENCE_OF_SIDE.items()) if options.with_values else []
    completion = pa.struct([("rank", pa.int64()), ("completion", MESSAGES), *of_side])
    sure = {"margin": pa.float64(), "confidence": pa.float64()} if options.with_values else {}
    return columns(context=MESSAGES, completions=pa.list_(completion), **sure)


CHAT_PAIR_FORMATS = (
    Format(
        "ms_swift",
        "pairs",
        _ms_swift,
        lambda _is_chat, options: with_evidence(
            options, messages=_SWIFT_MESSAGES, rejected_messages=_SWIFT_MESSAGES
        ),
        ends_completions=True,
    ),
    Format(
        "llama_factory",
        "pairs",
        _llama_factory,
        lambda _is_chat, options: with_evidence(
            options, conversations=pa.list_(_TURN), chosen=_TURN, rejected=_TURN
        ),
        ends_completions=True,
        besides=_dataset_info,
        containers=("parquet", "jsonl"),
    ),
    Format(
        "nemo_rl",
        "pairs",
        _nemo_rl,
        _nemo_rl_schema,
        ends_completions=True,
    ),
)
