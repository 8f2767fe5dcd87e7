"""Make the pairs of one tree after another."""

from collections import Counter
from typing import Any

from forests.core.certainty.sibling_prior import PriorEstimator, SiblingPrior
from forests.core.reading import ReadTree
from forests.core.voting import num_ungrouped
from forests.storage.reader import ForestReader
from metrics.core.tree_filters import TreeFilter
from preferences.core.confidence import confidence_in, has_confidence
from preferences.core.pairing import Pair, PairingOptions, select_pairs, steps_to_pair
from preferences.core.value_sources import ValueSource
from preferences.models import PreferenceSet


class PairMaker:
    """Makes the pairs of trees, and counts which trees it uses and what it leaves out."""

    def __init__(
        self,
        preference_set: PreferenceSet,
        source: ValueSource,
        options: PairingOptions,
        trees: TreeFilter,
        *,
        refined_for: str,
    ) -> None:
        prior = preference_set.prior
        self._prior = None if prior is None else SiblingPrior.from_dict(prior)
        self._source = source
        self._options = options
        self._trees = trees
        self._refined_for = refined_for
        self.counts: Counter[str] = Counter()
        """Numbers to add to the fields of a set, by field name."""
        self.dropped: Counter[str] = Counter()
        """By reason: see `preferences.core.pairing.REASONS`."""

    def pairs_of(self, read: ReadTree) -> list[Pair]:
        """Return the pairs of a tree; `read` must have the scores of the source's scorers."""
        source = self._source
        own = read.scores.get(source.scorer, {})
        if not read.is_complete:
            self.counts["num_trees_incomplete"] += 1
            return []
        if source.is_missing(own):
            self.dropped["trees_without_scores"] += 1
            return []
        if reason := self._trees.reason_against(read.tree, source.ungraded):
            self.dropped[reason] += 1
            return []
        values = source.values_of(read.tree, own)
        chosen = select_pairs(
            read.tree,
            values,
            self._options,
            confidence=confidence_in(read.tree, values, source, self._prior),
            consensus=source.consensus_in(read.tree, read.scores),
            steps=steps_to_pair(self._refined_for, read.refined_steps),
            key=f"{read.index}",
        )
        self.dropped += chosen.dropped
        self.counts["num_trees_used"] += 1
        self.counts["num_ungrouped"] += num_ungrouped(read.tree)
        self.counts["num_trees_with_pairs"] += bool(chosen.pairs)
        return chosen.pairs


def prior_of(reader: ForestReader, source: ValueSource) -> dict[str, Any]:
    """Return the prior of a forest, from all its complete trees, as fields of a set."""
    if not has_confidence(source):
        return {}
    estimator, num_trees = PriorEstimator(source.estimator, source.ungraded), 0
    for read in reader.trees(range(reader.forest.num_trees), only_values=True):
        if read.is_complete:
            estimator.add(read.tree, source.states_of(read.tree, {}))
            num_trees += 1
    return {"prior": estimator.prior().as_dict(), "num_trees_in_prior": num_trees}
