"""Quality of a scorer's scores, against the Monte Carlo values or the labels of the same nodes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import inf
from typing import Any

import numpy as np

from forests.core.opinions.verdicts import SCORES, Verdict, verdict_of
from forests.core.tree import NodePath, ReasoningTree, Scores, TreeNode
from forests.core.values import Ungraded, leaf_result
from metrics.core.scorers.agreement import Agreement, first_error, labelled_solutions
from metrics.core.scorers.first_errors import (
    NO_ERROR,
    best_threshold,
    first_below,
    harmonic_mean,
    share_of,
)
from metrics.core.scorers.step_scores import Numbers, auroc_of_ranks, calibration, roc_curve
from metrics.core.statistics.bootstrap import over_trees

UNJUDGED = -2
"""In place of a first error: the scorer did not judge enough steps to find it."""


@dataclass(slots=True)
class _Steps:
    """Step scores with the values of the reference, by tree."""

    tree: list[int] = field(default_factory=list)
    score: list[float] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    good: list[bool] = field(default_factory=list)


@dataclass(slots=True)
class _Solutions:
    """The step scores of whole solutions, concatenated, and where each solution starts."""

    tree: list[int] = field(default_factory=list)
    first_error: list[int] = field(default_factory=list)
    start: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    named: list[int] = field(default_factory=list)
    """The first error by the scorer's verdicts; `UNJUDGED` if a step up to there has no verdict."""


class ScorerQuality:
    """Collects nodes and solutions tree by tree; each takes a few bytes of memory."""

    def __init__(
        self,
        label_threshold: float = 0.0,
        ungraded: Ungraded = "incorrect",
        *,
        gives_verdicts: bool = False,
    ) -> None:
        """`gives_verdicts`: the scores are verdicts, so a step is wrong below 0.5.

        Otherwise the threshold is fitted, as for reward models in ProcessBench.
        """
        self.label_threshold = label_threshold
        self.ungraded = ungraded
        self.gives_verdicts = gives_verdicts
        self.trees = 0
        self.agreement: Agreement | None = None
        self._steps = _Steps()
        self._solutions = _Solutions()

    def add(
        self,
        tree: ReasoningTree,
        values: Mapping[NodePath, float | None],
        scores: Mapping[NodePath, float],
    ) -> None:
        """Add a complete tree: its nodes with a value and a score, and its judged solutions."""
        for path, score in scores.items():
            value = values.get(path)
            if path and value is not None:
                self._add_step(score, value, is_good=value > self.label_threshold)
        for leaf in tree.leaves():
            result = leaf_result(leaf, self.ungraded)
            steps = [node for node in tree.path_nodes(leaf.path) if node.text.strip()]
            named = self._named(steps, scores, [step.path for step in steps])
            if result is not None and steps and named != UNJUDGED:
                error = self._first_error([values.get(step.path) for step in steps], result)
                self._add_solution(steps, scores, error, named)
        self.trees += 1

    def add_labelled(self, tree: ReasoningTree, reference: Scores, scores: Scores) -> None:
        """Add a tree with labels of the reference. The scorer may not have judged all its steps.

        A labelled step is good unless its label is wrong. In a solution that the scorer did not
        judge, it did not find the first error.
        """
        self.agreement = self.agreement or Agreement()
        self.agreement.add(tree, reference, scores)
        for path, label in reference.items():
            if path and path in scores and path in tree.nodes:
                is_good = verdict_of(label) is not Verdict.WRONG
                self._add_step(scores[path], label, is_good=is_good)
        for steps in labelled_solutions(tree, reference):
            needed = [step.path for step in steps if step.path in reference]
            named = self._named(steps, scores, needed)
            self._add_solution(steps, scores, first_error(steps, reference), named)
        self.trees += 1

    def _add_step(self, score: float, value: float, *, is_good: bool) -> None:
        self._steps.tree.append(self.trees)
        self._steps.score.append(score)
        self._steps.value.append(value)
        self._steps.good.append(is_good)

    def _add_solution(
        self, steps: Sequence[TreeNode], scores: Scores, error: int, named: int
    ) -> None:
        self._solutions.tree.append(self.trees)
        self._solutions.first_error.append(error)
        self._solutions.start.append(len(self._solutions.scores))
        # A step without a score must not be below any threshold.
        self._solutions.scores += [scores.get(step.path, inf) for step in steps]
        self._solutions.named.append(named)

    def _named(self, steps: Sequence[TreeNode], scores: Scores, needed: Sequence[NodePath]) -> int:
        """Return the first wrong step by the verdicts; `UNJUDGED` if the scores do not show it.

        That is so if a needed step has no score, unless an earlier step is wrong.
        """
        found = first_error(steps, scores) if self.gives_verdicts else NO_ERROR
        end = None if found == NO_ERROR else steps[found].path
        for path in needed:
            if path == end:
                break
            if path not in scores:
                return UNJUDGED
        return found

    def _first_error(self, values: Sequence[float | None], is_correct: bool) -> int:
        """Return the first wrong step of a solution; `NO_ERROR` if the solution is correct.

        A step is wrong if its Monte Carlo value is not above the threshold. If no step of an
        incorrect solution is, the last one counts as wrong. All steps of a correct solution are
        correct, because its own correct leaf is below each of them.
        """
        if is_correct:
            return NO_ERROR
        wrong = (n for n, value in enumerate(values) if (value or 0.0) <= self.label_threshold)
        return next(wrong, len(values) - 1)

    def as_dict(self) -> dict[str, Any]:
        """Return all figures as JSON types.

        `auroc`: the chance that a good step has a higher score than a bad one, ties counting half.
        `first_error`: how often the first step below a score threshold is the first error, among
        incorrect solutions (`wrong`) and correct ones (`right`), and their harmonic mean (`f1`).
        Each half of the trees uses the threshold that is best for the other half, unless the scorer
        gives verdicts. `agreement`: only with labels, see `metrics.core.scorers.agreement`. `roc`
        and `calibration` are points to draw.
        """
        steps = self._steps
        tree = np.asarray(steps.tree, np.int64)
        score, value = np.asarray(steps.score, np.float64), np.asarray(steps.value, np.float64)
        good = np.asarray(steps.good, np.bool_)
        rank = np.unique(score, return_inverse=True)[1]
        [area] = over_trees(self.trees, lambda weight: [auroc_of_ranks(rank, good, weight[tree])])
        agreement = {} if self.agreement is None else {"agreement": self.agreement.as_dict()}
        return {
            **agreement,
            "trees": self.trees,
            "steps": len(score),
            "good_steps": int(good.sum()),
            "auroc": asdict(area),
            "roc": roc_curve(score, good),
            "calibration": calibration(score, value),
            "first_error": self._first_errors(),
        }

    def _first_errors(self) -> dict[str, Any]:
        found = self._solutions
        tree, error = np.asarray(found.tree, np.int64), np.asarray(found.first_error, np.int64)
        scores, start = np.asarray(found.scores, np.float64), np.asarray(found.start, np.int64)
        named = np.asarray(found.named, np.int64)
        is_wrong, is_judged = error != NO_ERROR, named != UNJUDGED
        thresholds: list[float | None] = []
        if self.gives_verdicts:
            is_hit = named == error
            thresholds.append(SCORES[Verdict.NEUTRAL])
        else:
            is_hit = np.zeros(len(error), np.bool_)
            for half in (0, 1):
                threshold = best_threshold(scores, start, error, is_judged & (tree % 2 != half))
                thresholds.append(threshold)
                if threshold is not None:
                    is_hit |= (first_below(scores, start, threshold) == error) & (tree % 2 == half)
            is_hit &= is_judged

        def shares(weight: Numbers) -> list[float | None]:
            wrong = share_of(is_hit, weight[tree] * is_wrong)
            right = share_of(is_hit, weight[tree] * ~is_wrong)
            return [wrong, right, harmonic_mean(wrong, right)]

        figures = over_trees(self.trees, shares)
        return {
            "solutions": len(error),
            "wrong_solutions": int(is_wrong.sum()),
            "thresholds": thresholds,
            **{
                name: asdict(figure)
                for name, figure in zip(("wrong", "right", "f1"), figures, strict=True)
            },
        }
