"""The definition of a format: a function from the data of one tree to rows of one schema.

A format trims, converts or drops only what it cannot represent, and counts it with the reason.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

import pyarrow as pa

from experiment_configs.interfaces import Prompt
from experiment_configs.questions import question_of_prompt
from forests.core.opinions.judged import JudgedTree
from forests.core.tree import NodePath, ReasoningTree
from forests.core.values import NodeValue
from preferences.core.pairing import Pair
from preferences.export.formats.annotation import Annotation

Row: TypeAlias = dict[str, Any]

Thoughts: TypeAlias = Literal["keep", "drop"]
"""Whether to keep the thoughts of a reasoning model in texts: see `formats.thought_marks`."""

Critique: TypeAlias = Literal["per_step", "first_error"]
"""Form of a critique: a verdict on each step; or the number of the first wrong step, or -1."""
CRITIQUES: tuple[Critique, ...] = get_args(Critique)

TEXT = pa.string()
MESSAGE = pa.struct([("role", TEXT), ("content", TEXT)])
MESSAGES = pa.list_(MESSAGE)


@dataclass(frozen=True, slots=True)
class Item:
    """The input of a format from one tree: formats of pairs read `pairs`, others read `tree`.

    If `pairs` is set, `tree` is set only if it has thoughts, or if the format needs it.
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
    """The question as stored with the tree; may be empty: see `asked`."""
    num_thoughts: int = 0
    """Number of thoughts in the texts."""
    num_inside_thoughts: int = 0
    """Number of pairs with a side that ends in the middle of a thought."""
    annotation: Annotation | None = None
    """Steps that may be labelled; None: all steps with a value."""
    judges_steps: bool = False
    """Whether a source of the values judges steps, not answers: see `JUDGE_STEPS`."""
    neutral: float | None = None
    """The value of a step that is neither right nor wrong; None if there is none."""
    critic: JudgedTree = field(default_factory=JudgedTree)
    """Verdicts and reasons of `RowOptions.critic`; empty for formats without critiques."""

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
    the labels, `openrlhf_prm` has soft labels, and formats of pairs have their evidence."""
    cut_at_first_error: bool = False
    """Whether formats that label each step end a solution at its first step that is not good, as
    PRM800K does: steps after an error are neither correct nor incorrect."""
    labeler: str = ""
    """Id of the labeler, for `prm800k`."""
    is_progress: bool = False
    """Whether values are the progress of steps, from -1 to 1: 0 is then neutral, not wrong."""
    level: str = ""
    """The level of the pairs: one of `preferences.core.pairing.LEVELS`; empty without pairs."""
    rank_siblings: bool = False
    """Whether `nemo_rl` has one row for all siblings of a prefix that the pairs rank."""
    critique: Critique = "per_step"
    """Form of the critiques of `critique_sft` and `critique_pairs`."""
    critic: str = ""
    """The scorer that gave the reasons in critiques; empty: critiques have only verdicts."""
    critique_prompt: str = ""
    """The user's own prompt of critiques; empty: the prompt of the format."""

    def is_good(self, value: float) -> bool:
        return value > self.label_threshold


Rows: TypeAlias = Callable[[Item, RowOptions, Counter[str]], Iterator[Row]]
SchemaOf: TypeAlias = Callable[[bool, RowOptions], pa.Schema]
Besides: TypeAlias = Callable[[Mapping[str, str]], Mapping[str, str]]


def nothing_beside(_files: Mapping[str, str]) -> Mapping[str, str]:
    return {}


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
    trainers: Sequence[str] = ()
    """Trainers that read the rows unchanged, for a format that `trainers.RECIPES` lacks."""
    ends_completions: bool = False
    """Whether its trainers add an end-of-sequence token to each completion. Then single steps
    would teach a model to stop after one step."""
    has_critiques: bool = False
    """Whether rows contain reasons of a scorer; the format then reads `Item.critic`."""
    needs_trees: bool = False
    """Whether a format of pairs reads `Item.tree` too."""
    needs_tokens: bool = False
    """Whether rows have the token ids of whole solutions, with thoughts in a field of their own."""
    besides: Besides = nothing_beside
    """Takes the paths of the rows by split; returns the texts of additional files by path."""
    containers: Sequence[str] = ()
    """Containers that the trainers read; at least one must be written. Empty: any."""


def columns(*names: str, **others: pa.DataType) -> pa.Schema:
    """Return a schema of text columns, and of others with their types."""
    return pa.schema([(name, TEXT) for name in names] + list(others.items()))


def of_texts(*names: str) -> SchemaOf:
    """Return a schema of text columns, for prompts of any kind."""
    return lambda _is_chat, _options: columns(*names)
