"""Evaluation of search procedures over the trees of a forest, one tree at a time."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple, TypeAlias

from forests.core.counting import num_uncompared
from forests.core.naming import index_of_tree
from forests.core.tree import ReasoningTree
from forests.core.voting import num_ungrouped
from metrics.core.comparing.item_results import ItemResults, item_digest
from metrics.core.search.accuracy import ACCURACIES
from metrics.core.search.aggregation import AGGREGATIONS
from metrics.core.search.beam_search import OverallValues
from metrics.core.search.procedures import PROCEDURES, ProcedureResult
from metrics.core.search.value_functions import SearchSpace, ValueOptions
from metrics.core.statistics.baselines import majority_at_k, pass_at_k, samples_of
from metrics.core.statistics.distributions import ValueDistribution
from metrics.core.statistics.intervals import Figure, PairedGain, TreeMean
from metrics.core.tree_filters import TREES_LEFT_OUT, TreeFilter

LEFT_OUT = {
    "failed": "failed",
    "not_complete": "not complete",
    "no_result": "no leaf with a result",
    "no_value": "no node with a value",
    **TREES_LEFT_OUT,
}
"""Reasons why a tree is left out of the numbers, as shown."""


_HASHES = 2**256
CHOOSING = ("accuracy", "weighted_vote")
"""The accuracies in which the values choose one answer."""


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """All parameters that determine the numbers of a forest."""

    procedures: tuple[str, ...] = ("beam",)
    num_beam_values: tuple[int, ...] = (1, 5)
    aggregations: tuple[str, ...] = ("mean",)
    values: ValueOptions = field(default_factory=ValueOptions)
    trees: TreeFilter = field(default_factory=TreeFilter)

    def as_dict(self) -> dict[str, Any]:
        """Return the parameters as JSON types."""
        values = asdict(self.values)
        if not values["scorer"]:
            del values["scorer"]
        return {
            "procedures": list(self.procedures),
            "num_beam_values": list(self.num_beam_values),
            "aggregations": list(self.aggregations),
            **values,
            **self.trees.as_dict(),
        }


@dataclass(frozen=True, slots=True)
class Row:
    """One number of a forest, with its 95 % interval; None if no tree gives a result."""

    procedure: str | None
    """None for a baseline, which does not search."""
    metric: str
    aggregation: str | None
    """None for a baseline."""
    k: int
    """Number of beams, or of samples."""
    value: float | None
    low: float | None
    high: float | None
    trees: int
    no_result: int
    """Number of used trees without a result for this number."""
    tokens: float | None
    """Completion tokens that the procedure would have drawn, on average over trees; None for a
    baseline."""
    gain: float | None = None
    """Share correct, minus the share of a majority vote of k samples of the same trees; only for
    metrics that choose one answer."""
    gain_low: float | None = None
    gain_high: float | None = None


_Choice: TypeAlias = tuple[str | None, str | None, int]
"""Procedure, aggregation, number of beams."""


class RowKey(NamedTuple):
    """The fields of `Row` that identify a number."""

    procedure: str | None
    metric: str
    aggregation: str | None
    k: int


class Evaluation:
    """Sums over trees, and the results of each tree, which take four bytes for each row."""

    def __init__(self, options: EvaluationOptions) -> None:
        self.options = options
        self.trees_used = 0
        self.num_uncompared = 0
        """Samples without a result, because nobody could compare their answers with the label."""
        self.num_ungrouped = 0
        """Samples that vote by the text of their answers: see `forests.core.voting`."""
        self.left_out: dict[str, int] = {}
        self.results: ItemResults[RowKey] = ItemResults()
        self.distribution = ValueDistribution()
        self.means: dict[RowKey, TreeMean] = {key: TreeMean() for key in _keys(options)}
        self.tokens: defaultdict[_Choice, TreeMean] = defaultdict(TreeMean)
        self.gains: defaultdict[RowKey, PairedGain] = defaultdict(PairedGain)

    def add(
        self,
        tree_id: str,
        tree: ReasoningTree,
        searches: Sequence[SearchSpace],
        item: tuple[str, str] = ("", ""),
    ) -> None:
        """Search a complete tree, or leave it out: by the filter, or without a result or value.

        `item` is the text and the label of the problem, which identify it across forests. The
        results of several searches are averaged, weighted by the samples that each one searches.
        """
        self.num_uncompared += num_uncompared(tree)
        self.num_ungrouped += num_ungrouped(tree)
        ungraded = self.options.values.ungraded
        if reason := self.options.trees.reason_against(tree, ungraded):
            return self.leave_out(reason)
        samples = samples_of(tree, ungraded)
        if not samples.total:
            return self.leave_out("no_result")
        searches = [
            search
            for search in searches
            if any(value is not None for path, value in search.values.items() if path)
        ]
        if self.options.procedures and not searches:
            return self.leave_out("no_value")
        self.trees_used += 1
        self.results.add_item(item_digest(*item), index_of_tree(tree_id))
        for search in searches:
            self.distribution.add(search.tree, search.values)
        self._add_baseline("pass", 1, pass_at_k(samples, 1))
        weights = [
            samples.total if search.tree is tree else samples_of(search.tree, ungraded).total
            for search in searches
        ]
        majority = {k: majority_at_k(samples, k) for k in self.options.num_beam_values}
        for k in self.options.num_beam_values:
            if k > 1:
                self._add_baseline("pass", k, pass_at_k(samples, k))
                self._add_baseline("majority", k, majority[k])
        for aggregation in self.options.aggregations:
            self._add_searches(tree_id, aggregation, searches, weights, majority)
        return None

    def leave_out(self, reason: str) -> None:
        """Count a tree that is left out; `reason` is a key of `LEFT_OUT`."""
        self.left_out[reason] = self.left_out.get(reason, 0) + 1

    def merge(self, other: "Evaluation") -> None:
        """Add an evaluation of other trees with the same options."""
        self.trees_used += other.trees_used
        self.results.merge(other.results)
        self.num_uncompared += other.num_uncompared
        self.num_ungrouped += other.num_ungrouped
        for reason, number in other.left_out.items():
            self.left_out[reason] = self.left_out.get(reason, 0) + number
        self.distribution.merge(other.distribution)
        for key, mean in other.means.items():
            self.means[key].merge(mean)
        for choice, tokens in other.tokens.items():
            self.tokens[choice].merge(tokens)
        for key, gain in other.gains.items():
            self.gains[key].merge(gain)

    @property
    def items_sha256(self) -> str:
        """Hash of the used items, independent of their order, as 64 hexadecimal digits."""
        return f"{sum(int.from_bytes(item) for item in self.results.items) % _HASHES:064x}"

    def rows(self) -> list[Row]:
        return [self._row(key, mean) for key, mean in self.means.items()]

    def _add(self, row: RowKey, number: Fraction | float | None) -> None:
        result = None if number is None else float(number)
        self.means[row].add(result)
        self.results.add_number(row, result)

    def _add_baseline(self, metric: str, k: int, number: Fraction | None) -> None:
        self._add(RowKey(None, metric, None, k), number)

    def _add_searches(
        self,
        tree_id: str,
        aggregation: str,
        searches: Sequence[SearchSpace],
        weights: Sequence[int],
        majority: Mapping[int, Fraction | None],
    ) -> None:
        aggregate = AGGREGATIONS[aggregation]
        ungraded = self.options.values.ungraded
        overall = [OverallValues(search.values, aggregate) for search in searches]
        for procedure in self.options.procedures:
            run = PROCEDURES[procedure]
            for k in self.options.num_beam_values:
                outcomes = [
                    run(search.tree, values, k, ungraded, tree_id)
                    for search, values in zip(searches, overall, strict=True)
                ]
                self._add_outcomes((procedure, aggregation, k), outcomes, weights, majority[k])

    def _add_outcomes(
        self,
        key: _Choice,
        outcomes: Sequence[ProcedureResult],
        weights: Sequence[int],
        majority: Fraction | None,
    ) -> None:
        procedure, aggregation, k = key
        for name in ACCURACIES:
            found = _mean([outcome.accuracies.get(name) for outcome in outcomes], weights)
            row = RowKey(procedure, name, aggregation, k)
            self._add(row, found)
            if name in CHOOSING:
                self.gains[row].add(found, majority)
        self.tokens[key].add(_mean([one.tokens for one in outcomes], weights))

    def _row(self, key: RowKey, mean: TreeMean) -> Row:
        low, high = mean.interval or (None, None)
        gain = self.gains[key].figure() if key in self.gains else Figure(None)
        return Row(
            procedure=key.procedure,
            metric=key.metric,
            aggregation=key.aggregation,
            k=key.k,
            value=mean.value,
            low=low,
            high=high,
            trees=mean.trees,
            no_result=mean.no_result,
            tokens=self.tokens[key.procedure, key.aggregation, key.k].value,
            gain=gain.value,
            gain_low=gain.low,
            gain_high=gain.high,
        )


def _keys(options: EvaluationOptions) -> list[RowKey]:
    searches = [
        RowKey(procedure, name, aggregation, k)
        for procedure in options.procedures
        for aggregation in options.aggregations
        for k in options.num_beam_values
        for name in ACCURACIES
    ]
    baselines = [RowKey(None, "pass", None, 1)]
    for k in options.num_beam_values:
        if k > 1:
            baselines += [RowKey(None, "pass", None, k), RowKey(None, "majority", None, k)]
    return searches + baselines


def _mean(
    numbers: Sequence[Fraction | float | None], weights: Sequence[int]
) -> Fraction | float | None:
    if len(numbers) == 1:  # the usual case: avoids slow arithmetic
        return numbers[0] if weights[0] else None
    known = [
        (number, weight)
        for number, weight in zip(numbers, weights, strict=True)
        if number is not None
    ]
    total = sum(weight for _, weight in known)
    if not total:
        return None
    if len(known) == 1:
        return known[0][0]  # avoids slow arithmetic
    return sum((Fraction(number) * weight for number, weight in known), Fraction(0)) / total
