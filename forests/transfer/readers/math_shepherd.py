"""`math_shepherd`: solutions with a tag after each step, and a label in its place.

The dataset card of peiyi9979/Math-Shepherd (2312.08935): `input` has the tag after each step and
`label` repeats it with `+` or `-` instead. OpenRLHF's variant has a list of labels
(`openrlhf/datasets/process_reward_dataset.py` at commit 6a981c8^). The label of the last step says
whether the answer is correct.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Required

from pydantic import TypeAdapter, with_config
from typing_extensions import TypedDict

from common.validation import STRICT
from experiment_configs.answers.extraction.last_answer import extract_last_answer
from forests.core.opinions.verdicts import is_score
from forests.core.step_tags import STEP_TAG
from forests.transfer.foreign_trees import (
    AnyText,
    ForeignTree,
    ForeignTreeError,
    Text,
    Value,
    checked,
)
from forests.transfer.solution_trees import SolutionReader, SolutionTree

_FIRST = "Step 1:"
_MARKS = {"+": 1.0, "-": 0.0}
_NO_LABEL = "steps without a label"
_OTHER_LABEL = "labels other than +, - and numbers from 0 to 1"


@with_config(STRICT)
class MathShepherdLine(TypedDict, total=False):
    """A solution in the format `math_shepherd`."""

    input: Required[Text]
    """The question and its numbered steps, each with the tag after it."""
    label: AnyText | list[Value | AnyText | bool] | None
    """`input` with `+` or `-` in place of each tag, or a list with a label for each tag."""
    value: list[Value | AnyText | bool] | None
    """The list, if `label` is left out."""


MATH_SHEPHERD_LINE = TypeAdapter(MathShepherdLine)


def _key(row: Any) -> str:
    return _question(checked(MATH_SHEPHERD_LINE, row))


def _question(line: MathShepherdLine) -> str:
    question, first, _ = line["input"].partition(_FIRST)
    if not first:
        raise ForeignTreeError(
            f"`input` has no `{_FIRST}`, which begins the steps: number them, or use --format jsonl"
        )
    if not question.strip():
        raise ForeignTreeError(f"`input` has no question before `{_FIRST}`")
    return question.strip()


def _read(rows: Iterable[Any]) -> ForeignTree:
    """Return the tree of all solutions of one question."""
    tree, found = SolutionTree("\n"), None
    for row in rows:
        line = checked(MATH_SHEPHERD_LINE, row)
        if found is None:
            question = _question(line)
            found = ForeignTree(question + "\n", "", question, question)
        _add(tree, found, line)
    if found is None:
        raise ForeignTreeError("no solution")
    tree.write(found)
    return found


def _add(tree: SolutionTree, found: ForeignTree, line: MathShepherdLine) -> None:
    if line["input"].count(_FIRST) > 1:
        found.left_out[f"rows with several `{_FIRST}`"] += 1
        return
    steps = line["input"][line["input"].index(_FIRST) :]
    *tagged, rest = steps.split(STEP_TAG)
    labels = _labels(line, tagged)
    if labels is None:
        found.left_out["rows whose `label` does not repeat `input`"] += 1
        return
    step, value = tree.root, None
    for text, label in zip(tagged, labels, strict=True):
        if not text.strip():
            found.left_out["blank steps"] += 1
            continue
        step = tree.follow([text.strip()], step, samples=1)
        value = _value(label)
        if value is not None:
            step.values.append(value)
        else:
            found.left_out[_NO_LABEL if label is None else _OTHER_LABEL] += 1
    if rest.strip():
        step, value = tree.follow([rest.strip()], step, samples=1), None
        found.left_out[_NO_LABEL] += 1
    if step is tree.root:
        return
    # A solution that was cut at its first error states no answer.
    is_whole = extract_last_answer(steps.replace(STEP_TAG, "")) is not None
    is_correct = value == 1 if is_whole and value in (0, 1) else None
    tree.end(step, is_correct=is_correct, samples=1, is_finished=is_whole)


def _labels(line: MathShepherdLine, tagged: Sequence[str]) -> list[Any] | None:
    """Return a label for each tag, None for a tag without one.

    Returns None instead of the list if the text of `label` is not that of `input`.

    Raises:
        ForeignTreeError: there are no labels, or more than tags.
    """
    label = line.get("label")
    if isinstance(label, str):
        return _marks(line["input"], label, len(tagged))
    labels = line.get("value") if label is None else label
    if labels is None:
        raise ForeignTreeError("no `label`: give a text with + and -, or a list of labels")
    if len(labels) > len(tagged):
        raise ForeignTreeError(f"{len(labels)} labels for {len(tagged)} tags `{STEP_TAG}`")
    return [*labels, *[None] * (len(tagged) - len(labels))]


def _marks(tagged: str, marked: str, number: int) -> list[Any] | None:
    """Return what `marked` has in the place of each tag."""
    marks: list[Any] = []
    place = 0
    pieces = tagged.split(STEP_TAG)
    for piece in pieces[:number]:
        place += len(piece)
        if not marked.startswith(piece, place - len(piece)):
            return None
        marks.append(marked[place : place + 1] or None)
        place += 1
    return marks if marked[place:].strip() == pieces[number].strip() else None


def _value(label: Any) -> float | None:
    if isinstance(label, str):
        return _MARKS.get(label)
    if isinstance(label, bool):
        return float(label)
    return float(label) if is_score(label) else None


read_math_shepherd = SolutionReader(_key, _read)
"""Reads solutions. Those of one question make one tree."""
