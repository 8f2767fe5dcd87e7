"""Formats that label every step of a tree, for process reward models."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import takewhile
from math import inf
from typing import NamedTuple, TypeAlias
from uuid import NAMESPACE_URL, uuid5

import pyarrow as pa

from forests.core.certainty.evidence import known_interval
from forests.core.prefix import as_text
from forests.core.step_tags import STEP_TAG, tagged_solution, without_number
from forests.core.tree import ROOT, NodePath, ReasoningTree, TreeNode
from forests.core.values import leaf_result
from preferences.export.formats.annotation import annotated_part, is_solution
from preferences.export.formats.pairs import TEXT, Format, Item, Row, RowOptions, of_texts


class Step(NamedTuple):
    """A step of a solution with its value and the samples behind it."""

    text: str
    value: float
    leaves: int
    interval: tuple[float, float] | None
    """The 95 % interval of the value; None for scores and hard values."""


Solution: TypeAlias = list[Step]


def _solutions(item: Item, options: RowOptions, dropped: Counter[str]) -> Iterator[Solution]:
    """Yield each solution once, cut at the first error if the options say so."""
    seen: set[tuple[str, ...]] = set()
    annotated = _annotated(item, options, dropped)
    whole = _judged_solutions if item.judges_steps else _whole_solutions
    for _, solution in whole(annotated, options, dropped) if annotated else ():
        kept = _until_first_error(solution, options) if options.cut_at_first_error else solution
        texts = tuple(step.text for step in kept)
        if texts in seen:
            dropped["solutions_repeated"] += 1
        else:
            seen.add(texts)
            yield kept


def _judged_solutions(
    item: Item, options: RowOptions, dropped: Counter[str]
) -> Iterator[tuple[TreeNode, Solution]]:
    """Yield each leaf with its steps that scorers judged: up to the first error if that is enough.

    What scorers say after the first error does not matter where solutions are cut there.
    """
    for leaf, steps in _written(item.tree, dropped):
        solution: Solution = []
        for node in steps:
            one = item.values[node.path]
            if one.value is None:
                dropped["solutions_not_judged"] += 1
                break
            solution.append(Step(node.text, one.value, one.leaves, known_interval(one)))
            if options.cut_at_first_error and not options.is_good(one.value):
                yield leaf, solution
                break
        else:
            yield leaf, solution


def _whole_solutions(
    item: Item, _options: RowOptions, dropped: Counter[str]
) -> Iterator[tuple[TreeNode, Solution]]:
    """Yield each leaf with its steps, without blank ones."""
    for leaf, steps in _written(item.tree, dropped):
        found = [(node.text, item.values[node.path]) for node in steps]
        known = [
            Step(text, one.value, one.leaves, known_interval(one))
            for text, one in found
            if one.value is not None
        ]
        if len(known) < len(found) or item.values[leaf.path].value is None:
            dropped["solutions_without_result"] += 1
        else:
            yield leaf, known


def _annotated(item: Item, options: RowOptions, dropped: Counter[str]) -> Item | None:
    """Return the item with only the steps that may be labelled; None without such steps."""
    if item.annotation is None:
        return item
    tree, values = annotated_part(
        item.tree, item.values, item.annotation, dropped, is_progress=options.is_progress
    )
    if len(tree) == 1:
        dropped["trees_without_annotated_steps"] += 1
        return None
    return replace(item, tree=tree, values=values, annotation=None)


def _written(
    tree: ReasoningTree, dropped: Counter[str]
) -> Iterator[tuple[TreeNode, list[TreeNode]]]:
    """Yield each leaf with the steps on its path that are not blank."""
    has_steps = False
    for leaf in tree.leaves():
        steps = [node for node in tree.path_nodes(leaf.path) if node.text.strip()]
        has_steps |= bool(steps)
        if steps:
            yield leaf, steps
        elif leaf.path:
            dropped["solutions_without_steps"] += 1
    if not has_steps:
        dropped["trees_without_steps"] += 1


def _until_first_error(solution: Solution, options: RowOptions) -> Solution:
    """Return the steps up to and including the first that is not good."""
    good = list(takewhile(lambda step: options.is_good(step.value), solution))
    return solution[: len(good) + 1]


def _trl_stepwise(item: Item, options: RowOptions, dropped: Counter[str]) -> Iterator[Row]:
    for solution in _solutions(item, options, dropped):
        row: Row = {
            "prompt": as_text(item.prompt),
            "completions": [step.text for step in solution],
            "labels": [options.is_good(step.value) for step in solution],
        }
        if options.with_values:
            intervals = [step.interval or (None, None) for step in solution]
            row["values"] = [step.value for step in solution]
            row["n"] = [step.leaves for step in solution]
            row["low"] = [low for low, _ in intervals]
            row["high"] = [high for _, high in intervals]
        yield row


def _stepwise_schema(_is_chat: bool, options: RowOptions) -> pa.Schema:
    columns = [
        ("prompt", TEXT),
        ("completions", pa.list_(TEXT)),
        ("labels", pa.list_(pa.bool_())),
    ]
    if options.with_values:
        numbers = pa.list_(pa.float64())
        columns.append(("values", numbers))
        columns.append(("n", pa.list_(pa.int64())))
        columns += [("low", numbers), ("high", numbers)]
    return pa.schema(columns)


def _math_shepherd(item: Item, options: RowOptions, dropped: Counter[str]) -> Iterator[Row]:
    """Yield rows for readers that find the first step by the only `Step 1:`."""
    question = item.asked
    seen: set[str] = set()
    for solution in _solutions(item, options, dropped):
        steps = [without_number(step.text) for step in solution]
        text = " ".join((question, *steps))
        if STEP_TAG in text or "Step 1:" in question or "Step 1:" in steps[0]:
            dropped["solutions_with_step_tag"] += 1
            continue
        written = tagged_solution(question, steps, [STEP_TAG] * len(steps))
        if written in seen:  # they differed in whitespace, which this format drops
            dropped["solutions_repeated"] += 1
            continue
        seen.add(written)
        marks = ["+" if options.is_good(step.value) else "-" for step in solution]
        label = tagged_solution(question, steps, marks)
        yield {"input": written, "label": label, "task": item.dataset}


def _processbench(item: Item, options: RowOptions, dropped: Counter[str]) -> Iterator[Row]:
    """Yield each solution with the number of its first wrong step, as in ProcessBench (2412.06559).

    The number is -1 for a solution without an error. In one with an incorrect answer the first step
    that is not good is wrong, at the latest the last step. Monte Carlo values cannot find a wrong
    step in a solution with a correct answer, so they give it -1; scorers can. Steps are stripped of
    whitespace.
    """
    seen: set[tuple[str, ...]] = set()
    for leaf, steps in _written(item.tree, dropped):
        is_right = leaf_result(leaf)  # not its value, which may be from a scorer
        if not _is_in_dataset(item, leaf, is_right):
            dropped["rollouts_that_only_annotate"] += 1
            continue
        if is_right is None:
            dropped["solutions_without_result"] += 1
            continue
        if item.judges_steps:
            label = _first_error_of_scorers(item, leaf, steps, options)
        else:
            label = -1 if is_right else _first_error(item, leaf, steps, options)
        if label is None:
            dropped["solutions_without_first_error"] += 1
            continue
        texts = tuple(step.text.strip() for step in steps)
        if texts in seen:
            dropped["solutions_repeated"] += 1
            continue
        yield {
            "id": f"{item.dataset}-{item.index}-{len(seen)}",
            "generator": leaf.model,
            "problem": item.asked,
            "steps": list(texts),
            "final_answer_correct": bool(is_right),
            "label": label,
        }
        seen.add(texts)


def _is_in_dataset(item: Item, leaf: TreeNode, is_right: float | None) -> bool:
    """Return whether a rollout is a solution of the dataset, not only evidence.

    OmegaPRM searches incorrect rollouts from any state; `_first_error` finds out which ones.
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

    A neutral step is not wrong. None if a step up to there has no value, because nobody judged it
    or sources disagree on it; also None if no step is wrong but the answer is.
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


def labeler_id(values: str) -> str:
    """Return the labeler of PRM800K rows, a UUID: OpenR accepts nothing else.

    `values` is the name of the source of values, an estimator or a scorer.
    """
    return str(uuid5(NAMESPACE_URL, f"prm_site/{values}"))


def _prm800k(item: Item, options: RowOptions, dropped: Counter[str]) -> Iterator[Row]:
    """Yield a labelling session: the best path, with ratings of all alternatives beside it.

    As in PRM800K, it ends at the solution, or where no alternative is good. Steps are stripped of
    whitespace.
    """
    steps, reason = [], "solution"
    path: NodePath = ROOT
    if (annotated := _annotated(item, options, dropped)) is None:
        return
    item = annotated
    while children := _alternatives(item, path, dropped):
        best = max(range(len(children)), key=lambda position: _rank(item, children[position]))
        ratings = [_rating(item, node, options) for node in children]
        is_right = ratings[best] in (0, 1)
        if not is_right:
            reason = "give_up" if ratings[best] is None else "found_error"
        steps.append(
            {
                "completions": [
                    {"text": node.text.strip(), "rating": rating, "flagged": False}
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
        "question": {"problem": item.asked, "ground_truth_answer": item.label},
        "label": {"steps": steps, "total_time": 0, "finish_reason": reason},
    }


def _alternatives(item: Item, path: NodePath, dropped: Counter[str]) -> list[TreeNode]:
    """Return the next steps after a prefix; of those equal but for whitespace, the best."""
    by_text: dict[str, TreeNode] = {}
    for node in item.tree.children(path):
        if not (text := node.text.strip()):
            continue
        same = by_text.get(text)
        dropped["alternatives_repeated"] += same is not None
        if same is None or _rank(item, node) > _rank(item, same):
            by_text[text] = node
    return list(by_text.values())


def _rank(item: Item, node: TreeNode) -> tuple[float, int, bool, int]:
    """Return what makes an alternative the best: of equal ones, one that the tree continues."""
    value = item.values[node.path]
    known = -inf if value.value is None else value.value
    is_continued = node.is_finished or not item.tree.is_leaf(node.path)
    return known, value.leaves, is_continued, -node.position


def _rating(item: Item, node: TreeNode, options: RowOptions) -> int | None:
    """Return 1 for a value above the threshold, -1 for 0, 0 in between; None without a value.

    Progress of exactly 0 is rated 0, and -1 below it.
    """
    value = item.values[node.path].value
    if value is None:
        return None
    if options.is_good(value):
        return 1
    return 0 if value > 0 or (options.is_progress and not value) else -1


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

STEP_FORMATS = tuple(
    Format(name, "trees", rows, schema, 0.0, "drop", STEP_TASK)
    for name, rows, schema in (
        ("trl_stepwise", _trl_stepwise, _stepwise_schema),
        ("math_shepherd", _math_shepherd, of_texts("input", "label", "task")),
        ("processbench", _processbench, lambda *_: _PROCESSBENCH),
        ("prm800k", _prm800k, lambda *_: _PRM800K),
    )
)
