"""Pairs of a forest outside the database, made while they are read."""

from collections.abc import Iterator
from datetime import UTC, datetime

from forests.core.reading import ReadTree
from forests.storage.reader import ForestReader
from preferences.core.pairing import Pair
from preferences.models import PreferenceSet, set_id
from preferences.sets.creation import SetParameters
from preferences.sets.pair_maker import PairMaker, prior_of


class UnstoredSet:
    """The set that `create_preferences` would make; nothing of it is stored."""

    def __init__(self, reader: ForestReader, parameters: SetParameters) -> None:
        """Read the whole forest once, for the prior of the confidences.

        Raises:
            ReadError: an archive cannot be read.
        """
        self.reader = reader
        self._parameters = parameters
        self.record = PreferenceSet(
            id=set_id(reader.forest.name, parameters.default_name),
            forest_id=reader.forest.name,
            forest_created_at=reader.forest.created_at,
            name=parameters.default_name,
            parameters=parameters.as_dict(),
            created_at=datetime.now(UTC),
            **prior_of(reader, parameters.source),
        )
        """The facts of the set. Its counts are from the last complete pass of `trees`."""

    def trees(self) -> Iterator[tuple[ReadTree, list[Pair]]]:
        """Yield the trees that have pairs, in the order of the dataset.

        Raises:
            ReadError: an archive cannot be read.
        """
        forest, parameters = self.reader.forest, self._parameters
        source = parameters.source
        maker = PairMaker(
            self.record,
            source,
            parameters.options,
            parameters.trees,
            refined_for=forest.refined_for,
        )
        num_pairs = 0
        for read in self.reader.trees(range(forest.num_trees), source.scorers):
            if pairs := maker.pairs_of(read):
                num_pairs += len(pairs)
                yield read, pairs
        for name, number in maker.counts.items():
            setattr(self.record, name, number)
        self.record.num_pairs, self.record.dropped = num_pairs, dict(maker.dropped)

    def has_open_ends(self) -> bool:
        """Return whether a side of some pair is not where the model ended its solution."""
        return any(
            not read.tree.nodes[side.path].terminal
            for read, pairs in self.trees()
            for pair in pairs
            for side in (pair.chosen, pair.rejected)
        )
