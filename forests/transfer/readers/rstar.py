"""`rstar`: the search trees of rStar-Math.

`main.py`, `rstar_deepthink/agents/mcts.py` and `rstar_deepthink/constants.py` of
github.com/microsoft/rStar, branch rStar-math, at commit b3c1846 (2501.04519). A Q value is from -1
to 1: the mean of -1 for a wrong answer and 1 for a correct one. It becomes a share from 0 to 1. A
node that the search never visited has the Q value 0 and no value here.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Required

from pydantic import TypeAdapter, WithJsonSchema, with_config
from typing_extensions import TypedDict

from common.validation import STRICT
from forests.core.opinions.verdicts import is_score, signed_score
from forests.core.tree import ROOT, NodePath, TreeNode
from forests.transfer import foreign_trees
from forests.transfer.foreign_trees import (
    AnyText,
    ForeignTree,
    ForeignTreeError,
    ShortLabel,
    Text,
    Value,
    checked,
)

_ROOT_TAG = "0"
_CUT = "Fail to sove the problem within limited steps."
_FAILED = (
    "Fail to generate parsable text for next step.",
    "Too many consecutive steps have code errors.",
)


@with_config(STRICT)
class RstarNode(TypedDict, total=False):
    """A step of the search."""

    text: Required[AnyText]
    final_answer: AnyText | None
    """The answer of a solution that ends here, or why the search stopped here."""
    q_value: Value
    visit_count: int | None


_NODE = TypeAdapter(RstarNode)
_NODES = {
    "type": "object",
    "properties": {"solutions": True},
    "additionalProperties": _NODE.json_schema(),
}


@with_config(STRICT)
class RstarLine(TypedDict, total=False):
    """A tree in the format `rstar`."""

    question: Required[Text]
    answer: Required[ShortLabel]
    rstar: Required[Annotated[dict[str, Any], WithJsonSchema(_NODES)]]
    """The nodes by tag: "0" is the question, and "0.1" its first step."""


RSTAR_LINE = TypeAdapter(RstarLine)


def read_rstar(row: Any) -> ForeignTree:
    """Return the tree of one search.

    Raises:
        ForeignTreeError: the object is not in rStar's format.
    """
    line = checked(RSTAR_LINE, row)
    question = line["question"].strip()
    found = ForeignTree(question + "\n", line["answer"], question, question)
    states = {tag: state for tag, state in line["rstar"].items() if tag != "solutions"}
    children = _children(states)
    waiting: list[tuple[str, NodePath]] = [(_ROOT_TAG, ROOT)]
    while waiting:
        tag, path = waiting.pop()
        if len(path) >= foreign_trees.MAX_DEPTH and children.get(tag):
            raise ForeignTreeError(f"more than {foreign_trees.MAX_DEPTH} steps on a path")
        if not path:
            _note_value(found, path, checked(_NODE, states[tag]))
        for below in children.get(tag, []):
            node = _checked_node(below, states[below])
            if not node["text"].strip():
                found.left_out["blank steps, with all below them"] += 1
                continue
            place = (*path, found.tree.next_position(path))
            _add(found, place, node, is_leaf=not children.get(below))
            waiting.append((below, place))
    return found


def _children(states: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the tags below each tag, in the order of their numbers.

    Raises:
        ForeignTreeError: there are too many, or a tag is wrong or has no parent.
    """
    if len(states) > foreign_trees.MAX_NODES:
        raise ForeignTreeError(f"more than {foreign_trees.MAX_NODES} nodes")
    if _ROOT_TAG not in states:
        raise ForeignTreeError(f"`rstar` has no node {_ROOT_TAG!r}, the question")
    children: dict[str, list[str]] = {}
    for tag in states:
        above, _, number = tag.rpartition(".")
        if tag == _ROOT_TAG:
            continue
        if above not in states or not (number.isascii() and number.isdecimal()):
            raise ForeignTreeError(f"node {tag[:40]!r} of `rstar` is not below another, as 0.1 is")
        children.setdefault(above, []).append(tag)
    for tags in children.values():
        tags.sort(key=lambda tag: (len(tag), tag))
    return children


def _checked_node(tag: str, state: Any) -> RstarNode:
    try:
        return checked(_NODE, state)
    except ForeignTreeError as error:
        raise ForeignTreeError(f"node {tag[:40]!r}: {error}") from error


def _add(found: ForeignTree, path: NodePath, node: RstarNode, *, is_leaf: bool) -> None:
    answer = (node.get("final_answer") or "").strip() if is_leaf else ""
    is_answer = answer not in ("", _CUT, *_FAILED)
    found.tree.add(
        TreeNode(
            path,
            text=node["text"],
            terminal=is_answer or answer in _FAILED,
            truncated=answer == _CUT,
            answer=answer if is_answer else None,
        )
    )
    if answer in _FAILED:
        found.correct[path] = False
    _note_value(found, path, node)


def _note_value(found: ForeignTree, path: NodePath, node: RstarNode) -> None:
    value = node.get("q_value")
    if value is None or not node.get("visit_count"):
        found.left_out["nodes without a Q value or a visit"] += 1
    elif is_score(signed_score(value)):
        found.values[path] = signed_score(value)
    else:
        found.left_out["Q values that are not from -1 to 1"] += 1
