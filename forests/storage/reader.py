"""Read a forest for metrics and exports, from the database or from an archive."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import TypeAlias

from experiment_configs.interfaces import ConfigError
from forests.core.opinions.judged import JudgedTree
from forests.core.opinions.verdicts import GIVE_VERDICTS
from forests.core.reading import SPENT, ReadTree
from forests.models import Forest, Scorer
from forests.storage.scores import iter_trees_with_scores, read_reasons
from forests.storage.trees import count_models

Opener: TypeAlias = "Callable[[], ForestReader]"
"""Opens a forest again, in another process."""


class ForestReader(ABC):
    """Reads a forest, wherever it is stored."""

    def __init__(self, forest: Forest) -> None:
        self.forest = forest
        """Its document, without its trees; for an archive it is not in the database."""

    @property
    @abstractmethod
    def scorers(self) -> Mapping[str, Scorer]:
        """Its scorers by name, sorted."""

    @property
    @abstractmethod
    def opener(self) -> Opener: ...

    @abstractmethod
    def trees(
        self, indexes: range, scorers: Sequence[str] = (), *, only_values: bool = False
    ) -> Iterator[ReadTree]:
        """Yield these trees in the order of the dataset: see `forests.core.reading.ForestSource`.

        Raises:
            ReadError: an archive cannot be read.
        """

    @abstractmethod
    def count_models(self) -> dict[str, int]:
        """Return how many nodes of the complete trees each model wrote, busiest first."""

    @abstractmethod
    def judged(self, index: int, scorer: str) -> JudgedTree:
        """Return what one scorer says of a tree, and why; empty if it says nothing."""

    def scorer(self, name: str) -> Scorer:
        """Return a scorer.

        Raises:
            ConfigError: no scorer has this name. The message lists the known ones.
        """
        if name not in self.scorers:
            known = f"it has {', '.join(self.scorers)}" if self.scorers else "it has none"
            raise ConfigError(
                f"forest {self.forest.name!r} has no scorer {name!r}, {known}: run score_nodes "
                "first"
            )
        return self.scorers[name]

    @property
    def verdict_scorers(self) -> list[Scorer]:
        """The scorers whose scores are verdicts."""
        return [one for one in self.scorers.values() if one.kind in GIVE_VERDICTS]


class DatabaseReader(ForestReader):
    """Reads a forest of the database."""

    @cached_property
    def scorers(self) -> Mapping[str, Scorer]:
        found = Scorer.objects.filter(forest_id=self.forest.name).order_by()
        return {one.name: one for one in sorted(found, key=lambda one: one.name)}

    @property
    def opener(self) -> Opener:
        return partial(open_stored, self.forest.name)

    def trees(
        self, indexes: range, scorers: Sequence[str] = (), *, only_values: bool = False
    ) -> Iterator[ReadTree]:
        del only_values  # nodes of the database are always read whole
        for stored, scores in iter_trees_with_scores(self.forest, scorers, indexes):
            yield ReadTree(
                index=stored.index,
                item=stored.item,
                label=stored.label,
                prompt=stored.prompt,
                question=stored.question,
                status=stored.status,
                error=stored.error,
                hit_max_nodes=stored.hit_max_nodes,
                refined_steps=stored.refined_steps,
                spent={name: stored.spent[name] for name in SPENT},
                tree=stored.tree,
                scores=scores,
            )

    def count_models(self) -> dict[str, int]:
        return count_models(self.forest)

    def judged(self, index: int, scorer: str) -> JudgedTree:
        return read_reasons(self.forest, scorer, index)


def open_stored(name: str) -> DatabaseReader:
    """Open a forest of the database.

    Raises:
        Forest.DoesNotExist: no forest has this name.
    """
    return DatabaseReader(Forest.objects.get(pk=name))
