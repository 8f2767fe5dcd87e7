"""Formats that label every step of a tree, for process reward models."""

from collections import Counter
from collections.abc import Iterator
from itertools import takewhile
from typing import TypeAlias
from uuid import NAMESPACE_URL, uuid5

import pyarrow as pa

from forests.core.prefix import as_text
from forests.core.step_tags import STEP_TAG, tagged_solution, without_number
from forests.core.tree import ROOT, NodePath, TreeNode
from forests.core.values import leaf_result
from preferences.core.formats import TEXT, Format, Item, Row, RowOptions, of_texts

DROPPED = {
    "solutions_without_result": "solutions whose last step has no result",
    "solutions_repeated": "solutions with the steps of another solution of the tree",
    "solutions_with_step_tag": "solutions in which the step tag or `Step 1:` is part of the text",
    "trees_without_steps": "trees without a step",
}
"""Why rows are missing from an export, as counted and as said."""


Solution: TypeAlias = list[tuple[str, float]]
"""Each step with its value."""


def _solutions(item: Item, options: RowOptions, dropped: Counter[str]) -> Iterator[Solution]:
    """Yield each solution once, cut where that is asked for."""
    seen: set[tuple[str, ...]] = set()
    for _, solution in _whole_solutions(item, dropped):
        kept = _until_first_error(solution, options) if options.cut_at_first_error else solution
        texts = tuple(step for step, _ in kept)
        if texts in seen:
            dropped["solutions_repeated"] += 1
        else:
            seen.add(texts)
            yield kept


def _whole_solutions(item: Item, dropped: Counter[str]) -> Iterator[tuple[TreeNode, Solution]]:
    """Yield each leaf with its steps, without the blank end that a sample may have."""
    for leaf in item.tree.leaves():
        steps = [node for node in item.tree.path_nodes(leaf.path) if node.text.strip()]
        values = [item.values[node.path].value for node in steps]
        known = [value for value in values if value is not None]
        if not steps or len(known) < len(values) or item.values[leaf.path].value is None:
            dropped["solutions_without_result" if steps else "trees_without_steps"] += 1
        else:
            yield leaf, [(node.text, value) for node, value in zip(steps, known, strict=True)]


def _until_first_error(solution: Solution, options: RowOptions) -> Solution:
    """Return the steps up to the first that is not good, and this one."""
    good = list(takewhile(lambda step: options.is_good(step[1]), solution))
    return solution[: len(good) + 1]


def _trl_stepwise(item: Item, options: RowOptions, dropped: Counter[str]) -> Iterator[Row]:
    for solution in _solutions(item, options, dropped):
        row: Row = {
            "prompt": as_text(item.prompt),
            "completions": [step for step, _ in solution],
            "labels": [options.is_good(value) for _, value in solution],
        }
        if options.with_values:
            row["values"] = [value for _, value in solution]
        yield row


def _stepwise_schema(_is_chat: bool, options: RowOptions) -> pa.Schema:
    columns = [
        ("prompt", TEXT),
        ("completions", pa.list_(TEXT)),
        ("labels", pa.list_(pa.bool_())),
    ]
    if options.with_values:
        columns.append(("values", pa.list_(pa.float64())))
    return pa.schema(columns)


def _math_shepherd(item: Item, options: RowOptions, dropped: Counter[str]) -> Iterator[Row]:
    """Yield rows for readers that find the first step at the only `Step 1:`."""
    question = as_text(item.prompt).strip()
    seen: set[str] = set()
    for solution in _solutions(item, options, dropped):
        steps = [without_number(step) for step, _ in solution]
        text = " ".join((question, *steps))
        if STEP_TAG in text or "Step 1:" in question or "Step 1:" in steps[0]:
            dropped["solutions_with_step_tag"] += 1
            continue
        written = tagged_solution(question, steps, [STEP_TAG] * len(steps))
        if written in seen:  # they differed in blanks, which this format does not keep
            dropped["solutions_repeated"] += 1
            continue
        seen.add(written)
        marks = ["+" if options.is_good(value) else "-" for _, value in solution]
        label = tagged_solution(question, steps, marks)
        yield {"input": written, "label": label, "task": item.dataset}


def _processbench(item: Item, options: RowOptions, dropped: Counter[str]) -> Iterator[Row]:
    """Yield each solution with its first wrong step, or -1, as ProcessBench (2412.06559) has them.

    A right solution has no wrong step. A wrong one has its error at the first step that is not
    good, at the latest in its last one.
    """
    seen: set[tuple[str, ...]] = set()
    for leaf, solution in _whole_solutions(item, dropped):
        steps = tuple(step for step, _ in solution)
        is_right = leaf_result(leaf)  # not its value, which may be a scorer's
        if is_right is None:
            dropped["solutions_without_result"] += 1
            continue
        if steps in seen:
            dropped["solutions_repeated"] += 1
            continue
        until = len(_until_first_error(solution, options)) - 1
        yield {
            "id": f"{item.dataset}-{item.index}-{len(seen)}",
            "generator": leaf.model,
            "problem": as_text(item.prompt),
            "steps": list(steps),
            "final_answer_correct": is_right,
            "label": -1 if is_right else until,
        }
        seen.add(steps)


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


def labeler_id(values: str) -> str:
    """Return who labels in PRM800K's rows: there it is a UUID, and OpenR reads nothing else.

    `values` is the name of their source, an estimator or a scorer.
    """
    return str(uuid5(NAMESPACE_URL, f"prm_site/{values}"))


def _prm800k(item: Item, options: RowOptions, dropped: Counter[str]) -> Iterator[Row]:
    """Yield a labelling session: the best path, with every alternative beside it rated.

    As in PRM800K it ends at the solution, or where no alternative is right.
    """
    steps, reason = [], "solution"
    path: NodePath = ROOT
    while children := [node for node in item.tree.children(path) if node.text.strip()]:
        best = max(range(len(children)), key=lambda position: _rank(item, children[position]))
        ratings = [_rating(item, node, options) for node in children]
        is_right = ratings[best] in (0, 1)
        if not is_right:
            reason = "give_up" if ratings[best] is None else "found_error"
        steps.append(
            {
                "completions": [
                    {"text": node.text, "rating": rating, "flagged": False}
                    for node, rating in zip(children, ratings, strict=True)
                ],
                "human_completion": None,
                "chosen_completion": best if is_right else None,
            }
        )
        if not is_right:
            break
        path = children[best].path
    if not steps:
        dropped["trees_without_steps"] += 1
        return
    yield {
        "labeler": options.labeler,
        "timestamp": item.timestamp,
        "generation": None,
        "is_quality_control_question": False,
        "is_initial_screening_question": False,
        "question": {"problem": as_text(item.prompt), "ground_truth_answer": item.label},
        "label": {"steps": steps, "total_time": 0, "finish_reason": reason},
    }


def _rank(item: Item, node: TreeNode) -> tuple[float, int, int]:
    value = item.values[node.path]
    known = -1.0 if value.value is None else value.value
    return known, value.leaves, -node.position


def _rating(item: Item, node: TreeNode, options: RowOptions) -> int | None:
    """Return 1 for a value above the threshold, -1 for 0, 0 for one between, None for none."""
    value = item.values[node.path].value
    if value is None:
        return None
    if options.is_good(value):
        return 1
    return 0 if value > 0 else -1


_COMPLETION = pa.struct([("text", TEXT), ("rating", pa.int64()), ("flagged", pa.bool_())])
_STEP = pa.struct(
    [
        ("completions", pa.list_(_COMPLETION)),
        ("human_completion", _COMPLETION),
        ("chosen_completion", pa.int64()),
    ]
)
_PRM800K = pa.schema(
    [
        ("labeler", TEXT),
        ("timestamp", TEXT),
        ("generation", pa.int64()),
        ("is_quality_control_question", pa.bool_()),
        ("is_initial_screening_question", pa.bool_()),
        ("question", pa.struct([("problem", TEXT), ("ground_truth_answer", TEXT)])),
        (
            "label",
            pa.struct(
                [("steps", pa.list_(_STEP)), ("total_time", pa.int64()), ("finish_reason", TEXT)]
            ),
        ),
    ]
)

STEP_TASK = "token-classification"

STEP_FORMATS = (
    Format("trl_stepwise", "trees", _trl_stepwise, _stepwise_schema, 0.0, STEP_TASK),
    Format(
        "math_shepherd", "trees", _math_shepherd, of_texts("input", "label", "task"), 0.0, STEP_TASK
    ),
    Format("processbench", "trees", _processbench, lambda *_: _PROCESSBENCH, 0.0, STEP_TASK),
    Format("prm800k", "trees", _prm800k, lambda _is_chat, _options: _PRM800K, 0.0, STEP_TASK),
)
