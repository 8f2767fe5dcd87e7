"""Merge the solutions of one question into a tree: equal steps after equal steps are one node."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import fsum
from typing import Any, TypeAlias

from forests.core.tree import ROOT, NodePath, TreeNode
from forests.transfer import foreign_trees
from forests.transfer.foreign_trees import DELIMITER, ForeignTree, ForeignTreeError

Row: TypeAlias = Mapping[str, Any]
Combine: TypeAlias = Callable[[Sequence[float]], float | None]
"""Makes one value of those that several rows give a step; None for no value."""

GRADED_DIFFERENTLY = "solutions that rows grade differently"
VALUED_DIFFERENTLY = "steps that rows value differently"


@dataclass(frozen=True, slots=True)
class SolutionReader:
    """Reads a format with a solution, or a part of a tree, on each row.

    `key`: returns what the rows of one tree share; raises ForeignTreeError for a wrong row.
    `read`: returns the tree of such rows.
    """

    key: Callable[[Any], str]
    read: Callable[[Iterable[Any]], ForeignTree]

    def __call__(self, row: Any) -> ForeignTree:
        return self.read([row])


@dataclass(slots=True, eq=False)
class Step:
    """A step of the merged solutions, and what rows say of it."""

    text: str
    depth: int
    below: dict[str, "Step"] = field(default_factory=dict)
    samples: int = 0
    ends: int = 0
    """Samples that ended here."""
    is_end: bool = False
    """Whether a solution, or what the file has of one, ends here."""
    is_finished: bool = False
    values: list[float] = field(default_factory=list)
    verdicts: list[float] = field(default_factory=list)
    grades: set[bool] = field(default_factory=set)
    presumed: bool | None = None
    answer: str | None = None
    model: str = ""


def agreed(values: Sequence[float]) -> float | None:
    """Return the value that all rows give; None if they differ."""
    return values[0] if len(set(values)) == 1 else None


def mean(values: Sequence[float]) -> float:
    """Return the mean of shares of equally many rollouts, which is the share of all of them."""
    return fsum(values) / len(values)


class SolutionTree:
    """Collects solutions of one question. `delimiter` comes between two steps."""

    def __init__(self, delimiter: str = DELIMITER) -> None:
        self.root = Step("", 0)
        self._delimiter = delimiter
        self._num_steps = 0

    def follow(self, texts: Iterable[str], after: Step, *, samples: int = 0) -> Step:
        """Return the step at the end of these texts; add the steps that are new.

        `samples`: how many samples of a model gave these steps; 0 if the file does not say.

        Raises:
            ForeignTreeError: the tree becomes too large or too deep.
        """
        for text in texts:
            if (step := after.below.get(text)) is None:
                step = after.below[text] = Step(text, after.depth + 1)
                self._num_steps += 1
                if step.depth > foreign_trees.MAX_DEPTH:
                    raise ForeignTreeError(f"more than {foreign_trees.MAX_DEPTH} steps on a path")
                if self._num_steps >= foreign_trees.MAX_NODES:
                    raise ForeignTreeError(f"more than {foreign_trees.MAX_NODES} nodes")
            step.samples += samples
            after = step
        return after

    def end(
        self,
        step: Step,
        *,
        is_correct: bool | None = None,
        samples: int = 0,
        is_finished: bool = True,
    ) -> None:
        """Note that a solution ends with a step, and its grade if the file has it.

        If it is not finished, only a prefix is in the file: its leaf has no result.
        """
        step.is_end = True
        step.is_finished |= is_finished
        step.ends += samples
        if is_correct is not None:
            step.grades.add(is_correct)

    def write(self, found: ForeignTree, combine: Combine = agreed) -> None:
        """Add the steps to a tree that has none, with their values, verdicts and grades."""
        waiting: list[tuple[NodePath, Step]] = [(ROOT, self.root)]
        while waiting:
            path, step = waiting.pop()
            for given, kept, one_of in (
                (step.values, found.values, combine),
                (step.verdicts, found.verdicts, agreed),
            ):
                if given and (value := one_of(given)) is not None:
                    kept[path] = value
                elif given:
                    found.left_out[VALUED_DIFFERENTLY] += 1
            for position, child in enumerate(step.below.values()):
                below = (*path, position)
                found.tree.add(self._node(below, child))
                waiting.append((below, child))
            if path and step.is_end:
                _grade(found, _leaf(found, path, step), step)

    def _node(self, path: NodePath, step: Step) -> TreeNode:
        is_end = step.is_finished and not step.below
        return TreeNode(
            path,
            text=step.text + self._delimiter if step.below else step.text,
            count=max(1, step.samples),
            terminal=is_end,
            answer=step.answer if is_end else None,
            model=step.model,
        )


def _leaf(found: ForeignTree, path: NodePath, step: Step) -> NodePath:
    """Return the leaf of a solution: its last step, or a new one below it if others continue it."""
    if not step.below:
        return path
    leaf = (*path, len(step.below))
    found.tree.add(
        TreeNode(
            leaf,
            count=max(1, step.ends),
            terminal=step.is_finished,
            answer=step.answer,
            model=step.model,
        )
    )
    if path in found.values:
        found.values[leaf] = found.values[path]
    return leaf


def _grade(found: ForeignTree, leaf: NodePath, step: Step) -> None:
    if len(step.grades) > 1:
        found.left_out[GRADED_DIFFERENTLY] += 1
    elif step.grades:
        found.correct[leaf] = next(iter(step.grades))
    elif step.presumed is not None:
        found.presumed[leaf] = step.presumed


def chains(texts: Iterable[str], above: Mapping[str, str] | None = None) -> dict[str, list[str]]:
    """Return the pieces of each text, which end where the shorter texts that it continues end.

    A text continues another only at a blank: "50" does not continue "5". `above`: for some texts,
    the text that they continue even without a blank; it must be one of the texts, or empty.
    """
    found: dict[str, list[str]] = {"": []}
    open_texts: list[str] = []
    for text in sorted(set(texts)):  # a text comes after all texts that it continues
        while open_texts and not text.startswith(open_texts[-1]):
            open_texts.pop()
        before = next((one for one in reversed(open_texts) if _continues(text, one)), "")
        if above and text in above:
            before = above[text]
        found[text] = [*found[before], text[len(before) :]]
        open_texts.append(text)
    return found


def _continues(text: str, before: str) -> bool:
    rest = text[len(before) :]
    return bool(rest.strip()) and (before[-1].isspace() or rest[0].isspace())
