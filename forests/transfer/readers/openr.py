"""`openr`: the output of OpenR's OmegaPRM, which is also the tree format of MATH-APS.

`data/omegaPRM_v2` of github.com/openreasoner/openr at commit 110e970. The steps were written with
blank lines between them, which are not in the file.
"""

from typing import TYPE_CHECKING, Annotated, Any, Required, TypeAlias

from pydantic import SkipValidation, TypeAdapter, with_config
from typing_extensions import TypedDict

from common.validation import STRICT
from forests.core.tree import ROOT, TreeNode
from forests.transfer.foreign_trees import (
    DELIMITER,
    MOSTLY,
    ForeignTree,
    ShortLabel,
    Text,
    Value,
    checked,
    walk,
)

if TYPE_CHECKING:  # mypy 2.4 fails on types that hold themselves
    _OpenrChild: TypeAlias = Any
else:  # `walk` checks each child, within bounds
    _OpenrChild = Annotated["OpenrNode", SkipValidation]


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


OPENR_LINE, _OPENR_NODE = TypeAdapter(OpenrLine), TypeAdapter(OpenrNode)


def read_openr(row: Any) -> ForeignTree:
    """Return the tree of one object.

    A leaf that states no answer is a prefix whose rollouts are not in the file. It counts as
    correct if most of its rollouts were.

    Raises:
        ForeignTreeError: the object is not in OpenR's format.
    """
    line = checked(OPENR_LINE, row)
    question, root = line["question"], line["reasoning_steps"]
    found = ForeignTree(
        prompt=question + DELIMITER,
        label=line["final_answer"],
        item=question,
        question=question.strip(),
    )
    for path, node in walk(_OPENR_NODE, root.get("children")):
        is_leaf = not node.get("children")
        text = node["text"] if is_leaf else node["text"] + DELIMITER
        found.tree.add(TreeNode(path, text=text, terminal=is_leaf))
        if (value := node.get("mc_value")) is not None:
            found.values[path] = value
            if is_leaf:
                found.presumed[path] = value > MOSTLY
    if (value := root.get("mc_value")) is not None:
        found.values[ROOT] = value
    return found
