"""Beam search over the trees of a forest, one tree at a time."""

from dataclasses import asdict, dataclass, field
from typing import Any

from forests.core.tree import ReasoningTree
from metrics.core.accuracy import ACCURACIES, score_beams
from metrics.core.aggregation import AGGREGATIONS
from metrics.core.baselines import majority_at_k, pass_at_k, samples_of
from metrics.core.beam_search import beam_search, overall_values
from metrics.core.intervals import TreeMean
from metrics.core.value_functions import Search, ValueOptions, value_function

LEFT_OUT = {
    "failed": "failed",
    "not_complete": "not complete",
    "no_result": "no leaf with a result",
    "no_value": "no node with a value",
}
"""Why a tree has no part in the numbers, in words."""


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """Everything that decides the numbers of a forest."""

    num_beam_values: tuple[int, ...] = (1, 5)
    aggregations: tuple[str, ...] = ("mean",)
    values: ValueOptions = field(default_factory=ValueOptions)

    def as_dict(self) -> dict[str, Any]:
        """Return the parameters as JSON types."""
        return {
            "num_beam_values": list(self.num_beam_values),
            "aggregations": list(self.aggregations),
            **asdict(self.values),
        }


@dataclass(frozen=True, slots=True)
class Row:
    """One number of a forest, with its 95 % interval; None where no tree gives a result."""

    metric: str
    aggregation: str | None
    """None for a baseline, which needs no search."""
    k: int
    """Number of beams, or of samples."""
    value: float | None
    low: float | None
    high: float | None
    trees: int
    no_result: int
    """Trees used that have no result for this number."""


_Key = tuple[str, str | None, int]


class Evaluation:
    """Adds up what each tree gives; needs memory for its rows only."""

    def __init__(self, options: EvaluationOptions) -> None:
        self.options = options
        self.trees_used = 0
        self.left_out: dict[str, int] = {}
        self._search = value_function(options.values)
        self._means: dict[_Key, TreeMean] = {key: TreeMean() for key in _keys(options)}

    def add(self, tree_id: str, tree: ReasoningTree) -> None:
        """Search a complete tree, or leave it out where it has nothing to search by."""
        samples = samples_of(tree, self.options.values.ungraded)
        if not samples.total:
            return self.leave_out("no_result")
        searches = [
            search
            for search in self._search(tree_id, tree)
            if any(value is not None for value in search.values.values())
        ]
        if not searches:
            return self.leave_out("no_value")
        self.trees_used += 1
        self._means["pass", None, 1].add(pass_at_k(samples, 1))
        for k in self.options.num_beam_values:
            if k > 1:
                self._means["pass", None, k].add(pass_at_k(samples, k))
                self._means["majority", None, k].add(majority_at_k(samples, k))
        for aggregation in self.options.aggregations:
            self._add_searches(aggregation, searches)
        return None

    def leave_out(self, reason: str) -> None:
        """Count a tree that has no part in the numbers; `reason` is one of `LEFT_OUT`."""
        self.left_out[reason] = self.left_out.get(reason, 0) + 1

    def rows(self) -> list[Row]:
        return [_row(key, mean) for key, mean in self._means.items()]

    def _add_searches(self, aggregation: str, searches: list[Search]) -> None:
        aggregate = AGGREGATIONS[aggregation]
        overall = [overall_values(tree, values, aggregate) for tree, values in searches]
        for k in self.options.num_beam_values:
            scores = [
                score_beams(beam_search(search.tree, values, k).beams, self.options.values.ungraded)
                for search, values in zip(searches, overall, strict=True)
            ]
            for name in ACCURACIES:
                self._means[name, aggregation, k].add(_mean([score[name] for score in scores]))


def _keys(options: EvaluationOptions) -> list[_Key]:
    beams: list[_Key] = [
        (name, aggregation, k)
        for aggregation in options.aggregations
        for k in options.num_beam_values
        for name in ACCURACIES
    ]
    baselines: list[_Key] = [("pass", None, 1)]
    for k in options.num_beam_values:
        if k > 1:
            baselines += [("pass", None, k), ("majority", None, k)]
    return beams + baselines


def _mean(results: list[bool | None]) -> float | None:
    known = [result for result in results if result is not None]
    return sum(known) / len(known) if known else None


def _row(key: _Key, mean: TreeMean) -> Row:
    low, high = mean.interval or (None, None)
    return Row(*key, mean.value, low, high, mean.trees, mean.no_result)
