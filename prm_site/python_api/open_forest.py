"""A forest that a program reads: its facts, trees and pairs, and tables of them."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Unpack

from common.text import counted
from forests.core.certainty.sibling_prior import PriorEstimator, SiblingPrior
from forests.core.estimators import AUTO, EstimatorChoice, EstimatorError, choose_estimator
from forests.core.reading import ForestSource, ForestSummary, ReadError
from forests.core.values import UNGRADED, Ungraded
from preferences.core.confidence import has_confidence
from preferences.core.value_sources import ValueSource
from prm_site.python_api.frames import TABLES
from prm_site.python_api.open_tree import OpenTree
from prm_site.python_api.pairs import PairingArguments, TreePair, pairing_options

if TYPE_CHECKING:
    from pandas import DataFrame


class OpenForest:
    """A forest, opened by `open_forest`."""

    def __init__(
        self,
        source: ForestSource,
        *,
        estimator: EstimatorChoice = AUTO,
        ungraded: Ungraded = "incorrect",
        scorer: str = "",
    ) -> None:
        self._source = source
        self._values = _value_source(source.summary, estimator, ungraded, scorer)

    def __repr__(self) -> str:
        nodes = counted(self.counts["num_nodes"], "node")
        return f"<forest {self.name}: {counted(len(self), 'tree')}, {nodes}>"

    @property
    def name(self) -> str:
        return self._source.summary.name

    @property
    def summary(self) -> ForestSummary:
        """Everything about the forest that can be read without its trees."""
        return self._source.summary

    @property
    def config_name(self) -> str:
        return self.summary.config_name

    @property
    def dataset_split(self) -> str:
        return self.summary.dataset_split

    @property
    def settings(self) -> Mapping[str, Any]:
        """The worker settings: `strategy`, `temperature`, `max_depth` and the others."""
        return self.summary.settings

    @property
    def strategy(self) -> str:
        """Name of the strategy that grew the trees."""
        return self.summary.strategy

    @property
    def estimator(self) -> str:
        """The source of the values: an estimator, or "scorer:" and the name of a scorer."""
        return self._values.name

    @property
    def models(self) -> Mapping[str, int]:
        """Nodes by the name of the model that wrote them, the busiest first."""
        return self.summary.nodes_by_model

    @property
    def counts(self) -> Mapping[str, int]:
        """Sums over all trees: see `forests.core.reading.COUNTS`."""
        return self.summary.counts

    @property
    def scorers(self) -> tuple[str, ...]:
        """Scorers whose scores `open_forest` can take as values."""
        return self.summary.scorers

    @property
    def created_at(self) -> datetime:
        """When the forest was seeded, in UTC."""
        return self.summary.created_at

    def __len__(self) -> int:
        """Return the number of trees, complete or not."""
        return self.counts["num_trees"]

    def trees(self, start: int = 0, stop: int | None = None) -> Iterator[OpenTree]:
        """Yield the trees in the order of the dataset, in bounded memory.

        Args:
            start: index of the first tree.
            stop: index after that of the last tree; None is the end of the forest.

        Raises:
            ReadError: the archive or the database cannot be read.
        """
        first, last, _ = slice(start, stop).indices(len(self))
        scorers = [self._values.scorer] if self._values.scorer else []
        for read in self._source.trees(range(first, max(first, last)), scorers):
            yield OpenTree(read, self._values, lambda: self.prior, self.summary.refined_for)

    @cached_property
    def prior(self) -> SiblingPrior | None:
        """How much the steps after one prefix differ, learned from all complete trees.

        None if the values are scores or hard values. The confidence of pairs needs the prior, so
        the first pair takes one pass over the forest.

        Raises:
            ReadError: the archive or the database cannot be read.
        """
        if not has_confidence(self._values):
            return None
        estimator = PriorEstimator(self._values.estimator, self._values.ungraded)
        for tree in self.trees():
            if tree.is_complete:
                estimator.add(tree.tree, tree.values)
        return estimator.prior()

    def tree(self, index: int) -> OpenTree:
        """Return one tree.

        Raises:
            ReadError: the forest has no tree of this index.
        """
        found = next(self.trees(index, index + 1), None) if 0 <= index < len(self) else None
        if found is None:
            raise ReadError(
                f"forest {self.name!r} has {counted(len(self), 'tree')}, none of them {index!r}"
            )
        return found

    def pairs(self, **options: Unpack[PairingArguments]) -> Iterator[TreePair]:
        """Yield the preference pairs of all complete trees, as `create_preferences` makes them.

        Args:
            **options: `pairing`, `min_margin`, `min_leaves`, `level`, `drop_same_answer`,
                `min_confidence`, `min_edit_distance`, `max_pairs_per_tree`, `max_pairs_per_prefix`,
                `seed`: see `preferences.core.pairing.PairingOptions`. Without `min_confidence` no
                pair is left out because of its confidence.

        Raises:
            ReadError: an option cannot be used, or the forest cannot be read.
        """
        pairing_options(options)
        return (pair for tree in self.trees() for pair in tree.pairs(**options))

    def to_pandas(
        self, table: Literal["trees", "nodes", "pairs"] = "nodes", **options: Any
    ) -> "DataFrame":
        """Return a table of the whole forest, a row for each tree, node or pair.

        The whole table is in memory; for a large forest, iterate over `trees()`.

        Args:
            table: `trees`, `nodes` or `pairs`; docs/python-api.md lists the columns.
            **options: those of the method `pairs`, only for the table `pairs`.

        Raises:
            ReadError: there is no such table, pandas is missing, or the forest cannot be read.
        """
        if table not in TABLES:
            raise ReadError(f"there is no table {table!r}: choose one of {', '.join(TABLES)}")
        if options and table != "pairs":
            raise ReadError(f"the table of {table} takes no options: they are for pairs")
        return TABLES[table](self.pairs(**options) if table == "pairs" else self.trees())


def _value_source(
    summary: ForestSummary, estimator: EstimatorChoice, ungraded: Ungraded, scorer: str
) -> ValueSource:
    if ungraded not in UNGRADED:
        raise ReadError(f"ungraded is {ungraded!r}: choose one of {', '.join(UNGRADED)}")
    if scorer:
        if (estimator, ungraded) != (AUTO, "incorrect"):
            raise ReadError(
                "estimator and ungraded say how values follow from graded leaves: leave them out, "
                "or leave out scorer"
            )
        if scorer not in summary.scorers:
            known = f"it has {', '.join(summary.scorers)}" if summary.scorers else "it has none"
            raise ReadError(f"forest {summary.name!r} has no scorer {scorer!r}, {known}")
        return ValueSource(scorer=scorer)
    try:
        chosen = choose_estimator(summary.strategy, estimator, summary.refined_for)
    except EstimatorError as error:
        raise ReadError(str(error).removeprefix("--")) from error
    return ValueSource(estimator=chosen, ungraded=ungraded)
