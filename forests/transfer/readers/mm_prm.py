"""`mm_prm`: annotation trees of MM-PRM about questions with an image, and the solutions in them.

`data_pipeline/omegaprm.py` (trees) and `data_pipeline/traverse.py` (labelled solutions) of
github.com/ModalMinds/MM-PRM at commit b914fd6. Images are left out: the item says where they were.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Required, TypeAlias

from pydantic import Field, SkipValidation, TypeAdapter, with_config
from typing_extensions import TypedDict

from common.validation import STRICT
from forests.core.opinions.verdicts import is_score
from forests.transfer import foreign_trees
from forests.transfer.foreign_trees import (
    DELIMITER,
    AnyText,
    ForeignTree,
    ForeignTreeError,
    ShortLabel,
    Text,
    Value,
    checked,
)
from forests.transfer.solution_trees import SolutionReader, SolutionTree, Step, mean

_TAG = "<prm>"

if TYPE_CHECKING:  # mypy 2.4 fails on types that hold themselves
    _Child: TypeAlias = Any
else:  # `_add_tree` checks each child, within bounds
    _Child = Annotated["MmPrmNode", SkipValidation]

Rollouts: TypeAlias = list[list[AnyText]] | None


@with_config(STRICT)
class MmPrmState(TypedDict, total=False):
    """A prefix of solutions, and the rollouts from it."""

    mc_value: Value
    """The share of its rollouts that were correct."""
    correct_rollouts: Rollouts
    """The steps of each correct rollout, without repetitions."""
    incorrect_rollouts: Rollouts
    children: list[_Child] | None


@with_config(STRICT)
class MmPrmNode(MmPrmState, total=False):
    """A prefix with the steps that it adds to that of its parent."""

    partial_solution: Required[list[AnyText]]


@with_config(STRICT)
class MmPrmQuestion(TypedDict, total=False):
    """A question, and the path of its image."""

    question: Required[Text]
    answer: Required[ShortLabel]
    image_path: AnyText | None


@with_config(STRICT)
class MmPrmTree(MmPrmState, MmPrmQuestion, total=False):
    """A tree in the format `mm_prm`."""


@with_config(STRICT)
class MmPrmProcess(MmPrmQuestion, total=False):
    """A labelled solution in the format `mm_prm`."""

    process: Required[Text]
    """The steps, each with `<prm>` after it."""
    labels: Required[Annotated[list[Value], Field(min_length=1)]]
    """The share of correct rollouts from each step."""


MM_PRM_TREE, MM_PRM_PROCESS = TypeAdapter(MmPrmTree), TypeAdapter(MmPrmProcess)
_QUESTION, _NODE = TypeAdapter(MmPrmQuestion), TypeAdapter(MmPrmNode)


def _is_process(row: Any) -> bool:
    return isinstance(row, dict) and "process" in row


def _key(row: Any) -> str:
    line: MmPrmQuestion
    line = _checked_process(row) if _is_process(row) else checked(MM_PRM_TREE, row)
    return "\0".join((line["question"].strip(), line["answer"], line.get("image_path") or ""))


def _read(rows: Iterable[Any]) -> ForeignTree:
    """Return the tree of all rows about one question and image."""
    tree, found = SolutionTree(), None
    for row in rows:
        if found is None:
            line = checked(_QUESTION, row)
            question, image = line["question"].strip(), line.get("image_path")
            item = f"{question}\n\nThe image is left out: {image}" if image else question
            found = ForeignTree(question + DELIMITER, line["answer"], item, question)
            found.left_out["images"] += bool(image)
        if _is_process(row):
            _add_process(tree, found, _checked_process(row))
        else:
            _add_tree(tree, found, checked(MM_PRM_TREE, row))
    if found is None:
        raise ForeignTreeError("no question")
    tree.write(found, mean)
    return found


def _add_tree(tree: SolutionTree, found: ForeignTree, root: MmPrmState) -> None:
    waiting: list[tuple[Step, MmPrmState]] = [(tree.root, root)]
    number = 0
    while waiting:
        step, state = waiting.pop()
        _note_value(found, step, state.get("mc_value"))
        rollouts = [(texts, True) for texts in state.get("correct_rollouts") or []]
        rollouts += [(texts, False) for texts in state.get("incorrect_rollouts") or []]
        for texts, is_correct in rollouts:
            end = _follow(tree, found, texts, step)
            if end is not step:
                tree.end(end, is_correct=is_correct)
        children = state.get("children") or []
        if not children and not rollouts and step is not tree.root:
            # A whole rollout, whose value says whether its answer was correct.
            value = state.get("mc_value")
            tree.end(step, is_correct=None if value not in (0, 1) else value == 1)
        for child in children:
            number += 1
            if number > foreign_trees.MAX_NODES:
                raise ForeignTreeError(f"more than {foreign_trees.MAX_NODES} nodes")
            node = checked(_NODE, child)
            below = _follow(tree, found, node["partial_solution"], step)
            if below is step:
                found.left_out["blank steps, with all below them"] += 1
            else:
                waiting.append((below, node))


def _follow(tree: SolutionTree, found: ForeignTree, texts: Iterable[str], after: Step) -> Step:
    for text in texts:
        if text.strip():
            after = tree.follow([text.strip()], after)
        else:
            found.left_out["blank steps"] += 1
    return after


def _checked_process(row: Any) -> MmPrmProcess:
    line = checked(MM_PRM_PROCESS, row)
    if (number := len(_steps_of(line))) != len(line["labels"]):
        raise ForeignTreeError(
            f"{len(line['labels'])} labels for {number} steps: each step must end with `{_TAG}`"
        )
    return line


def _steps_of(line: MmPrmProcess) -> list[str]:
    return [text for part in line["process"].split(_TAG) if (text := part.strip())]


def _add_process(tree: SolutionTree, found: ForeignTree, line: MmPrmProcess) -> None:
    step = tree.root
    for text, value in zip(_steps_of(line), line["labels"], strict=True):
        step = tree.follow([text], step)
        _note_value(found, step, value)
    tree.end(step, is_finished=False)


def _note_value(found: ForeignTree, step: Step, value: float | None) -> None:
    if is_score(value):
        step.values.append(float(value or 0))
    else:
        found.left_out["states without a value from 0 to 1"] += 1


read_mm_prm = SolutionReader(_key, _read)
"""Reads trees, or labelled solutions. Those of one question and image make one tree."""
