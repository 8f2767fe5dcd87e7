"""Filters that choose trees by the results of their samples."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from forests.core.counting import count_tree, share_correct
from forests.core.tree import ReasoningTree
from forests.core.values import Ungraded
from metrics.core.statistics.baselines import majority_at_k, samples_of

OUTSIDE_RANGE = "trees_outside_pass_rate"
NOT_WRONG = "trees_whose_majority_is_not_wrong"

TREES_LEFT_OUT = {
    OUTSIDE_RANGE: "trees with a pass rate outside --pass_rate, or without a sample that ended",
    NOT_WRONG: "trees whose majority vote is right or tied, or without a correct sample",
}
"""Reasons why a tree is left out, as shown."""

# A share such as 1/5 must equal the border 0.2.
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class TreeFilter:
    """The trees to use; without options, all of them."""

    pass_rate: tuple[float, float] | None = None
    """Least and greatest share of correct samples, borders included."""
    only_majority_wrong: bool = False
    """Whether to use only trees whose majority vote is wrong although some sample is correct."""

    @property
    def is_active(self) -> bool:
        return self.pass_rate is not None or self.only_majority_wrong

    def as_dict(self) -> dict[str, Any]:
        """Return the options that are set, as JSON types."""
        found: dict[str, Any] = {}
        if self.pass_rate is not None:
            found["pass_rate"] = list(self.pass_rate)
        if self.only_majority_wrong:
            found["only_majority_wrong"] = True
        return found

    def reason_against(self, tree: ReasoningTree, ungraded: Ungraded = "incorrect") -> str | None:
        """Return why a tree is left out, a key of `TREES_LEFT_OUT`; None if it is used."""
        return next(self._reasons(tree, ungraded), None)

    def _reasons(self, tree: ReasoningTree, ungraded: Ungraded) -> Iterator[str]:
        if self.pass_rate is not None:
            counts = count_tree(tree)
            share = share_correct(counts["num_correct"], counts["num_leaves"])
            low, high = self.pass_rate
            if share is None or not low - _ROUNDING <= share <= high + _ROUNDING:
                yield OUTSIDE_RANGE
        if self.only_majority_wrong:
            samples = samples_of(tree, ungraded)
            if not samples.correct or majority_at_k(samples, samples.total) != 0:
                yield NOT_WRONG
