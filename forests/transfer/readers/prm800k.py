"""`prm800k`: sessions in which people rated steps, and the alternatives of each step.

The README of github.com/openai/prm800k at commit 7ecc794; the shape of steps that a person wrote
follows OpenR's `preprocess/src/data_types/prm800k.py` at commit 54ae004. Ratings become scores on
the scale of verdicts: 1 stays 1, 0 (neutral) becomes 0.5, and -1 becomes 0.
"""

from collections.abc import Iterable
from typing import Any, Required

from pydantic import TypeAdapter, with_config
from typing_extensions import TypedDict

from common.validation import STRICT
from forests.core.opinions.verdicts import signed_score
from forests.transfer.foreign_trees import (
    AnyText,
    ForeignTree,
    ForeignTreeError,
    ShortLabel,
    Text,
    checked,
)
from forests.transfer.solution_trees import SolutionReader, SolutionTree, Step

_RATINGS = (-1, 0, 1)
_ANSWER = "# Answer"
"""The heading that a solution of PRM800K has above its answer."""


@with_config(STRICT)
class Completion(TypedDict, total=False):
    """A step that a model or a person wrote."""

    text: Required[AnyText]
    rating: int | None
    """-1, 0 or 1."""


@with_config(STRICT)
class RatedStep(TypedDict, total=False):
    """All alternatives of one step."""

    completions: list[Completion] | None
    human_completion: Completion | AnyText | None
    chosen_completion: int | None
    """Which of `completions` the next step continues; null: the person's own, or the end."""


@with_config(STRICT)
class RatedSolution(TypedDict, total=False):
    """What a person said of a solution."""

    steps: Required[list[RatedStep]]
    finish_reason: AnyText | None


@with_config(STRICT)
class Problem(TypedDict, total=False):
    """The question of a session."""

    problem: Required[Text]
    ground_truth_answer: ShortLabel | None


@with_config(STRICT)
class Prm800kLine(TypedDict, total=False):
    """A session in the format `prm800k`."""

    question: Required[Problem]
    label: Required[RatedSolution]


PRM800K_LINE = TypeAdapter(Prm800kLine)


def _key(row: Any) -> str:
    question = checked(PRM800K_LINE, row)["question"]
    return f"{question['problem'].strip()}\0{question.get('ground_truth_answer') or ''}"


def _read(rows: Iterable[Any]) -> ForeignTree:
    """Return the tree of all sessions about one question."""
    tree, found = SolutionTree("\n"), None
    for row in rows:
        line = checked(PRM800K_LINE, row)
        if found is None:
            problem = line["question"]["problem"].strip()
            label = line["question"].get("ground_truth_answer") or ""
            found = ForeignTree(problem + "\n\n", label, problem, problem)
        _add(tree, found, line["label"])
    if found is None:
        raise ForeignTreeError("no session")
    tree.write(found)
    return found


def _add(tree: SolutionTree, found: ForeignTree, label: RatedSolution) -> None:
    step = tree.root
    is_whole = True
    for number, rated in enumerate(label["steps"]):
        alternatives = [
            _alternative(tree, found, one, step) for one in rated.get("completions") or []
        ]
        chosen = rated.get("chosen_completion")
        if chosen is not None and not 0 <= chosen < len(alternatives):
            raise ForeignTreeError(
                f"`chosen_completion` of step {number} is {chosen}, and the step has "
                f"{len(alternatives)} completions, from 0"
            )
        human = rated.get("human_completion")
        if isinstance(human, str):
            human = {"text": human}
        written = human and _alternative(tree, found, human, step)
        next_step = written if chosen is None else alternatives[chosen]
        if not next_step:
            is_whole = False
            found.left_out["steps after one without a chosen completion"] += (
                len(label["steps"]) - number - 1
            )
            break
        step = next_step
    if is_whole and step is not tree.root and label.get("finish_reason") == "solution":
        tree.end(step)


def _alternative(
    tree: SolutionTree, found: ForeignTree, completion: Completion, before: Step
) -> Step | None:
    """Return the step of a completion; None if it is blank."""
    text, rating = completion["text"].strip(), completion.get("rating")
    if not text:
        found.left_out["blank steps"] += 1
        return None
    step = tree.follow([text], before)
    if _ANSWER in text:
        tree.end(step)
        step.answer = text.rpartition(_ANSWER)[2].strip() or None
    if rating in _RATINGS:
        step.values.append(signed_score(rating))
    elif rating is None:
        found.left_out["steps without a rating"] += 1
    else:
        found.left_out["ratings other than -1, 0 and 1"] += 1
    return step


read_prm800k = SolutionReader(_key, _read)
"""Reads sessions. Those of one question make one tree."""
