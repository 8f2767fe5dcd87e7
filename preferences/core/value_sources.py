"""Sources of the values of pairs and labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from forests.core.evidence import Evidence, evidence_of
from forests.core.tree import NodePath, ReasoningTree, Scores
from forests.core.values import (
    Estimator,
    NodeValue,
    Ungraded,
    estimate_values,
    scored_values,
)

LABELS = "labels"
"""Name of the source that estimates values from the graded leaves."""
SCORER_PREFIX = "scorer:"


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueSource:
    """Source of values: graded leaves, or a scorer."""

    estimator: Estimator = "leaf_mean"
    ungraded: Ungraded = "incorrect"
    """`estimator` and `ungraded` apply to graded leaves only."""
    scorer: str = ""
    """The scorer whose scores are the values; empty for graded leaves."""

    @classmethod
    def from_dict(cls, parameters: Mapping[str, Any]) -> "ValueSource":
        """Return the source that `as_dict` wrote; other parameters are ignored."""
        names = ("estimator", "ungraded", "scorer")
        return cls(**{name: parameters[name] for name in names if name in parameters})

    def as_dict(self) -> dict[str, Any]:
        """Return the parameters that determine the values, as JSON types."""
        if self.scorer:
            return {"scorer": self.scorer}
        return {"estimator": self.estimator, "ungraded": self.ungraded}

    @property
    def kind(self) -> str:
        """The source as `--values` names it."""
        return f"{SCORER_PREFIX}{self.scorer}" if self.scorer else LABELS

    @property
    def name(self) -> str:
        """Name of the scorer or of the estimator."""
        return self.kind if self.scorer else self.estimator

    def is_missing(self, scores: Scores) -> bool:
        """Return whether the scorer gave a tree no scores."""
        return bool(self.scorer) and not scores

    def values_of(self, tree: ReasoningTree, scores: Scores) -> dict[NodePath, NodeValue]:
        """Return the value of each node; `scores` are those of the scorer."""
        if self.scorer:
            return scored_values(tree, scores)
        return estimate_values(tree, self.estimator, self.ungraded)

    def evidence_of(
        self, tree: ReasoningTree, values: Mapping[NodePath, NodeValue]
    ) -> dict[NodePath, Evidence]:
        """Return the evidence of these values of a tree; none for scores, which have no samples."""
        if self.scorer:
            return {}
        return evidence_of(tree, values, self.estimator, self.ungraded)
