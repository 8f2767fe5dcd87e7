"""Reading and grading of files of samples that are not from a forest."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Required, TypeAlias

from pydantic import Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from common.errors import UserError
from common.json_lines import MAX_NUMBER, JsonFileError, read_json_lines
from common.validation import STRICT, Label, Written, refusals
from experiment_configs.interfaces import ConfigError, Grader
from forests.core.tree import Grade
from forests.grading import ItemGrader
from metrics.core.sample_trees import GradedSample

Score: TypeAlias = Annotated[float, Field(ge=-MAX_NUMBER, le=MAX_NUMBER)]


class SampleFileError(UserError):
    """A file cannot be used. The message names the line and the remedy."""


class _BadLineError(Exception):
    """A line is invalid."""


@with_config(STRICT)
class SampleLine(TypedDict, total=False):
    """The samples of one problem: `answers`, or `texts`, from which the grader extracts them."""

    label: Required[Label]
    """The correct answer."""
    answers: Annotated[list[Written | None], Field(min_length=1, fail_fast=True)]
    """The final answers; null for a sample without one."""
    texts: Annotated[list[str], Field(min_length=1, fail_fast=True)]
    """Whole solutions."""
    scores: (
        Annotated[
            list[Score | Annotated[list[Score], Field(fail_fast=True)]], Field(fail_fast=True)
        ]
        | None
    )
    """For each sample a number, or a list with a number for each step."""


SAMPLE_LINE = TypeAdapter(SampleLine)


def read_samples(path: Path, grader: Grader) -> Iterator[list[GradedSample]]:
    """Yield the graded samples of each problem, one line at a time.

    Each line holds a `SampleLine`.

    Raises:
        SampleFileError: a line is invalid, or the file cannot be read. Earlier lines are yielded.
    """
    try:
        for number, line in read_json_lines(path):
            try:
                yield _graded(line, grader)
            except (ConfigError, _BadLineError) as error:
                raise SampleFileError(f"{path} line {number}: {error}") from error
    except JsonFileError as error:
        raise SampleFileError(str(error)) from error


def _graded(found: Any, grader: Grader) -> list[GradedSample]:
    line = _checked(found)
    if ("answers" in line) == ("texts" in line):
        raise _BadLineError("needs either `answers` or `texts`")
    item, texts = ItemGrader(grader, line["label"]), line.get("texts")
    number = len(texts or line["answers"])
    scores = line.get("scores")
    if scores is None:
        scores = [[]] * number
    elif len(scores) != number:
        raise _BadLineError(f"`scores` must be a list of {number}, one for each sample")
    graded = (
        (_grade_answer(item, answer) for answer in line["answers"])
        if texts is None
        else (item.grade_solution(text) for text in texts)
    )
    return [
        GradedSample(*one, scores=score if isinstance(score, list) else [score])
        for one, score in zip(graded, scores, strict=True)
    ]


def _checked(found: Any) -> SampleLine:
    try:
        return SAMPLE_LINE.validate_python(found)
    except ValidationError as error:
        refusal = max(refusals(error, SAMPLE_LINE), key=lambda one: len(one.place))
        raise _BadLineError(f"{refusal.name} {refusal.problem}") from error


def _grade_answer(item: ItemGrader, answer: str | None) -> tuple[str | None, Grade]:
    return (None, Grade.UNANSWERED) if answer is None else (answer, item.grade_answer(answer))
