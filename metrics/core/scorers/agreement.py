"""Agreement of a scorer's verdicts with a reference, as in AgentProcessBench (2603.14465).

StepAcc is the share of the labelled steps on which the scorer and the reference give the same
verdict. FirstErrAcc is the share of the labelled solutions in which both find the same first wrong
step, or both find none.

Missing verdicts count as in the benchmark's evaluation. A labelled step without a score does not
agree. A step without a score is not wrong, so a solution without any score counts as one without an
error. Steps that the reference does not label are left out of StepAcc, and the reference counts
them as not wrong. Both figures are over all labels together, so trees with many steps weigh more.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from forests.core.opinions.verdicts import first_wrong, verdict_of
from forests.core.tree import NodePath, ReasoningTree, Scores, TreeNode
from metrics.core.scorers.first_errors import NO_ERROR
from metrics.core.scorers.step_scores import Numbers
from metrics.core.statistics.bootstrap import over_trees


@dataclass(slots=True)
class _Counts:
    """Counts of steps or of solutions, one entry for each tree."""

    labelled: list[int] = field(default_factory=list)
    agreeing: list[int] = field(default_factory=list)
    unscored: list[int] = field(default_factory=list)

    def add(self, labelled: int, agreeing: int, unscored: int) -> None:
        self.labelled.append(labelled)
        self.agreeing.append(agreeing)
        self.unscored.append(unscored)


class Agreement:
    """Collects the verdicts of a scorer and of a reference, tree by tree."""

    def __init__(self) -> None:
        self._steps = _Counts()
        self._solutions = _Counts()

    def add(self, tree: ReasoningTree, reference: Scores, scores: Scores) -> None:
        """Add a tree that the reference labels; the scores may be empty."""
        labelled = [path for path in reference if path and path in tree.nodes]
        self._steps.add(
            len(labelled),
            sum(
                path in scores and verdict_of(scores[path]) is verdict_of(reference[path])
                for path in labelled
            ),
            sum(path not in scores for path in labelled),
        )
        solutions = labelled_solutions(tree, reference)
        self._solutions.add(
            len(solutions),
            sum(first_error(steps, scores) == first_error(steps, reference) for steps in solutions),
            sum(not any(step.path in scores for step in steps) for steps in solutions),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON types, with 95 % intervals over trees."""
        counts = {"step_acc": self._steps, "first_err_acc": self._solutions}

        def shares(weight: Numbers) -> list[float | None]:
            return [_share(one, weight) for one in counts.values()]

        figures = over_trees(len(self._steps.labelled), shares)
        return {
            **{name: asdict(figure) for name, figure in zip(counts, figures, strict=True)},
            "steps": sum(self._steps.labelled),
            "steps_without_score": sum(self._steps.unscored),
            "solutions": sum(self._solutions.labelled),
            "solutions_without_score": sum(self._solutions.unscored),
        }


def labelled_solutions(tree: ReasoningTree, reference: Scores) -> list[list[TreeNode]]:
    """Return the steps of the solutions that a reference judges.

    It judges a solution if it labels a step that only this solution has, or finds one of its steps
    wrong. Labels of steps that several solutions share do not judge all of them.
    """
    found = []
    for leaf in tree.leaves():
        if not leaf.path:
            continue
        steps = tree.path_nodes(leaf.path)
        own = _own(tree, leaf.path)
        if any(path in reference for path in own) or first_error(steps, reference) != NO_ERROR:
            found.append(steps)
    return found


def first_error(steps: Sequence[TreeNode], scores: Scores) -> int:
    """Return the position of the first wrong step; `NO_ERROR` if none is wrong."""
    found = first_wrong(scores.get(step.path) for step in steps)
    return NO_ERROR if found is None else found


def _own(tree: ReasoningTree, leaf: NodePath) -> list[NodePath]:
    """Return the nodes that only the solution of this leaf has, from the leaf up."""
    own = [leaf]
    while len(own[-1]) > 1 and len(tree.children(own[-1][:-1])) == 1:
        own.append(own[-1][:-1])
    return own


def _share(counts: _Counts, weight: Numbers) -> float | None:
    total = float(weight @ np.asarray(counts.labelled, np.float64))
    return float(weight @ np.asarray(counts.agreeing, np.float64)) / total if total else None
