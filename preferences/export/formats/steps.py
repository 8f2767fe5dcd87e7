"""Formats that label every step of each solution, for process reward models."""

from collections import Counter
from collections.abc import Iterator

import pyarrow as pa

from forests.core.prefix import as_text
from forests.core.step_tags import STEP_TAG, tagged_solution, without_number
from preferences.export.formats.base import (
    MESSAGES,
    TEXT,
    Format,
    Item,
    Row,
    RowOptions,
    Rows,
    SchemaOf,
    columns,
    of_texts,
)
from preferences.export.formats.prompts import message
from preferences.export.formats.solutions import Solution, labelled_solutions


def _trl_stepwise(item: Item, options: RowOptions, dropped: Counter[str]) -> Iterator[Row]:
    for solution in labelled_solutions(item, options, dropped):
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
    for steps, solution in _tagged(item, options, dropped):
        yield {
            "input": tagged_solution(item.asked, steps, [STEP_TAG] * len(steps)),
            "label": tagged_solution(item.asked, steps, _marks(solution, options)),
            "task": item.dataset,
        }


def _openrlhf_prm(item: Item, options: RowOptions, dropped: Counter[str]) -> Iterator[Row]:
    """Yield rows of OpenRLHF's `ProcessRewardDataset`, which exists in versions up to 0.9.5.

    `ProcessRewardDataset` assigns the labels in order to the placeholder tokens of the input.
    """
    for steps, solution in _tagged(item, options, dropped):
        row: Row = {
            "input": tagged_solution(item.asked, steps, [STEP_TAG] * len(steps)),
            "label": _marks(solution, options),
        }
        if options.with_values:
            row["values"] = [step.value for step in solution]
        yield row


def _tagged(
    item: Item, options: RowOptions, dropped: Counter[str]
) -> Iterator[tuple[list[str], Solution]]:
    """Yield the texts of each solution for readers that look for `Step 1:` and for step tags.

    They take the only `Step 1:` for the first step, and each step tag for the end of a step. A
    solution whose own text would mislead them is left out.
    """
    question = item.asked
    seen: set[tuple[str, ...]] = set()
    for solution in labelled_solutions(item, options, dropped):
        steps = [without_number(step.text) for step in solution]
        text = " ".join((question, *steps))
        if STEP_TAG in text or "Step 1:" in question or "Step 1:" in steps[0]:
            dropped["solutions_with_step_tag"] += 1
        elif tuple(steps) in seen:  # they differed only in whitespace, which these formats drop
            dropped["solutions_repeated"] += 1
        else:
            seen.add(tuple(steps))
            yield steps, solution


def _rlhflow(item: Item, options: RowOptions, dropped: Counter[str]) -> Iterator[Row]:
    """Yield rows of RLHFlow's process reward model (fc39179, `math-rm`).

    Each step is a message of the user, and its label is the answer. The first message starts with
    the question. Steps are stripped of whitespace, because RLHFlow strips them when it scores.
    """
    seen: set[tuple[str, ...]] = set()
    for solution in labelled_solutions(item, options, dropped):
        steps = tuple(step.text.strip() for step in solution)
        if steps in seen:
            dropped["solutions_repeated"] += 1
            continue
        seen.add(steps)
        asked = [f"{item.asked.strip()} {steps[0]}", *steps[1:]]
        yield {
            "conversations": [
                turn
                for text, mark in zip(asked, _marks(solution, options), strict=True)
                for turn in (message("user", text), message("assistant", mark))
            ]
        }


def _marks(solution: Solution, options: RowOptions) -> list[str]:
    return ["+" if options.is_good(step.value) else "-" for step in solution]


def _openrlhf_schema(_is_chat: bool, options: RowOptions) -> pa.Schema:
    soft = {"values": pa.list_(pa.float64())} if options.with_values else {}
    return columns("input", label=pa.list_(TEXT), **soft)


def _of_steps(name: str, rows: Rows, schema: SchemaOf) -> Format:
    task = "token-classification"
    return Format(name, "trees", rows, schema, 0.0, "drop", task)


STEP_FORMATS = (
    _of_steps("trl_stepwise", _trl_stepwise, _stepwise_schema),
    _of_steps("math_shepherd", _math_shepherd, of_texts("input", "label", "task")),
    _of_steps("openrlhf_prm", _openrlhf_prm, _openrlhf_schema),
    _of_steps("rlhflow", _rlhflow, lambda *_: columns(conversations=MESSAGES)),
)
