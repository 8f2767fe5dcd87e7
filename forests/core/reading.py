"""A forest for readers, stored in the database or in an archive."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from common.errors import UserError
from forests.core.estimators import own_estimator
from forests.core.model_counts import from_fields
from forests.core.tree import ReasoningTree, Scores
from forests.core.values import Estimator

COUNTS = (
    "num_trees", "num_complete", "num_failed", "num_nodes", "num_leaves", "num_correct",
    "num_incorrect", "num_unanswered", "num_uncompared", "num_truncated", "prompt_tokens",
    "completion_tokens", "requests", "retries",
)  # fmt: skip
"""What a forest counts over its trees."""

SPENT = ("prompt_tokens", "completion_tokens", "requests", "retries")
"""What growing one tree took."""

COMPLETE = "complete"
"""The status of a tree that has all its samples."""


class ReadError(UserError):
    """A forest cannot be read; the message is one line with the remedy."""


@dataclass(frozen=True, slots=True)
class ForestSummary:
    """What is known of a forest without reading its trees."""

    name: str
    config_name: str
    config_source: str
    """The file of the config, as it was when the forest was seeded."""
    dataset_split: str
    dataset_source: str
    dataset_licence: str
    settings: Mapping[str, Any]
    """The worker settings: strategy, API, temperature, limits."""
    nodes_by_model: Mapping[str, int]
    """Nodes by the name of the model that wrote them, the busiest first; "" is a model without a
    name."""
    counts: Mapping[str, int]
    """`COUNTS`; leaves are counted in samples, tokens and requests are those of the model server.
    """
    scorers: tuple[str, ...]
    """Scorers whose scores it has."""
    created_at: datetime
    """UTC."""

    @classmethod
    def of(cls, name: str, values: Mapping[str, Any], scorers: Sequence[str]) -> "ForestSummary":
        """Return the summary of a stored forest.

        Raises:
            ReadError: regrading has not reached all of its leaves.
            KeyError, TypeError, ValueError: the values are not those of a forest.
        """
        if not values["is_graded"]:
            raise ReadError(
                f"forest {name!r} is only partly regraded: run regrade_forest --forest_name {name} "
                "again"
            )
        created_at = values["created_at"]
        if isinstance(created_at, str):
            created_at = datetime.fromisoformat(created_at)
        return cls(
            name=name,
            config_name=values["config_name"],
            config_source=values["config_source"],
            dataset_split=values["dataset_split"],
            dataset_source=values["dataset_source"],
            dataset_licence=values["dataset_licence"],
            settings=dict(values["worker_config"]),
            nodes_by_model=from_fields(values.get("nodes_by_model")),
            counts={one: int(values.get(one, 0)) for one in COUNTS},
            scorers=tuple(sorted(scorers)),
            created_at=created_at if created_at.tzinfo else created_at.replace(tzinfo=UTC),
        )

    @property
    def strategy(self) -> str:
        """Name of the strategy that grew its trees."""
        return str(self.settings.get("strategy", ""))

    @property
    def estimator(self) -> Estimator:
        """The estimator of its values, unless a reader asks for another."""
        return own_estimator(self.strategy, self.refined_for)

    @property
    def refined_for(self) -> str:
        """The goal of `refine_forest`, if it has added rollouts; otherwise empty."""
        return str((self.settings.get("refinement") or {}).get("goal", ""))


@dataclass(frozen=True, slots=True)
class ReadTree:
    """One tree as it is stored, with the scores of its nodes."""

    index: int
    item: str
    label: str
    prompt: Any
    """A text, or a list of chat messages."""
    question: str
    status: str
    error: str
    hit_max_nodes: bool
    refined_steps: Sequence[str] | None
    """Paths of the steps that `refine_forest` chose; None if it did not refine the tree."""
    spent: Mapping[str, int]
    tree: ReasoningTree
    scores: Mapping[str, Scores]
    """By the name of the scorer; empty for a scorer that gave the tree no scores."""

    @property
    def is_complete(self) -> bool:
        """Whether it has all its samples."""
        return self.status == COMPLETE


class ForestSource(Protocol):
    """Where a forest is read from."""

    @property
    def summary(self) -> ForestSummary: ...

    def trees(
        self, indexes: range, scorers: Sequence[str] = (), *, only_values: bool = False
    ) -> Iterator[ReadTree]:
        """Yield these trees in the order of the dataset, in bounded memory.

        Args:
            indexes: which trees.
            scorers: the scorers to read scores of.
            only_values: whether prompts, and the texts, models, seeds and token ids of steps, may
                be left out. No value of a step and no result of a search depends on them.

        Raises:
            ReadError: they cannot be read.
        """
        ...
