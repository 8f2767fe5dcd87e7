"""Formats of pairs as TRL, OpenRLHF and Step-DPO read them: `prompt`, `chosen`, `rejected`."""

from collections import Counter
from collections.abc import Iterator

import pyarrow as pa

from forests.core.values import leaf_result
from preferences.core.pairing import STEP_TO_END, Pair, Side
from preferences.export.formats.base import (
    MESSAGES,
    TEXT,
    Format,
    Item,
    Row,
    RowOptions,
    SchemaOf,
    columns,
)
from preferences.export.formats.prompts import exact_text, message, turns_and_opening

EVIDENCE = {
    "chosen_value": pa.float64(),
    "rejected_value": pa.float64(),
    "chosen_leaves": pa.int64(),
    "rejected_leaves": pa.int64(),
    "margin": pa.float64(),
    "confidence": pa.float64(),
}
"""Columns with the evidence of a pair. Trainers keep or ignore them, with one exception: the reward
trainers of TRL, OpenRLHF and ms-swift subtract `margin` in their loss."""
EVIDENCE_OF_SIDE = {"value": pa.float64(), "leaves": pa.int64()}
"""Columns with the evidence of the label of one side."""


def evidence(pair: Pair, options: RowOptions) -> Row:
    """Return the columns `EVIDENCE` of a pair, if they are asked for."""
    if not options.with_values:
        return {}
    return {
        "chosen_value": pair.chosen.value,
        "rejected_value": pair.rejected.value,
        "chosen_leaves": pair.chosen.leaves,
        "rejected_leaves": pair.rejected.leaves,
        "margin": pair.margin,
        "confidence": pair.confidence,
    }


def evidence_of_side(side: Side, options: RowOptions) -> Row:
    """Return the columns `EVIDENCE_OF_SIDE`, if they are asked for."""
    return {"value": side.value, "leaves": side.leaves} if options.with_values else {}


def with_evidence(options: RowOptions, *names: str, **others: pa.DataType) -> pa.Schema:
    """Return a schema of text columns and others, with `EVIDENCE` if it is asked for."""
    return columns(*names, **others, **(EVIDENCE if options.with_values else {}))


def _trl(item: Item, options: RowOptions, _dropped: Counter[str]) -> Iterator[Row]:
    prompt = exact_text(item.prompt)
    for pair in item.pairs:
        yield {
            "prompt": prompt + pair.prefix_text,
            "chosen": pair.chosen.text,
            "rejected": pair.rejected.text,
            **evidence(pair, options),
        }


def _trl_conversational(item: Item, options: RowOptions, _dropped: Counter[str]) -> Iterator[Row]:
    """Yield rows whose assistant turns start with the prefix that both sides share.

    TRL (f2cd577, `DPOTrainer`) opens a new assistant turn after the prompt. A prefix
    in a message of its own would get an end of turn that the model never saw. The shared prefix
    cancels in DPO's difference of log-ratios.
    """
    prompt, opening = turns_and_opening(item.prompt)
    for pair in item.pairs:
        before = opening + pair.prefix_text
        yield {
            "prompt": prompt,
            "chosen": [message("assistant", before + pair.chosen.text)],
            "rejected": [message("assistant", before + pair.rejected.text)],
            **evidence(pair, options),
        }


def _trl_unpaired(item: Item, options: RowOptions, dropped: Counter[str]) -> Iterator[Row]:
    """Yield each continuation in the pairs once, labelled by its own value.

    A step that was continued to an end has the label of this end, because a good step can have bad
    continuations.
    """
    sides = {
        (pair.prefix_text, side.text): side
        for pair in item.pairs
        for side in (pair.chosen, pair.rejected)
    }
    for (prefix, text), side in sides.items():
        if (label := _label_of_side(item, side, options)) is None:
            dropped["sides_without_result"] += 1
            continue
        known = {"label": label, **evidence_of_side(side, options)}
        if isinstance(item.prompt, str):
            yield {"prompt": item.prompt + prefix, "completion": text, **known}
        else:
            prompt, opening = turns_and_opening(item.prompt)
            completion = [message("assistant", opening + prefix + text)]
            yield {"prompt": prompt, "completion": completion, **known}


def _label_of_side(item: Item, side: Side, options: RowOptions) -> bool | None:
    """Return whether a side is good; None if it was continued to an end without a result."""
    if options.level != STEP_TO_END:
        return options.is_good(side.value)
    return leaf_result(item.tree.nodes[side.path])


def _step_dpo(item: Item, options: RowOptions, _dropped: Counter[str]) -> Iterator[Row]:
    for pair in item.pairs:
        yield {
            "dataset": item.dataset,
            "prompt": item.asked,
            "prefix": pair.prefix_text,
            "initial_reason_steps": pair.prefix_text,
            "chosen": pair.chosen.text,
            "rejected": pair.rejected.text,
            "answer": item.label,
            **evidence(pair, options),
        }


def _conversational_schema(_is_chat: bool, options: RowOptions) -> pa.Schema:
    return with_evidence(options, prompt=MESSAGES, chosen=MESSAGES, rejected=MESSAGES)


def _of_pairs(*names: str) -> SchemaOf:
    return lambda _is_chat, options: with_evidence(options, *names)


def _unpaired_schema(is_chat: bool, options: RowOptions) -> pa.Schema:
    kind = MESSAGES if is_chat else TEXT
    known = EVIDENCE_OF_SIDE if options.with_values else {}
    return columns(prompt=kind, completion=kind, label=pa.bool_(), **known)


PAIR_FORMATS = (
    Format(
        "trl",
        "pairs",
        _trl,
        _of_pairs("prompt", "chosen", "rejected"),
        ends_completions=True,
    ),
    Format(
        "trl_conversational",
        "pairs",
        _trl_conversational,
        _conversational_schema,
        ends_completions=True,
    ),
    Format(
        "trl_unpaired",
        "pairs",
        _trl_unpaired,
        _unpaired_schema,
        default_threshold=0.5,
        needs_trees=True,
        ends_completions=True,
    ),
    Format(
        "step_dpo",
        "pairs",
        _step_dpo,
        _of_pairs(
            "dataset", "prompt", "prefix", "initial_reason_steps", "chosen", "rejected", "answer"
        ),
    ),
)
