"""`math_aps`: the flat format of MATH-APS, and its labelled processes.

github.com/openreasoner/openr at commit 54ae004: `data/omegaPRM_v2/readme.md` (`solution_prefix` and
`mc_value`), and `preprocess/src/data_types/converted.py` (`question`, `process`, `label`), in which
`process` has five line breaks after each step. The tree format of MATH-APS is `openr`.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Required

from pydantic import Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from common.validation import STRICT
from forests.transfer.foreign_trees import (
    DELIMITER,
    MOSTLY,
    ForeignTree,
    ForeignTreeError,
    ShortLabel,
    Text,
    Value,
    checked,
)
from forests.transfer.solution_trees import (
    SolutionReader,
    SolutionTree,
    agreed,
    chains,
    mean,
)

_TAG = "\n\n\n\n\n"
_OTHER_PREFIX = "prefixes that do not begin with their question"


@with_config(STRICT)
class ApsState(TypedDict, total=False):
    """A prefix of a solution, with the question before it."""

    solution_prefix: Required[Text]
    mc_value: Value
    """The share of its rollouts that were correct."""


@with_config(STRICT)
class ApsLine(TypedDict, total=False):
    """A question in the format `math_aps`."""

    question: Required[Text]
    final_answer: Required[ShortLabel]
    reasoning_steps: Required[list[ApsState]]


@with_config(STRICT)
class ApsProcess(TypedDict, total=False):
    """A labelled solution in the format `math_aps`."""

    question: Required[Text]
    process: Required[Text]
    """The steps, each with five line breaks after it."""
    label: Required[Annotated[list[Literal["+", "-"]], Field(min_length=1)]]


APS_LINE, APS_PROCESS = TypeAdapter(ApsLine), TypeAdapter(ApsProcess)


def _is_process(row: Any) -> bool:
    return isinstance(row, dict) and "process" in row


def _checked_process(row: Any) -> ApsProcess:
    line = checked(APS_PROCESS, row)
    if (number := len(_steps_of(line))) != len(line["label"]):
        raise ForeignTreeError(
            f"{len(line['label'])} labels for {number} steps: each step must end with five line "
            "breaks"
        )
    return line


def _steps_of(line: ApsProcess) -> list[str]:
    return [text for part in line["process"].split(_TAG) if (text := part.strip())]


def _key(row: Any) -> str:
    if _is_process(row):
        return f"{_checked_process(row)['question'].strip()}\0process"
    line = checked(APS_LINE, row)
    return f"{line['question'].strip()}\0{line['final_answer']}"


def _read(rows: Iterable[Any]) -> ForeignTree:
    """Return the tree of all rows about one question."""
    found, states, processes = None, [], []
    for row in rows:
        if _is_process(row):
            processes.append(_checked_process(row))
            label = ""
        else:
            whole = checked(APS_LINE, row)
            states += whole["reasoning_steps"]
            label = whole["final_answer"]
        question = row["question"].strip()
        found = found or ForeignTree(question + DELIMITER, label, question, question)
    if found is None:
        raise ForeignTreeError("no question")
    if processes:
        _read_processes(found, processes)
    else:
        _read_states(found, states)
    return found


def _read_states(found: ForeignTree, states: Iterable[ApsState]) -> None:
    """Nest each prefix below the longest other one that it continues."""
    values: dict[str, list[float]] = {}
    tree = SolutionTree(delimiter="")
    for state in states:
        text = state["solution_prefix"].strip()
        value = state.get("mc_value")
        if not text.startswith(found.question):
            found.left_out[_OTHER_PREFIX] += 1
            continue
        given = [] if value is None else [value]
        if rest := text[len(found.question) :].strip():
            values.setdefault(rest, []).extend(given)
        else:
            tree.root.values += given
    pieces = chains(values)
    for text, given in values.items():
        tree.follow(pieces[text], tree.root).values += given
    for text in values:
        step = tree.follow(pieces[text], tree.root)
        if not step.below:  # its rollouts are not in the file
            tree.end(step)
            step.presumed = mean(step.values) > MOSTLY if step.values else None
    tree.write(found, mean)


def _read_processes(found: ForeignTree, lines: Iterable[ApsProcess]) -> None:
    tree = SolutionTree()
    for line in lines:
        texts = _steps_of(line)
        # Processes that OpenR makes from its own trees begin with the question.
        texts[0] = texts[0].removeprefix(found.question).strip()
        step = tree.root
        for text, mark in zip(texts, line["label"], strict=True):
            step = tree.follow([text], step) if text else step
            step.values.append(float(mark == "+"))
        tree.end(step, is_finished=False)
    tree.write(found, agreed)


read_math_aps = SolutionReader(_key, _read)
"""Reads questions with prefixes, or labelled processes. Those of one question make one tree."""
