"""Conversion of samples from a file to a tree, so that the same metrics apply to them."""

from collections.abc import Sequence
from dataclasses import dataclass

from forests.core.tree import ROOT, Grade, NodePath, ReasoningTree, TreeNode
from forests.core.voting import AnswerGroups, IsSame
from metrics.core.search.value_functions import SearchSpace


@dataclass(frozen=True, slots=True)
class GradedSample:
    """One answer to a problem."""

    answer: str | None
    grade: Grade
    scores: Sequence[float] = ()
    """One score for each step, or one for the whole sample; empty if the sample has no score."""


def search_of(samples: Sequence[GradedSample], is_same: IsSame) -> SearchSpace:
    """Return a tree with a branch for each sample, and the scores as values of the steps.

    A sample has one step for each score, and at least one; the last step is the leaf. Samples whose
    answers are the same by `is_same` vote together.
    """
    nodes = [TreeNode(ROOT)]
    groups = AnswerGroups(is_same)
    values: dict[NodePath, float | None] = {}
    for number, sample in enumerate(samples):
        path: NodePath = (number,)
        for score in sample.scores[:-1]:
            nodes.append(TreeNode(path))
            values[path] = score
            path = (*path, 0)
        values[path] = sample.scores[-1] if sample.scores else None
        leaf = TreeNode(path, terminal=True, answer=sample.answer, grade=sample.grade)
        groups.add(leaf)
        nodes.append(leaf)
    return SearchSpace(ReasoningTree.from_nodes(nodes), values)
