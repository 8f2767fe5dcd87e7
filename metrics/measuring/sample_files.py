"""Reading and grading of files of samples that are not from a forest."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.json_lines import MAX_NUMBER, JsonFileError, is_number, read_json_lines
from experiment_configs.interfaces import ConfigError, Grader
from forests.core.tree import Grade
from forests.grading import ItemGrader
from metrics.core.sample_trees import GradedSample


class SampleFileError(UserError):
    """A file cannot be used. The message names the line and the remedy."""


class _BadLineError(Exception):
    """A line is invalid."""


def read_samples(path: Path, grader: Grader) -> Iterator[list[GradedSample]]:
    """Yield the graded samples of each problem, one line at a time.

    A line is a JSON object with `label` and either `answers` or `texts` (whole solutions, from
    which the grader extracts the answers). Optional `scores` has an entry for each sample: a
    number, or a list with a number for each step. A null in `answers` is a sample without an
    answer.

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


def _graded(line: Any, grader: Grader) -> list[GradedSample]:
    if not isinstance(line, Mapping):
        raise _BadLineError("not a JSON object")
    label = _label(line)
    if ("answers" in line) == ("texts" in line):
        raise _BadLineError("needs either `answers` or `texts`")
    found = line.get("answers", line.get("texts"))
    if not isinstance(found, list) or not found:
        raise _BadLineError("`answers` or `texts` must be a list with at least one sample")
    scores = _scores(line.get("scores"), len(found))
    grade, item = _grade_text if "texts" in line else _grade_answer, ItemGrader(grader, label)
    return [
        GradedSample(*grade(item, one), scores=one_scores)
        for one, one_scores in zip(found, scores, strict=True)
    ]


def _label(line: Mapping[str, Any]) -> str:
    label = line.get("label")
    if isinstance(label, bool) or not isinstance(label, str | int | float):
        raise _BadLineError("needs `label`, a text or a number")
    if not str(label).strip():
        raise _BadLineError("`label` is blank: give the correct answer, or remove the line")
    return str(label)


def _grade_text(item: ItemGrader, text: object) -> tuple[str | None, Grade]:
    if not isinstance(text, str):
        raise _BadLineError("each of `texts` must be a text")
    return item.grade_solution(text)


def _grade_answer(item: ItemGrader, answer: object) -> tuple[str | None, Grade]:
    if answer is None:
        return None, Grade.UNANSWERED
    if isinstance(answer, bool) or not isinstance(answer, str | int | float):
        raise _BadLineError("each of `answers` must be a text, a number or null")
    text = str(answer)
    return text, item.grade_answer(text)


def _scores(scores: object, number: int) -> list[list[float]]:
    if scores is None:
        return [[]] * number
    if not isinstance(scores, list) or len(scores) != number:
        raise _BadLineError(f"`scores` must be a list of {number}, one for each sample")
    return [[_score(step) for step in (one if isinstance(one, list) else [one])] for one in scores]


def _score(score: Any) -> float:
    if not is_number(score):
        shown = type(score).__name__ if isinstance(score, list | dict) else f"{score!r:.40}"
        raise _BadLineError(f"{shown} is not a score: each must be a number up to {MAX_NUMBER:g}")
    return float(score)
