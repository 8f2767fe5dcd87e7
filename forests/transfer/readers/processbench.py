"""`processbench`: solutions with the number of their first wrong step.

The README and `code/run_eval.py` of github.com/QwenLM/ProcessBench at commit e802463 (2412.06559).
Steps before the first wrong one are right. Those after it have no verdict.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Required

from pydantic import Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from common.validation import STRICT
from forests.core.opinions.verdicts import SCORES, Verdict
from forests.transfer.foreign_trees import AnyText, ForeignTree, ForeignTreeError, Text, checked
from forests.transfer.solution_trees import SolutionReader, SolutionTree


@with_config(STRICT)
class ProcessBenchLine(TypedDict, total=False):
    """A solution in the format `processbench`."""

    problem: Required[Text]
    steps: Required[Annotated[list[Text], Field(min_length=1)]]
    label: Required[int]
    """The number of the first wrong step, from 0; -1 if no step is wrong."""
    final_answer_correct: bool | None
    generator: AnyText | None
    """The model that wrote the solution."""


PROCESSBENCH_LINE = TypeAdapter(ProcessBenchLine)


def _key(row: Any) -> str:
    return checked(PROCESSBENCH_LINE, row)["problem"].strip()


def _read(rows: Iterable[Any]) -> ForeignTree:
    """Return the tree of all solutions of one problem."""
    tree, found = SolutionTree(), None
    for row in rows:
        line = checked(PROCESSBENCH_LINE, row)
        if found is None:
            problem = line["problem"].strip()
            found = ForeignTree(problem + "\n\n", "", problem, problem)
        _add(tree, line)
    if found is None:
        raise ForeignTreeError("no solution")
    tree.write(found)
    return found


def _add(tree: SolutionTree, line: ProcessBenchLine) -> None:
    texts, label = [text.strip() for text in line["steps"]], line["label"]
    if not -1 <= label < len(texts):
        raise ForeignTreeError(
            f"`label` is {label}: give the number of a step from 0 to {len(texts) - 1}, or -1 if "
            "no step is wrong"
        )
    step = tree.root
    for number, text in enumerate(texts):
        step = tree.follow([text], step, samples=1)
        step.model = step.model or line.get("generator") or ""
        if number == label:
            step.values.append(SCORES[Verdict.WRONG])
        elif label == -1 or number < label:
            step.values.append(SCORES[Verdict.RIGHT])
    tree.end(step, is_correct=line.get("final_answer_correct"), samples=1)


read_processbench = SolutionReader(_key, _read)
"""Reads solutions. Those of one problem make one tree."""
