"""Convert trees that other programs made.

`openr`: the output of OpenR's OmegaPRM (github.com/openreasoner/openr, data/omegaPRM_v2, at commit
110e970). The steps were written with blank lines between them, which are not in the file.

`jsonl`: our own, which a `JsonlLine` describes.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Required, TypeAlias, TypeVar

from pydantic import (
    Field,
    SkipValidation,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    with_config,
)
from typing_extensions import TypedDict

from common.json_lines import MAX_NUMBER
from common.plugins import Registry
from common.storable import storing_problem
from common.text import describe
from common.validation import STRICT, Label, any_of, refusals
from experiment_configs.questions import question_of_prompt
from forests.core.prefix import is_prompt
from forests.core.tree import ROOT, NodePath, ReasoningTree, TreeNode

MAX_DEPTH = 200
MAX_NODES = 100_000
MAX_SAMPLES = 1_000_000
"""Most samples of all steps of a tree together: metrics look at each of them."""
MAX_CHARACTERS = 1_000_000
"""Most characters of one text: a MongoDB document has at most 16 MB."""
_OPENR_DELIMITER = "\n\n"
_ROUNDED = 1e-3
"""Largest difference between a value written with few digits and the share it stands for."""


class ForeignTreeError(Exception):
    """A tree cannot be read. The message says what is wrong with it."""


@dataclass(slots=True)
class ForeignTree:
    """One tree, not graded yet."""

    prompt: Any
    label: str
    item: str
    question: str
    """The question, without the examples and instructions of the prompt."""
    tree: ReasoningTree = field(default_factory=ReasoningTree)
    values: dict[NodePath, float] = field(default_factory=dict)
    """The other program's values of nodes, including the root."""
    correct: dict[NodePath, bool] = field(default_factory=dict)
    """Leaves whose grade is in the file."""
    presumed: dict[NodePath, bool] = field(default_factory=dict)
    """The grades of leaves that turn out to state no answer."""


Text: TypeAlias = Annotated[str, Field(pattern=r"\S", max_length=MAX_CHARACTERS)]
ShortLabel: TypeAlias = Annotated[Label, Field(max_length=MAX_CHARACTERS)]
Samples: TypeAlias = Annotated[int, Field(ge=1, le=MAX_SAMPLES)]
Value: TypeAlias = Annotated[float, Field(ge=-MAX_NUMBER, le=MAX_NUMBER)] | None
Correct: TypeAlias = bool | Annotated[int, Field(ge=0, le=MAX_SAMPLES)] | None
if TYPE_CHECKING:  # mypy 2.4 fails on types that hold themselves
    _OpenrChild: TypeAlias = Any
    _JsonlChild: TypeAlias = Any
else:  # `_walk` checks each child, within bounds
    _OpenrChild = Annotated["OpenrNode", SkipValidation]
    _JsonlChild = Annotated["JsonlNode", SkipValidation]


@with_config(STRICT)
class OpenrNode(TypedDict, total=False):
    """A step of an `openr` tree."""

    text: Required[Text]
    mc_value: Value
    """The share of its rollouts that were correct."""
    children: list[_OpenrChild] | None


@with_config(STRICT)
class OpenrRoot(TypedDict, total=False):
    """The prompt of an `openr` tree."""

    mc_value: Value
    """The share of its rollouts that were correct."""
    children: list[_OpenrChild] | None


@with_config(STRICT)
class OpenrLine(TypedDict, total=False):
    """A tree in the format `openr`."""

    question: Required[Text]
    final_answer: Required[ShortLabel]
    reasoning_steps: Required[OpenrRoot]


@with_config(STRICT)
class JsonlValue(TypedDict, total=False):
    """The other program's value of a step, or of the prompt."""

    value: Value
    rollouts: Samples | None
    """Instead of `value`: the number of rollouts from here, with `correct`."""
    correct: Correct
    """The number of correct rollouts, or whether a leaf is correct."""


@with_config(STRICT)
class JsonlNode(JsonlValue, total=False):
    """A step of a `jsonl` tree."""

    text: Required[Text]
    """The step, exactly as the model wrote it."""
    children: list[_JsonlChild] | None
    count: Samples
    """Samples that gave this step. Left out: those of `drawn`, or 1."""
    drawn: Annotated[dict[str, Samples], Field(fail_fast=True)] | None
    """The same samples by the depth of the ancestor from which they were drawn: {"0": 3}."""
    answer: Annotated[str, Field(max_length=MAX_CHARACTERS)] | None
    """The answer of a leaf."""


@with_config(STRICT)
class JsonlLine(JsonlValue, total=False):
    """A tree in the format `jsonl`."""

    prompt: Required[Annotated[Any, WithJsonSchema(any_of("string", "array"))]]
    """What the model was asked: a text, or chat messages with `role` and `content`."""
    label: Required[ShortLabel]
    """The correct answer."""
    children: list[_JsonlChild] | None
    item: Annotated[str, Field(max_length=MAX_CHARACTERS)]
    """Markdown that pages show. Left out: the prompt, or its last message."""
    question: Text
    """What the prompt asks, without its examples and instructions."""


@with_config(STRICT)
class _TextsOfAPlugin(TypedDict):
    label: Text
    item: Text
    question: Text


OPENR_LINE, JSONL_LINE = TypeAdapter(OpenrLine), TypeAdapter(JsonlLine)
_OPENR_NODE, _JSONL_NODE = TypeAdapter(OpenrNode), TypeAdapter(JsonlNode)
_TEXTS_OF_A_PLUGIN = TypeAdapter(_TextsOfAPlugin)
_Read = TypeVar("_Read")


def read_openr(row: Any) -> ForeignTree:
    """Return the tree of one object.

    A leaf that states no answer is a prefix whose rollouts are not in the file. It counts as
    correct if most of its rollouts were.

    Raises:
        ForeignTreeError: the object is not in OpenR's format.
    """
    line = _checked(OPENR_LINE, row)
    question, root = line["question"], line["reasoning_steps"]
    found = ForeignTree(
        prompt=question + _OPENR_DELIMITER,
        label=line["final_answer"],
        item=question,
        question=question.strip(),
    )
    for path, node in _walk(_OPENR_NODE, root.get("children")):
        is_leaf = not node.get("children")
        text = node["text"] if is_leaf else node["text"] + _OPENR_DELIMITER
        found.tree.add(TreeNode(path, text=text, terminal=is_leaf))
        if (value := node.get("mc_value")) is not None:
            found.values[path] = value
            if is_leaf:
                found.presumed[path] = value > 0.5  # noqa: PLR2004  most of its rollouts
    if (value := root.get("mc_value")) is not None:
        found.values[ROOT] = value
    return found


def read_jsonl(row: Any) -> ForeignTree:
    """Return the tree of one object.

    Raises:
        ForeignTreeError: the object is not what a `JsonlLine` describes.
    """
    line = _checked(JSONL_LINE, row)
    prompt = _prompt(line["prompt"])
    found = ForeignTree(
        prompt=prompt,
        label=line["label"],
        item=line.get("item", prompt if isinstance(prompt, str) else prompt[-1]["content"]),
        question=(line.get("question") or question_of_prompt(prompt)).strip(),
    )
    for path, node in _walk(_JSONL_NODE, line.get("children")):
        found.tree.add(_jsonl_node(node, path))
        _note_worth(found, node, path)
    _note_worth(found, line, ROOT)
    if sum(node.count for node in found.tree) > MAX_SAMPLES:
        raise ForeignTreeError(f"the `count`s of its nodes add up to more than {MAX_SAMPLES}")
    _check_drawn(found.tree)
    return found


READERS: Registry[Callable[[Any], ForeignTree]] = Registry(
    "prm.tree_readers",
    "tree reader",
    {"openr": read_openr, "jsonl": read_jsonl},
    lambda _, loaded: "" if callable(loaded) else "is not a function",
)
"""By the name of the format: ours, and those of plugins (docs/extending.md)."""


def read_tree(row: Any, format_name: str) -> ForeignTree:
    """Return the tree of one row.

    Raises:
        ForeignTreeError: the row is not what the format says, or the reader of a plugin fails.
        PluginError: the plugin cannot be loaded.
    """
    reader = READERS[format_name]
    if not (package := READERS.package(format_name)):
        return reader(row)
    try:
        found = reader(row)
        _check_tree(found)
    except ForeignTreeError:
        raise
    except Exception as error:  # it is code that is not ours
        raise ForeignTreeError(f"the reader of {package} failed: {describe(error)}") from error
    return found


def _check_tree(found: object) -> None:
    """Refuse what our own readers never return.

    Raises:
        ForeignTreeError: it is too large, or holds what cannot be stored.
    """
    if not isinstance(found, ForeignTree):
        raise ForeignTreeError(f"its reader must return a ForeignTree, not {type(found).__name__}")
    if len(found.tree) > MAX_NODES:
        raise ForeignTreeError(f"more than {MAX_NODES} nodes")
    if sum(node.count for node in found.tree) > MAX_SAMPLES:
        raise ForeignTreeError(f"the counts of its nodes add up to more than {MAX_SAMPLES}")
    found.prompt = _prompt(found.prompt)
    _checked(
        _TEXTS_OF_A_PLUGIN, {key: getattr(found, key) for key in ("label", "item", "question")}
    )
    for node in found.tree:
        if node.depth > MAX_DEPTH:
            raise ForeignTreeError(f"more than {MAX_DEPTH} steps on a path")
        if node.path:
            _checked(_OPENR_NODE, {"text": node.text}, node.path)


def _walk(kind: TypeAdapter[_Read], first: list[Any] | None) -> Iterator[tuple[NodePath, _Read]]:
    """Yield each node with its path, parents first, siblings in order."""
    waiting: list[tuple[NodePath, list[Any]]] = [(ROOT, first or [])]
    number = 0
    while waiting:
        path, children = waiting.pop()
        if children and len(path) >= MAX_DEPTH:
            raise ForeignTreeError(f"more than {MAX_DEPTH} steps on a path")
        for position, child in enumerate(children):
            number += 1
            if number > MAX_NODES:
                raise ForeignTreeError(f"more than {MAX_NODES} nodes")
            below = (*path, position)
            yield below, _checked(kind, child, below)
            waiting.append((below, child.get("children") or []))


def _checked(kind: TypeAdapter[_Read], value: object, path: NodePath = ROOT) -> _Read:
    """Return a line, or the node at a path. Its children are still to be checked.

    Raises:
        ForeignTreeError: it is not of this kind.
    """
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        refusal = refusals(error, kind)[0]
        what = f"node {list(path)}" if path else "the line"
        if refusal.place:
            what = f"{refusal.name} of {what}" if path else refusal.name
        raise ForeignTreeError(f"{what} {refusal.problem}") from error


def _jsonl_node(node: JsonlNode, path: NodePath) -> TreeNode:
    drawn = _drawn(node, path)
    count = node.get("count") or sum(drawn.values()) or 1
    if drawn and count != sum(drawn.values()):
        raise ForeignTreeError(
            f"`drawn` of node {list(path)} has {sum(drawn.values())} samples, and `count` {count}: "
            "they must be the same"
        )
    return TreeNode(
        path,
        text=node["text"],
        count=count,
        drawn=drawn,
        terminal=not node.get("children"),
        answer=node.get("answer"),
    )


def _note_worth(found: ForeignTree, node: JsonlNode | JsonlLine, path: NodePath) -> None:
    """Keep the file's value of a node and, at a leaf, whether it is correct."""
    is_leaf = bool(path) and not node.get("children")
    value, rollouts, correct = node.get("value"), node.get("rollouts"), node.get("correct")
    if rollouts is not None:
        value = _share(value, rollouts, correct, path)
        if is_leaf:
            found.presumed[path] = value > 0.5  # noqa: PLR2004  most of its rollouts
    elif path and correct is not None:
        if not isinstance(correct, bool):
            raise ForeignTreeError(
                f"`correct` of node {list(path)} must be true or false, or come with `rollouts`"
            )
        if is_leaf:
            found.correct[path] = correct
    if value is not None:
        found.values[path] = value


def _share(value: float | None, rollouts: int, correct: int | None, path: NodePath) -> float:
    """Return the share of correct rollouts, which is the value that the file may give, too."""
    if correct is None or isinstance(correct, bool):
        raise ForeignTreeError(
            f"`correct` of node {list(path)} must be a whole number from 0 to {MAX_SAMPLES}"
        )
    if correct > rollouts:
        raise ForeignTreeError(
            f"`correct` of node {list(path)} is {correct}, more than its {rollouts} `rollouts`"
        )
    share = correct / rollouts
    if value is not None and abs(value - share) > _ROUNDED:
        raise ForeignTreeError(
            f"`value` of node {list(path)} is {value:g}, and `correct` of `rollouts` {share:g}: "
            "they must be the same, or leave one out"
        )
    return share


def _drawn(node: JsonlNode, path: NodePath) -> dict[int, int]:
    """Return the samples of a node by the depth from which they were drawn; empty if not given."""
    drawn = node.get("drawn")
    if drawn is None:
        return {}
    depths = {str(depth): depth for depth in range(len(path))}
    if not drawn or not drawn.keys() <= depths.keys():
        raise ForeignTreeError(
            f"`drawn` of node {list(path)} must give samples by depths from 0 to {len(path) - 1}, "
            'such as {"0": 3}'
        )
    return {depths[depth]: number for depth, number in drawn.items()}


def _check_drawn(tree: ReasoningTree) -> None:
    """Refuse a tree whose samples do not add up, or that has `drawn` at only some nodes."""
    told = [bool(node.drawn) for node in tree if node.path]
    if not any(told):
        return
    if not all(told):
        raise ForeignTreeError("every node of a tree must have `drawn`, or none")
    for node in tree:
        for depth in range(node.depth):
            below = sum(child.drawn.get(depth, 0) for child in tree.children(node.path))
            if below > node.drawn.get(depth, 0):
                raise ForeignTreeError(
                    f"{below} samples drawn from depth {depth} pass below node {list(node.path)}, "
                    f"and only {node.drawn.get(depth, 0)} through it"
                )


def _prompt(prompt: Any) -> Any:
    if not is_prompt(prompt) or (isinstance(prompt, str) and not prompt.strip()):
        raise ForeignTreeError("`prompt` must be a text, or a list of {role, content}")
    if problem := storing_problem(prompt):
        raise ForeignTreeError(f"`prompt` {problem}")
    written = json.dumps(prompt, ensure_ascii=False)
    if len(written) > MAX_CHARACTERS:
        raise ForeignTreeError(f"`prompt` has more than {MAX_CHARACTERS} characters")
    return json.loads(written)  # plain numbers, which the database accepts
