"""`birm`: questions with solutions whose steps have Monte Carlo labels and labels of a judge.

The README of github.com/chenwxOggai/BiRM at commit 04dc6fd (2503.04618). `step_s_label` is the
share of correct rollouts, and `step_h_label` whether there is one: they become the values.
`step_labels` are the verdicts of a judge model on the steps.
"""

from collections.abc import Sequence
from typing import Any, Required

from pydantic import TypeAdapter, with_config
from typing_extensions import TypedDict

from common.validation import STRICT
from forests.core.opinions.verdicts import is_score
from forests.core.step_tags import STEP_TAG
from forests.transfer.foreign_trees import (
    AnyText,
    ForeignTree,
    ForeignTreeError,
    ShortLabel,
    Text,
    Value,
    checked,
)
from forests.transfer.solution_trees import SolutionTree, Step, mean

_INVALID = "[invalid]"
"""BiRM writes this as the answer if it found none."""
_NO_LABEL = "steps without a label from 0 to 1"
_NO_VERDICT = "verdicts that are not true or false"


@with_config(STRICT)
class BirmOutput(TypedDict, total=False):
    """A solution, with a tag after each step."""

    response: Required[Text]
    response_answer: AnyText | None
    label: bool | AnyText | None
    """Whether the answer is correct."""
    step_labels: list[bool | AnyText | None] | None
    """What the judge says of each step."""
    step_h_label: list[bool | None] | None
    """Whether a rollout from the step was correct."""
    step_s_label: list[Value] | None
    """The share of the step's rollouts that were correct."""


@with_config(STRICT)
class BirmLine(TypedDict, total=False):
    """A question in the format `birm`."""

    question: Required[Text]
    ground_truth: Required[ShortLabel]
    outputs: Required[list[BirmOutput]]


BIRM_LINE = TypeAdapter(BirmLine)


def read_birm(row: Any) -> ForeignTree:
    """Return the tree of one question.

    Raises:
        ForeignTreeError: the object is not in BiRM's format.
    """
    line = checked(BIRM_LINE, row)
    question = line["question"].strip()
    found = ForeignTree(question + "\n", line["ground_truth"], question, question)
    tree = SolutionTree(delimiter="")
    for number, output in enumerate(line["outputs"]):
        _add(tree, found, output, number)
    tree.write(found, mean)
    return found


def _add(tree: SolutionTree, found: ForeignTree, output: BirmOutput, number: int) -> None:
    texts = output["response"].split(STEP_TAG)
    rest = texts.pop()
    soft = _labels(output.get("step_s_label"), "step_s_label", len(texts), number)
    hard = _labels(output.get("step_h_label"), "step_h_label", len(texts), number)
    judged = _labels(output.get("step_labels"), "step_labels", len(texts), number)
    step = tree.root
    for text, share, has_correct, verdict in zip(texts, soft, hard, judged, strict=True):
        if not text.strip():
            found.left_out["blank steps"] += 1
            continue
        step = tree.follow([text], step, samples=1)
        value = has_correct if output.get("step_s_label") is None else share
        if is_score(value) or isinstance(value, bool):
            step.values.append(float(value))
        else:
            found.left_out[_NO_LABEL] += 1
        if isinstance(verdict, bool):
            step.verdicts.append(float(verdict))
        found.left_out[_NO_VERDICT] += verdict is not None and not isinstance(verdict, bool)
    if rest.strip():
        step = tree.follow([rest], step, samples=1)
        found.left_out[_NO_LABEL] += 1
    if step is tree.root:
        found.left_out["solutions without steps"] += 1
    else:
        _end(tree, step, output)


def _end(tree: SolutionTree, step: Step, output: BirmOutput) -> None:
    label, answer = output.get("label"), output.get("response_answer")
    tree.end(step, is_correct=label if isinstance(label, bool) else None, samples=1)
    if answer and answer != _INVALID:
        step.answer = answer


def _labels(labels: Sequence[Any] | None, key: str, number: int, output: int) -> Sequence[Any]:
    if labels is None:
        return [None] * number
    if len(labels) != number:
        raise ForeignTreeError(
            f"`{key}` of output {output} has {len(labels)} labels for {number} tags `{STEP_TAG}`"
        )
    return labels
