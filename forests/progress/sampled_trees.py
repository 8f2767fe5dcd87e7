"""Read some trees of a forest, evenly spread over it: bounded work for a forest of any size."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from forests.core.certainty.evidence import wilson_interval
from forests.models import Forest, Tree, TreeStatus
from forests.storage.trees import TREES_PER_READ, collection, tree_ids

TREES_SAMPLED = 128
"""Most trees that are read. All trees of a smaller forest are read."""
_FIELDS = dict.fromkeys(("status", "root_value", "num_leaves", "completed_at"), 1)


@dataclass(frozen=True, slots=True)
class SampledTrees:
    """Results of some trees."""

    number: int
    """Trees that were read."""
    is_all: bool
    """Whether they are all trees of the forest."""
    values: Sequence[float]
    """Values of the prompts of complete trees that have a result."""
    num_samples: Sequence[int]
    """Samples with a result, of each complete tree."""
    completed_at: Sequence[datetime]
    """When trees were completed, in order."""

    @property
    def mean_value(self) -> float | None:
        return sum(self.values) / len(self.values) if self.values else None

    @property
    def samples_per_tree(self) -> float | None:
        """Mean over complete trees only: growing trees do not have all their samples yet."""
        return sum(self.num_samples) / len(self.num_samples) if self.num_samples else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the mean over trees."""
        return wilson_interval(sum(self.values), len(self.values)) if self.values else None

    @property
    def num_never_correct(self) -> int:
        return sum(not value for value in self.values)

    @property
    def num_always_correct(self) -> int:
        return sum(value == 1 for value in self.values)


def read_sampled_trees(forest: Forest) -> SampledTrees:
    """Return some trees of a forest, by their ids: at most four queries.

    The embedded server takes longer for each document of a longer answer: see docs/embedded.md.
    """
    number = min(forest.num_trees, TREES_SAMPLED)
    ids = tree_ids(forest, [one * forest.num_trees // number for one in range(number)])
    found = [
        tree
        for start in range(0, number, TREES_PER_READ)
        for tree in collection(Tree).find(
            {"_id": {"$in": ids[start : start + TREES_PER_READ]}}, _FIELDS
        )
    ]
    complete = [one for one in found if one["status"] == TreeStatus.COMPLETE]
    moments = [one["completed_at"] for one in complete if one.get("completed_at")]
    return SampledTrees(
        number=len(found),
        is_all=number == forest.num_trees,
        values=[one["root_value"] for one in complete if one["root_value"] is not None],
        num_samples=[one["num_leaves"] for one in complete],
        completed_at=sorted(
            moment if moment.tzinfo else moment.replace(tzinfo=UTC) for moment in moments
        ),
    )
