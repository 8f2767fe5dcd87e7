"""Where a forest stands, and what its owner would do next."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from forests.core.counting import share_correct
from forests.core.throughput import MinuteOfWork, Throughput, throughput, time_left
from forests.models import Forest

ACTIVE_FOR = timedelta(minutes=3)
"""Workers whose last write is older than this are taken to have stopped."""


class ForestState(StrEnum):
    SEEDING = "seeding"
    EMPTY = "empty"
    REGRADING = "regrading"
    WAITING = "not started"
    GROWING = "growing"
    STALLED = "no worker"
    BLOCKED = "waiting"
    STOPPED = "stopped"
    PAUSED = "paused"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class NextCommand:
    purpose: str
    command: str


@dataclass(frozen=True, slots=True)
class Workers:
    """The processes that hold trees of a forest now."""

    num_processes: int = 0
    num_machines: int = 0
    num_trees: int = 0
    """Trees that they hold."""

    @classmethod
    def of(cls, holders: Iterable[str]) -> "Workers":
        """Return them from the holders of live leases, one for each tree: see `rollouts.leases`."""
        trees = Counter(holders)
        machines = {holder.partition("/")[0] for holder in trees}
        return cls(len(trees), len(machines), trees.total())


@dataclass(frozen=True, slots=True)
class Progress:
    """A forest's progress at one moment."""

    forest: Forest
    state: ForestState
    rates: Throughput | None
    time_left: timedelta | None
    workers: Workers | None = None
    """None where nobody has looked."""

    def with_workers(self, workers: Workers) -> "Progress":
        """Return the progress with its workers; where some hold trees, the forest grows."""
        state = self.state
        if state in (ForestState.STALLED, ForestState.WAITING) and workers.num_processes:
            state = ForestState.GROWING
        return replace(self, state=state, workers=workers)

    @property
    def complete_percent(self) -> float:
        return _percent(self.forest.num_complete, self.forest.num_trees)

    @property
    def failed_percent(self) -> float:
        return _percent(self.forest.num_failed, self.forest.num_trees)

    @property
    def value(self) -> float | None:
        """Share of correct samples among all that ended; None where none has."""
        return share_correct(self.forest.num_correct, self.forest.num_leaves)

    @property
    def failures(self) -> list[tuple[str, int]]:
        """Failed attempts by kind, the most frequent first."""
        return sorted(self.forest.failures.items(), key=lambda one: (-one[1], one[0]))

    @property
    def next_commands(self) -> list[NextCommand]:
        return next_commands(self.forest, self.state)

    @property
    def seconds_between_looks(self) -> int:
        """How soon the page asks again; never 0, so that it sees when work starts again."""
        return 2 if self.state in (ForestState.GROWING, ForestState.SEEDING) else 15


def progress_of(forest: Forest, minutes: Iterable[MinuteOfWork], now: datetime) -> Progress:
    rates = throughput(minutes, now)
    state = _state(forest, is_active=rates is not None and now - rates.last_minute < ACTIVE_FOR)
    is_growing = state is ForestState.GROWING
    return Progress(
        forest=forest,
        state=state,
        rates=rates if is_growing else None,
        time_left=time_left(forest.num_pending, rates) if is_growing else None,
    )


def _state(forest: Forest, *, is_active: bool) -> ForestState:
    """Return the first that holds, the most telling first."""
    states = (
        (ForestState.SEEDING, not forest.is_seeded),
        (ForestState.EMPTY, not forest.num_trees),
        (ForestState.REGRADING, not forest.is_graded),
        (ForestState.FINISHED, not forest.num_pending),
        (ForestState.PAUSED, forest.is_paused),
        (ForestState.STOPPED, forest.is_stopped),
        (ForestState.BLOCKED, bool(forest.backend_message)),
        (ForestState.GROWING, is_active),
        (ForestState.WAITING, forest.growth_started_at is None),
    )
    return next((state for state, holds in states if holds), ForestState.STALLED)


def next_commands(forest: Forest, state: ForestState) -> list[NextCommand]:
    """Return the commands that bring a forest forward from this state."""
    chosen = f"--forest_name {forest.name}"
    suffix = forest.name.removeprefix(f"{forest.config_name}-{forest.dataset_split}-")
    seed = NextCommand(
        "Go on seeding from where it stopped",
        f"python manage.py seed_forest --dataset_config_name {forest.config_name} "
        f"--dataset_split {forest.dataset_split} --forest_name_suffix {suffix}",
    )
    if forest.importer:
        seed = NextCommand(
            "Go on importing, with the same command as before",
            f"python manage.py {forest.importer} …",
        )
    grow = NextCommand(
        "Grow the trees with workers on this machine",
        f"python manage.py rollout_worker --num_processes 4 {chosen}{forest.larger_limit}",
    )
    populate = NextCommand(
        "Or put the trees into the queue, for workers on any machine",
        f"python manage.py populate_forest {chosen}{forest.larger_limit} --watch",
    )
    regrade = NextCommand(
        "Go on regrading, if nobody does",
        f"python manage.py regrade_forest {chosen}",
    )
    measure = NextCommand(
        "Measure the accuracy of beams",
        "python manage.py beam_search --num_beam_values 1,5 --value_function_option labelled "
        f"{chosen} --aggregation mean",
    )
    retry = NextCommand(
        "Give the failed tree another try"
        if forest.num_failed == 1
        else f"Give the {forest.num_failed:,} failed trees another try",
        f"python manage.py retry_failed {chosen}",
    )
    prefer = NextCommand(
        "Make preferences from the values", f"python manage.py create_preferences {chosen}"
    )
    commands = {
        ForestState.SEEDING: [seed],
        ForestState.EMPTY: [seed],
        ForestState.REGRADING: [regrade],
        ForestState.WAITING: [grow, populate],
        ForestState.STALLED: [grow, populate],
        ForestState.STOPPED: [grow, populate],
        ForestState.FINISHED: [measure, prefer] if forest.num_complete else [],
    }.get(state, [])
    return [retry, *commands] if forest.num_failed else commands


def _percent(part: int, whole: int) -> float:
    """Return a percentage with one digit, 100 only where nothing is missing."""
    if not whole:
        return 0.0
    return 100.0 if part >= whole else min(99.9, round(100 * part / whole, 1))
