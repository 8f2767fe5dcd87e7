"""Quality of a reward model's scores, against the Monte Carlo values of the same nodes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from forests.core.tree import NodePath, ReasoningTree
from forests.core.values import Ungraded, leaf_result
from metrics.core.scorers.first_errors import (
    NO_ERROR,
    best_threshold,
    first_below,
    harmonic_mean,
    share_of,
)
from metrics.core.scorers.step_scores import Numbers, auroc_of_ranks, calibration, roc_curve
from metrics.core.statistics.bootstrap import over_trees


@dataclass(slots=True)
class _Steps:
    """Step scores with their Monte Carlo values, by tree."""

    tree: list[int] = field(default_factory=list)
    score: list[float] = field(default_factory=list)
    value: list[float] = field(default_factory=list)


@dataclass(slots=True)
class _Solutions:
    """The step scores of whole solutions, concatenated, and where each solution starts."""

    tree: list[int] = field(default_factory=list)
    first_error: list[int] = field(default_factory=list)
    start: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)


class ScorerQuality:
    """Collects nodes and solutions tree by tree; memory grows by some bytes for each of them."""

    def __init__(self, label_threshold: float = 0.0, ungraded: Ungraded = "incorrect") -> None:
        self.label_threshold = label_threshold
        self.ungraded = ungraded
        self.trees = 0
        self._steps = _Steps()
        self._solutions = _Solutions()

    def add(
        self,
        tree: ReasoningTree,
        values: Mapping[NodePath, float | None],
        scores: Mapping[NodePath, float],
    ) -> None:
        """Add the nodes of a complete tree that have both a value and a score."""
        for path, score in scores.items():
            value = values.get(path)
            if path and value is not None:
                self._steps.tree.append(self.trees)
                self._steps.score.append(score)
                self._steps.value.append(value)
        for leaf in tree.leaves():
            result = leaf_result(leaf, self.ungraded)
            steps = [node for node in tree.path_nodes(leaf.path) if node.text.strip()]
            if result is not None and steps and all(step.path in scores for step in steps):
                error = self._first_error([values.get(step.path) for step in steps], result)
                self._solutions.tree.append(self.trees)
                self._solutions.first_error.append(error)
                self._solutions.start.append(len(self._solutions.scores))
                self._solutions.scores += [scores[step.path] for step in steps]
        self.trees += 1

    def _first_error(self, values: Sequence[float | None], is_correct: bool) -> int:
        """Return the first wrong step of a solution, at the latest the last one if it is incorrect.

        A step is wrong if its Monte Carlo value is not above the threshold. All steps of a correct
        solution are correct, because its own correct leaf is below each of them.
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
        Each half of the trees uses the threshold that is best for the other half. `roc` and
        `calibration` are points to draw.
        """
        steps = self._steps
        tree = np.asarray(steps.tree, np.int64)
        score, value = np.asarray(steps.score, np.float64), np.asarray(steps.value, np.float64)
        good = value > self.label_threshold
        rank = np.unique(score, return_inverse=True)[1]
        [area] = over_trees(self.trees, lambda weight: [auroc_of_ranks(rank, good, weight[tree])])
        return {
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
        is_wrong = error != NO_ERROR
        is_hit = np.zeros(len(error), np.bool_)
        thresholds = []
        for half in (0, 1):
            threshold = best_threshold(scores, start, error, tree % 2 != half)
            thresholds.append(threshold)
            if threshold is not None:
                is_hit |= (first_below(scores, start, threshold) == error) & (tree % 2 == half)

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
