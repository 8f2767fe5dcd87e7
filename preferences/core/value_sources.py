"""Sources of the values of pairs and labels."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from forests.core.certainty.evidence import Evidence, evidence_of
from forests.core.tree import NodePath, ReasoningTree, Scores
from forests.core.values import (
    Estimator,
    NodeValue,
    Ungraded,
    estimate_values,
    scored_values,
)
from preferences.core.consensus import (
    MONTE_CARLO,
    Consensus,
    Coverage,
    agreed_values,
    opinions_of_scores,
    opinions_of_values,
    prefers_by_scores,
    prefers_by_values,
)
from preferences.core.progress import progress_values

LABELS = "labels"
"""Name of the source that estimates values from the graded leaves."""
SCORER_PREFIX = "scorer:"
PROGRESS = "progress"
"""Name of the source whose values are the progress of steps, from -1 to 1. On its own it means
progress by Monte Carlo values."""
PROGRESS_PREFIX = f"{PROGRESS}:"
"""Before the name of a scorer: progress by the scores of this scorer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueSource:
    """Source of values: graded leaves or a scorer, or the progress by either."""

    estimator: Estimator = "leaf_mean"
    ungraded: Ungraded = "incorrect"
    """`estimator` and `ungraded` apply to graded leaves only."""
    scorer: str = ""
    """The scorer whose scores are the values; empty for graded leaves."""
    agree: tuple[str, ...] = ()
    """Other sources that must agree: scorers, or `MONTE_CARLO` (with `estimator`)."""
    is_progress: bool = False
    """Whether the value of a step is what the step adds to the value of its prefix."""

    @classmethod
    def from_dict(cls, parameters: Mapping[str, Any]) -> "ValueSource":
        """Return the source that `as_dict` wrote; other parameters are ignored."""
        names = ("estimator", "ungraded", "scorer", "is_progress")
        agree = tuple(parameters.get("agree", ()))
        return cls(**{name: parameters[name] for name in names if name in parameters}, agree=agree)

    def as_dict(self) -> dict[str, Any]:
        """Return the parameters that determine the values, as JSON types."""
        graded = {"estimator": self.estimator, "ungraded": self.ungraded}
        more: dict[str, Any] = {"agree": list(self.agree)} if self.agree else {}
        if self.is_progress:
            more["is_progress"] = True
        if self.scorer:
            return {"scorer": self.scorer, **(graded if MONTE_CARLO in self.agree else {}), **more}
        return {**graded, **more}

    @property
    def scorers(self) -> list[str]:
        """Names of all scorers that the source needs scores of."""
        names = [self.scorer, *self.agree]
        return [name for name in names if name and name != MONTE_CARLO]

    @property
    def kind(self) -> str:
        """The source as `--values` names it."""
        if self.scorer:
            return f"{PROGRESS_PREFIX if self.is_progress else SCORER_PREFIX}{self.scorer}"
        return PROGRESS if self.is_progress else LABELS

    @property
    def name(self) -> str:
        """`kind`; for Monte Carlo values without progress, the name of the estimator."""
        return self.kind if self.scorer or self.is_progress else self.estimator

    def is_missing(self, scores: Scores) -> bool:
        """Return whether the scorer gave a tree no scores."""
        return bool(self.scorer) and not scores

    def values_of(self, tree: ReasoningTree, scores: Scores) -> dict[NodePath, NodeValue]:
        """Return the value of each node; `scores` are those of the scorer.

        Other sources may disagree: see `agreed_values_of` and `consensus_in`.
        """
        values = self.states_of(tree, scores)
        return progress_values(tree, values) if self.is_progress else values

    def states_of(self, tree: ReasoningTree, scores: Scores) -> dict[NodePath, NodeValue]:
        """Return the value of each node like `values_of`, but never the progress."""
        return scored_values(tree, scores) if self.scorer else self._graded(tree)

    def agreed_values_of(
        self,
        tree: ReasoningTree,
        scores: Mapping[str, Scores],
        is_good: Callable[[float], bool],
        coverage: Coverage,
    ) -> dict[NodePath, NodeValue]:
        """Return the value of each step on which all sources agree; the others have no result.

        Args:
            tree: the tree.
            scores: the scores of each of `scorers`.
            is_good: whether a value from graded leaves is that of a good step. Only used if no
                scorer gives the values; beside a scorer, any Monte Carlo value above 0 is good.
            coverage: gets the counts of steps.
        """
        values = self.values_of(tree, scores.get(self.scorer, {}))
        if not self.agree:
            return values
        own = (
            opinions_of_scores(tree, scores.get(self.scorer, {}))
            if self.scorer
            else opinions_of_values(values, is_good)
        )
        others = {
            name: opinions_of_values(self._graded(tree), _leads_to_an_answer)
            if name == MONTE_CARLO
            else opinions_of_scores(tree, scores.get(name, {}))
            for name in self.agree
        }
        return agreed_values(values, own, others, coverage)

    def consensus_in(self, tree: ReasoningTree, scores: Mapping[str, Scores]) -> Consensus:
        """Return the consensus that checks whether all other sources prefer the chosen side."""
        return Consensus(
            {
                name: prefers_by_values(self._graded(tree))
                if name == MONTE_CARLO
                else prefers_by_scores(scores.get(name, {}))
                for name in self.agree
            }
        )

    def known_evidence(
        self,
        tree: ReasoningTree,
        scores: Mapping[str, Scores],
        values: Mapping[NodePath, NodeValue],
    ) -> dict[NodePath, Evidence]:
        """Return the evidence of the values on which the sources agree.

        All samples count, also those below steps on which the sources disagree.
        """
        whole = self.values_of(tree, scores.get(self.scorer, {})) if self.agree else values
        found = self.evidence_of(tree, whole)
        return {path: one for path, one in found.items() if values[path].value is not None}

    def _graded(self, tree: ReasoningTree) -> dict[NodePath, NodeValue]:
        return estimate_values(tree, self.estimator, self.ungraded)

    def evidence_of(
        self, tree: ReasoningTree, values: Mapping[NodePath, NodeValue]
    ) -> dict[NodePath, Evidence]:
        """Return the evidence of these values of a tree.

        Scores have no evidence, because they have no samples. Nor has progress: it is not a share.
        """
        if self.scorer or self.is_progress:
            return {}
        return evidence_of(tree, values, self.estimator, self.ungraded)


def _leads_to_an_answer(value: float) -> bool:
    """Return whether any sample below a step is correct: the hard label of Math-Shepherd."""
    return value > 0
