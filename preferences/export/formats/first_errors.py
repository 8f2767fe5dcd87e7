"""The first wrong step of each solution, and rows of ProcessBench."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa

from forests.core.tree import TreeNode
from forests.core.values import leaf_result
from preferences.export.formats.annotation import is_solution
from preferences.export.formats.base import TEXT, Format, Item, Row, RowOptions
from preferences.export.formats.solutions import written_solutions


class FirstError(NamedTuple):
    """A solution and the number, from 0, of its first wrong step."""

    leaf: TreeNode
    nodes: Sequence[TreeNode]
    steps: Sequence[str]
    """Stripped of whitespace."""
    label: int
    """The number of the first wrong step; -1 without an error."""
    is_right: bool
    """Whether the final answer is correct."""


def first_errors(item: Item, options: RowOptions, dropped: Counter[str]) -> Iterator[FirstError]:
    """Yield each solution with the number of its first wrong step, as in ProcessBench (2412.06559).

    The number is -1 for a solution without an error. If the answer is incorrect, the first wrong
    step is the first one that is not good, or else the last step. Monte Carlo values cannot find a
    wrong step in a solution with a correct answer, so they give it -1; scorers can find one.
    """
    seen: set[tuple[str, ...]] = set()
    for leaf, nodes in written_solutions(item.tree, dropped):
        is_right = leaf_result(leaf)  # not its value, which may be from a scorer
        if not _is_in_dataset(item, leaf, is_right):
            dropped["rollouts_that_only_annotate"] += 1
            continue
        if is_right is None:
            dropped["solutions_without_result"] += 1
            continue
        if item.judges_steps:
            label = _first_error_of_scorers(item, leaf, nodes, options)
        else:
            label = -1 if is_right else _first_error(item, leaf, nodes, options)
        if label is None:
            dropped["solutions_without_first_error"] += 1
            continue
        texts = tuple(node.text.strip() for node in nodes)
        if texts in seen:
            dropped["solutions_repeated"] += 1
            continue
        seen.add(texts)
        yield FirstError(leaf, nodes, texts, label, bool(is_right))


def _processbench(item: Item, options: RowOptions, dropped: Counter[str]) -> Iterator[Row]:
    for number, found in enumerate(first_errors(item, options, dropped)):
        yield {
            "id": f"{item.dataset}-{item.index}-{number}",
            "generator": found.leaf.model,
            "problem": item.asked,
            "steps": list(found.steps),
            "final_answer_correct": found.is_right,
            "label": found.label,
        }


def _is_in_dataset(item: Item, leaf: TreeNode, is_right: float | None) -> bool:
    """Return whether a rollout is a solution of the dataset, not only evidence.

    OmegaPRM searches incorrect rollouts from any state; `_first_error` finds out which of them.
    """
    if item.annotation is None or is_solution(item.annotation, item.tree, leaf):
        return True
    return item.annotation.kind == "states" and not is_right


def _first_error(
    item: Item, leaf: TreeNode, steps: Sequence[TreeNode], options: RowOptions
) -> int | None:
    """Return the number, from 0, of the first step of an incorrect solution that is not good.

    None if the previous step has no value, because the error may be there; also None if all
    rollouts were drawn after the error, because they do not show where it is.
    """
    is_known_good = True
    for number, step in enumerate(steps):
        value = item.values[step.path].value if _may_be_labelled(item, leaf, step) else None
        is_end = number == len(steps) - 1
        if value is None and not is_end:
            is_known_good = False
        elif is_end or not options.is_good(value or 0.0):
            return number if is_known_good and _is_searched(item, leaf, step) else None
        else:
            is_known_good = True
    return None


def _is_searched(item: Item, leaf: TreeNode, step: TreeNode) -> bool:
    """Return whether a rollout was drawn before a step, so that it shows an error there."""
    if item.annotation is None or item.annotation.is_drawn_stepwise:
        return True
    return min(leaf.drawn, default=0) < step.depth


def _first_error_of_scorers(
    item: Item, leaf: TreeNode, steps: Sequence[TreeNode], options: RowOptions
) -> int | None:
    """Return the number of the first wrong step, whatever the answer; -1 without one.

    A neutral step is not wrong. None if a step up to there has no value, because no scorer judged
    it or sources disagree on it; also None if the answer is wrong but no step is.
    """
    for number, step in enumerate(steps):
        value = item.values[step.path].value if _may_be_labelled(item, leaf, step) else None
        if value is None:
            return None
        if not options.is_good(value) and value != item.neutral:
            return number
    return -1 if leaf_result(leaf) else None


def _may_be_labelled(item: Item, leaf: TreeNode, step: TreeNode) -> bool:
    return item.annotation is None or step is leaf or step.path in item.annotation.steps


_PROCESSBENCH = pa.schema(
    [
        ("id", TEXT),
        ("generator", TEXT),
        ("problem", TEXT),
        ("steps", pa.list_(TEXT)),
        ("final_answer_correct", pa.bool_()),
        ("label", pa.int64()),
    ]
)


PROCESSBENCH = Format(
    "processbench",
    "trees",
    _processbench,
    lambda *_: _PROCESSBENCH,
    0.0,
    "drop",
    "token-classification",
)
