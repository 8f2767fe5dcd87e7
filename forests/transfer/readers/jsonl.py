"""`jsonl`: our own format, which a `JsonlLine` describes."""

from typing import TYPE_CHECKING, Annotated, Any, Required, TypeAlias

from pydantic import Field, SkipValidation, TypeAdapter, WithJsonSchema, with_config
from typing_extensions import TypedDict

from common.validation import STRICT, any_of
from experiment_configs.questions import question_of_prompt
from forests.core.tree import ROOT, NodePath, ReasoningTree, TreeNode
from forests.transfer.foreign_trees import (
    MAX_SAMPLES,
    MOSTLY,
    AnyText,
    ForeignTree,
    ForeignTreeError,
    Samples,
    ShortLabel,
    Text,
    Value,
    checked,
    checked_prompt,
    walk,
)

_ROUNDED = 1e-3
"""Largest difference between a value written with few digits and the share it stands for."""

Correct: TypeAlias = bool | Annotated[int, Field(ge=0, le=MAX_SAMPLES)] | None
if TYPE_CHECKING:  # mypy 2.4 fails on types that hold themselves
    _JsonlChild: TypeAlias = Any
else:  # `walk` checks each child, within bounds
    _JsonlChild = Annotated["JsonlNode", SkipValidation]


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
    answer: AnyText | None
    """The answer of a leaf."""


@with_config(STRICT)
class JsonlLine(JsonlValue, total=False):
    """A tree in the format `jsonl`."""

    prompt: Required[Annotated[Any, WithJsonSchema(any_of("string", "array"))]]
    """What the model was asked: a text, or chat messages with `role` and `content`."""
    label: Required[ShortLabel]
    """The correct answer."""
    children: list[_JsonlChild] | None
    item: AnyText
    """Markdown that pages show. Left out: the prompt, or its last message."""
    question: Text
    """What the prompt asks, without its examples and instructions."""


JSONL_LINE, _JSONL_NODE = TypeAdapter(JsonlLine), TypeAdapter(JsonlNode)


def read_jsonl(row: Any) -> ForeignTree:
    """Return the tree of one object.

    Raises:
        ForeignTreeError: the object is not what a `JsonlLine` describes.
    """
    line = checked(JSONL_LINE, row)
    prompt = checked_prompt(line["prompt"])
    found = ForeignTree(
        prompt=prompt,
        label=line["label"],
        item=line.get("item", prompt if isinstance(prompt, str) else prompt[-1]["content"]),
        question=(line.get("question") or question_of_prompt(prompt)).strip(),
    )
    for path, node in walk(_JSONL_NODE, line.get("children")):
        found.tree.add(_jsonl_node(node, path))
        _note_worth(found, node, path)
    _note_worth(found, line, ROOT)
    if sum(node.count for node in found.tree) > MAX_SAMPLES:
        raise ForeignTreeError(f"the `count`s of its nodes add up to more than {MAX_SAMPLES}")
    _check_drawn(found.tree)
    return found


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
            found.presumed[path] = value > MOSTLY
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
