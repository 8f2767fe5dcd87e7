"""How far and how fast a forest has grown, and the facts that determine its state."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from forests.core.counting import share_correct
from forests.core.estimators import RESEGMENTED
from forests.models import Forest
from forests.progress.states import ForestFacts, ForestState, Standing
from forests.progress.throughput import Throughput, time_left

WORKER_IS_SEEN_FOR = timedelta(seconds=30)
"""A worker counts as present this long after its last write, because it holds no tree between two
jobs. As long as a lease."""
WORKER_MESSAGE_IS_FRESH_FOR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Workers:
    """The processes that currently hold trees of a forest."""

    num_processes: int = 0
    num_machines: int = 0
    num_trees: int = 0
    """Trees that they hold."""

    @classmethod
    def of(cls, holders: Iterable[str]) -> "Workers":
        """Return the workers from the holders of live leases, one per tree."""
        trees = Counter(holders)
        machines = {holder.partition("/")[0] for holder in trees}
        return cls(len(trees), len(machines), trees.total())


@dataclass(frozen=True, slots=True)
class Progress:
    """A forest's progress at one moment."""

    forest: Forest
    standing: Standing
    workers: Workers
    rates: Throughput | None = None
    """None unless the forest is growing."""

    @property
    def state(self) -> ForestState:
        return self.standing.state

    @property
    def reason(self) -> str:
        return self.standing.reason

    @property
    def time_left(self) -> timedelta | None:
        return time_left(self.forest.num_pending, self.rates)

    @property
    def complete_percent(self) -> float:
        return _percent(self.forest.num_complete, self.forest.num_trees)

    @property
    def failed_percent(self) -> float:
        return _percent(self.forest.num_failed, self.forest.num_trees)

    @property
    def value(self) -> float | None:
        """Share of correct samples among all finished ones; None if there are none."""
        return share_correct(self.forest.num_correct, self.forest.num_leaves)

    @property
    def failures(self) -> list[tuple[str, int]]:
        """Failed attempts by kind, most frequent first."""
        return sorted(self.forest.failures.items(), key=lambda one: (-one[1], one[0]))

    @property
    def seconds_between_looks(self) -> int:
        """Seconds until the page asks again; never 0, so that it notices when work starts again."""
        return 2 if self.state in (ForestState.GROWING, ForestState.SEEDING) else 15


def facts_of(forest: Forest, workers: Workers, now: datetime) -> ForestFacts:
    """Return the facts that determine the state of a forest at this moment."""
    return ForestFacts(
        name=forest.name,
        num_trees=forest.num_trees,
        num_complete=forest.num_complete,
        num_failed=forest.num_failed,
        is_seeded=forest.is_seeded,
        is_graded=forest.is_graded,
        is_paused=forest.is_paused,
        has_started=forest.growth_started_at is not None,
        is_worked_on=bool(workers.num_processes)
        or _is_within(forest.worked_at, WORKER_IS_SEEN_FOR, now),
        spent_limit=forest.spent_limit,
        stop_reason=forest.stop_reason,
        wait_reason=forest.backend_message,
        worker_message=forest.worker_message
        if _is_within(forest.worker_message_at, WORKER_MESSAGE_IS_FRESH_FOR, now)
        else "",
        seed_command=_seed_command(forest),
        is_imported=bool(forest.importer),
        is_growable=forest.strategy != RESEGMENTED,
        raised_limit=forest.larger_limit,
    )


def _is_within(then: datetime | None, length: timedelta, now: datetime) -> bool:
    if then is None:
        return False
    return now - (then if then.tzinfo else then.replace(tzinfo=UTC)) < length


def _seed_command(forest: Forest) -> str:
    if forest.importer:
        return f"{forest.importer} …"
    suffix = forest.name.removeprefix(f"{forest.config_name}-{forest.dataset_split}-")
    return (
        f"seed_forest --dataset_config_name {forest.config_name} "
        f"--dataset_split {forest.dataset_split} --forest_name_suffix {suffix}"
    )


def _percent(part: int, whole: int) -> float:
    """Return a percentage with one digit; 100 only if nothing is missing."""
    if not whole:
        return 0.0
    return 100.0 if part >= whole else min(99.9, round(100 * part / whole, 1))
