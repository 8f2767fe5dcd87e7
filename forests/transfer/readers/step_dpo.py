"""`step_dpo`: pairs of next steps after a prefix.

`train.py` and `data_pipeline/generate_dataset.py` of github.com/dvlab-research/Step-DPO at commit
c4902fd, and the card of the dataset xinlai/Math-Step-DPO-10K. A pair is not a value: it says only
that one step is better than another. The chosen step gets 1 and the rejected step 0, so that pairs
of the tree have the same order. A step that is chosen in one row and rejected in another gets no
value.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Required

from pydantic import TypeAdapter, with_config
from typing_extensions import TypedDict

from common.validation import STRICT
from forests.transfer.foreign_trees import (
    AnyText,
    ForeignTree,
    ForeignTreeError,
    ShortLabel,
    Text,
    checked,
)
from forests.transfer.solution_trees import SolutionReader, SolutionTree, chains


@with_config(STRICT)
class StepDpoLine(TypedDict, total=False):
    """A pair in the format `step_dpo`."""

    prompt: Required[Text]
    """The question."""
    chosen: Required[Text]
    rejected: Required[Text]
    initial_reason_steps: AnyText | None
    """The steps before the pair."""
    prefix: AnyText | None
    """The same, if there is no `initial_reason_steps`."""
    answer: ShortLabel | None
    full_chosen: AnyText | None
    """The whole continuation that begins with `chosen`."""
    full_rejected: AnyText | None


STEP_DPO_LINE = TypeAdapter(StepDpoLine)


def _checked_line(row: Any) -> StepDpoLine:
    line = checked(STEP_DPO_LINE, row)
    if line["chosen"] == line["rejected"]:
        raise ForeignTreeError("`chosen` and `rejected` are the same text")
    return line


def _key(row: Any) -> str:
    line = _checked_line(row)
    return f"{line['prompt'].strip()}\0{line.get('answer') or ''}"


def _read(rows: Iterable[Any]) -> ForeignTree:
    """Return the tree of all pairs of one question."""
    texts, found = _Texts(), None
    for row in rows:
        line = _checked_line(row)
        if found is None:
            question = line["prompt"].strip()
            found = ForeignTree(question + "\n", line.get("answer") or "", question, question)
        prefix = _prefix(line)
        if prefix:
            texts.add(prefix)
        for text, whole, value in (
            (line["chosen"], line.get("full_chosen") or "", 1.0),
            (line["rejected"], line.get("full_rejected") or "", 0.0),
        ):
            texts.add(prefix + text, above=prefix).append(value)
            if whole.startswith(text):
                texts.end(prefix + text, whole[len(text) :])
            elif whole.strip():
                found.left_out["whole continuations that do not begin with their step"] += 1
    if found is None:
        raise ForeignTreeError("no pair")
    texts.tree().write(found)
    return found


@dataclass(slots=True)
class _Texts:
    """All texts from the end of the question to the end of a step."""

    values: dict[str, list[float]] = field(default_factory=dict)
    above: dict[str, str] = field(default_factory=dict)
    """The text that another continues."""
    ends: set[str] = field(default_factory=set)
    """Whole solutions."""

    def add(self, text: str, above: str | None = None) -> list[float]:
        """Return the values that rows give a text."""
        if above is not None:
            self.above.setdefault(text, above)
        return self.values.setdefault(text, [])

    def end(self, text: str, rest: str) -> None:
        """Note a whole solution: a text and the rest after it."""
        if rest.strip():
            self.add(text + rest, above=text)
            self.ends.add(text + rest)
        else:
            self.ends.add(text)

    def tree(self) -> SolutionTree:
        tree = SolutionTree(delimiter="")
        pieces = chains(self.values, self.above)
        for text, given in self.values.items():
            step = tree.follow(pieces[text], tree.root)
            step.values += given
            if text in self.ends:
                tree.end(step)
        return tree


def _prefix(line: StepDpoLine) -> str:
    """Return the text before a pair; empty if it is blank."""
    steps = line.get("initial_reason_steps")
    prefix = (line.get("prefix") if steps is None else steps) or ""
    return prefix if prefix.strip() else ""


read_step_dpo = SolutionReader(_key, _read)
"""Reads pairs. Those of one question make one tree."""
