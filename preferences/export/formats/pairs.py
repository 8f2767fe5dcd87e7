"""Formats of preference and reward datasets, as trainers read them.

A format converts one tree to rows of one schema. It trims, converts or drops nothing unless the
format cannot represent it; then it counts that with the reason.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import pyarrow as pa

from experiment_configs.interfaces import Prompt
from experiment_configs.questions import question_of_prompt
from forests.core.tree import NodePath, ReasoningTree
from forests.core.values import NodeValue
from preferences.core.pairing import Pair
from preferences.export.formats.annotation import Annotation
from preferences.export.formats.prompts import as_messages, exact_text, message

Row: TypeAlias = dict[str, Any]

Thoughts: TypeAlias = Literal["keep", "drop"]
"""Whether to keep the thoughts of a reasoning model in texts: see `formats.thought_marks`."""

TEXT = pa.string()
MESSAGES = pa.list_(pa.struct([("role", TEXT), ("content", TEXT)]))


@dataclass(frozen=True, slots=True)
class Item:
    """The input of a format from one tree: formats of pairs read `pairs`, others read `tree`.

    If `pairs` is set, `tree` is set only if it has thoughts.
    """

    prompt: Prompt
    """The prompt as the model saw it."""
    label: str
    dataset: str
    index: int = 0
    """Index of the tree in its forest."""
    timestamp: str = ""
    pairs: Sequence[Pair] = ()
    tree: ReasoningTree = field(default_factory=ReasoningTree)
    values: Mapping[NodePath, NodeValue] = field(default_factory=dict)
    question: str = ""
    """The question as stored with the tree; see `asked`."""
    num_thoughts: int = 0
    """Number of thoughts in the texts."""
    num_inside_thoughts: int = 0
    """Number of pairs with a side that ends in the middle of a thought."""
    annotation: Annotation | None = None
    """Steps that may be labelled; None: all steps with a value."""
    judges_steps: bool = False
    """Whether the values judge steps, not answers: those of a scorer, or that sources agree on."""
    neutral: float | None = None
    """The value of a step that is neither right nor wrong; None if there is none."""

    @property
    def asked(self) -> str:
        """The question without the instructions and examples of the prompt."""
        return self.question or question_of_prompt(self.prompt)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowOptions:
    label_threshold: float
    """A step is good if its value is above this; papers differ (> 0, > 0.5, = 1)."""
    with_values: bool = False
    """Whether `trl_stepwise` has columns of soft values, their samples and their intervals beside
    the labels, and formats of pairs have `EVIDENCE`."""
    cut_at_first_error: bool = False
    """Whether `trl_stepwise` and `math_shepherd` end a solution at its first step that is not good,
    as PRM800K does: steps after an error are neither correct nor incorrect."""
    labeler: str = ""
    """Id of the labeler, for `prm800k`."""
    is_progress: bool = False
    """Whether values are the progress of steps, from -1 to 1: 0 is then neutral, not wrong."""

    def is_good(self, value: float) -> bool:
        return value > self.label_threshold


Rows: TypeAlias = Callable[[Item, RowOptions, Counter[str]], Iterator[Row]]
SchemaOf: TypeAlias = Callable[[bool, RowOptions], pa.Schema]


@dataclass(frozen=True, slots=True)
class Format:
    """A dataset format: the source of its rows, and their columns."""

    name: str
    source: Literal["pairs", "trees"]
    rows: Rows
    schema: SchemaOf
    """Returns the columns; takes whether prompts are chats, and the options."""
    default_threshold: float | None = None
    """Default label threshold; None if rows have no labels."""
    thoughts: Thoughts = "keep"
    """Default for thoughts. Training on texts needs them; labels are for the steps of answers."""
    task: str = "text-generation"
    """Task category for the dataset card."""


EVIDENCE = {
    "chosen_value": pa.float64(),
    "rejected_value": pa.float64(),
    "chosen_leaves": pa.int64(),
    "rejected_leaves": pa.int64(),
    "margin": pa.float64(),
    "confidence": pa.float64(),
}
"""Columns of a pair that say how sure it is. Trainers of TRL keep other columns; its reward trainer
reads `margin`."""


def _evidence(pair: Pair, options: RowOptions) -> Row:
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


def _trl(item: Item, options: RowOptions, _dropped: Counter[str]) -> Iterator[Row]:
    prompt = exact_text(item.prompt)
    for pair in item.pairs:
        yield {
            "prompt": prompt + pair.prefix_text,
            "chosen": pair.chosen.text,
            "rejected": pair.rejected.text,
            **_evidence(pair, options),
        }


def _trl_conversational(item: Item, options: RowOptions, _dropped: Counter[str]) -> Iterator[Row]:
    """Yield rows whose assistant turns start with the prefix that both sides share.

    TRL (f2cd577, `DPOTrainer`) opens a new assistant turn after the prompt. A prefix
    in a message of its own would get an end of turn that the model never saw. The shared prefix
    cancels in DPO's difference of log-ratios.
    """
    prompt = as_messages(item.prompt)
    for pair in item.pairs:
        yield {
            "prompt": prompt,
            "chosen": [message("assistant", pair.prefix_text + pair.chosen.text)],
            "rejected": [message("assistant", pair.prefix_text + pair.rejected.text)],
            **_evidence(pair, options),
        }


def _trl_unpaired(item: Item, options: RowOptions, _dropped: Counter[str]) -> Iterator[Row]:
    """Yield each continuation in the pairs once, labelled by its own value."""
    sides = {
        (pair.prefix_text, side.text): side.value
        for pair in item.pairs
        for side in (pair.chosen, pair.rejected)
    }
    for (prefix, text), value in sides.items():
        label = options.is_good(value)
        if isinstance(item.prompt, str):
            yield {"prompt": item.prompt + prefix, "completion": text, "label": label}
        else:
            completion = [message("assistant", prefix + text)]
            yield {"prompt": as_messages(item.prompt), "completion": completion, "label": label}


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
            **_evidence(pair, options),
        }


def _columns(*names: str, **others: pa.DataType) -> pa.Schema:
    return pa.schema([(name, TEXT) for name in names] + list(others.items()))


def _conversational_schema(_is_chat: bool, options: RowOptions) -> pa.Schema:
    evidence = EVIDENCE if options.with_values else {}
    return _columns(prompt=MESSAGES, chosen=MESSAGES, rejected=MESSAGES, **evidence)


def _of_pairs(*names: str) -> SchemaOf:
    """Return a schema of text columns, and of `EVIDENCE` if it is asked for."""
    return lambda _is_chat, options: _columns(*names, **(EVIDENCE if options.with_values else {}))


def _unpaired_schema(is_chat: bool, _options: RowOptions) -> pa.Schema:
    kind = MESSAGES if is_chat else TEXT
    return _columns(prompt=kind, completion=kind, label=pa.bool_())


def of_texts(*names: str) -> SchemaOf:
    """Return a schema of text columns, for prompts of any kind."""
    return lambda _is_chat, _options: _columns(*names)


PAIR_FORMATS = (
    Format("trl", "pairs", _trl, _of_pairs("prompt", "chosen", "rejected")),
    Format("trl_conversational", "pairs", _trl_conversational, _conversational_schema),
    Format("trl_unpaired", "pairs", _trl_unpaired, _unpaired_schema, default_threshold=0.5),
    Format(
        "step_dpo",
        "pairs",
        _step_dpo,
        _of_pairs(
            "dataset", "prompt", "prefix", "initial_reason_steps", "chosen", "rejected", "answer"
        ),
    ),
)
