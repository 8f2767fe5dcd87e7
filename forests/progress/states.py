"""The state of a forest, its reason, and the commands to run next.

Pages, commands, the admin and `/metrics` all use this module, so that they agree.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from common.places import to_type


class ForestState(StrEnum):
    """What a forest does, or why it does not grow. docs/glossary.md explains the states."""

    SEEDING = "seeding"
    EMPTY = "empty"
    REGRADING = "regrading"
    PENDING = "pending"
    GROWING = "growing"
    WAITING = "waiting for the server"
    PAUSED = "paused"
    LIMIT_SPENT = "limit spent"
    STOPPED = "stopped by an error"
    NO_WORKER = "no worker"
    FINISHED = "finished"
    FINISHED_WITH_FAILURES = "finished with failures"


ENDS_WATCHING = frozenset({ForestState.PAUSED, ForestState.LIMIT_SPENT, ForestState.STOPPED})
"""States that only the operator can end, so that a command need not wait for a change."""

_REASONS_OF_WORKERS = frozenset(
    {
        ForestState.PENDING, ForestState.GROWING, ForestState.WAITING, ForestState.STOPPED,
        ForestState.NO_WORKER,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ForestFacts:
    """The facts that determine the state of a forest."""

    name: str
    num_trees: int = 0
    num_complete: int = 0
    num_failed: int = 0
    is_seeded: bool = True
    is_graded: bool = True
    is_paused: bool = False
    has_started: bool = False
    """Whether a worker has ever started to grow it."""
    is_worked_on: bool = False
    """Whether a worker holds a tree, or wrote a moment ago and has not announced its end."""
    spent_limit: str = ""
    """The limit that growth has reached, in words; empty if there is none."""
    stop_reason: str = ""
    """Why a worker stopped for good; empty if none did."""
    wait_reason: str = ""
    """Why workers wait for the model server; empty if they do not wait."""
    worker_message: str = ""
    """Why a worker recently refused the forest's jobs; empty if none did."""
    seed_command: str = ""
    """The command, with its arguments, that creates the forest's trees."""
    is_imported: bool = False
    is_growable: bool = True
    """False if its trees are another forest's solutions, cut into other steps."""
    raised_limit: str = ""
    """The option that raises a reached limit; empty if no limit is reached."""

    @property
    def num_pending(self) -> int:
        """Trees that are neither complete nor failed."""
        return max(0, self.num_trees - self.num_complete - self.num_failed)


@dataclass(frozen=True, slots=True)
class NextCommand:
    """A command and its purpose."""

    purpose: str
    command: str


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of a forest, with reason and next commands."""

    state: ForestState
    reason: str
    """Why it is in this state, in one line; empty if the state says enough."""
    next_commands: Sequence[NextCommand]
    quotes_server: bool = False
    """Whether the reason may name a model server, which only logged-in readers may see."""

    @property
    def hint(self) -> str:
        """The first command in brackets, to end a line with; empty if there is none."""
        return f" (next: `{self.next_commands[0].command}`)" if self.next_commands else ""

    def __str__(self) -> str:
        return f"{self.state}: {self.reason}" if self.reason else str(self.state)


def standing_of(facts: ForestFacts) -> Standing:
    """Return the state of a forest, its reason, and the commands to run next."""
    state = state_of(facts)
    reason = _reason(facts, state)
    quotes_server = bool(reason) and state in _REASONS_OF_WORKERS
    return Standing(state, reason, _next_commands(facts, state), quotes_server)


def state_of(facts: ForestFacts) -> ForestState:
    """Return the first state that applies, most important first.

    Limits and pauses apply as soon as they are set, because workers obey them within a second. An
    error or a wait of one worker need not affect others: while a worker holds trees, an error is
    only the reason of the state, and a forest without a worker is not waiting.
    """
    states = (
        (ForestState.SEEDING, not facts.is_seeded),
        (ForestState.EMPTY, not facts.num_trees),
        (ForestState.REGRADING, not facts.is_graded),
        (ForestState.FINISHED_WITH_FAILURES, not facts.num_pending and bool(facts.num_failed)),
        (ForestState.FINISHED, not facts.num_pending),
        (ForestState.PAUSED, facts.is_paused),
        (ForestState.LIMIT_SPENT, bool(facts.spent_limit)),
        (ForestState.WAITING, facts.is_worked_on and bool(facts.wait_reason)),
        (ForestState.GROWING, facts.is_worked_on),
        (ForestState.STOPPED, bool(facts.stop_reason)),
        (ForestState.PENDING, not facts.has_started),
    )
    return next((state for state, holds in states if holds), ForestState.NO_WORKER)


def _reason(facts: ForestFacts, state: ForestState) -> str:
    trees = f"{facts.num_failed:,} of {facts.num_trees:,} trees failed"
    brings = "the import" if facts.is_imported else "seeding"
    return {
        ForestState.SEEDING: f"{brings} has not finished, so trees may be missing",
        ForestState.REGRADING: "regrading has not finished, so some leaves have their old grades",
        ForestState.FINISHED_WITH_FAILURES: trees,
        ForestState.PAUSED: "workers leave it alone until it is resumed in the admin",
        ForestState.LIMIT_SPENT: facts.spent_limit,
        ForestState.WAITING: facts.wait_reason,
        ForestState.GROWING: f"a worker stopped: {facts.stop_reason}" if facts.stop_reason else "",
        ForestState.STOPPED: facts.stop_reason,
        ForestState.PENDING: facts.worker_message,
        ForestState.NO_WORKER: facts.worker_message or _last_wait(facts),
    }.get(state, "")


def _last_wait(facts: ForestFacts) -> str:
    return f"the last one waited for the server: {facts.wait_reason}" if facts.wait_reason else ""


def _next_commands(facts: ForestFacts, state: ForestState) -> list[NextCommand]:
    chosen = f"--forest_name {facts.name}"
    seed = _command(
        "Continue the import with the command that began it"
        if facts.is_imported
        else "Continue seeding where it stopped",
        facts.seed_command,
    )
    grow = _command(
        "Grow the trees with workers on this machine",
        f"rollout_worker --num_processes 4 {chosen}",
    )
    populate = _command(
        "Or put the trees into the queue, for workers on any machine",
        f"populate_forest {chosen} --watch",
    )
    resumed = _command(
        "After resuming it, put its trees into the queue", f"populate_forest {chosen} --watch"
    )
    raised = _command(
        "Continue with a larger limit",
        f"rollout_worker --num_processes 4 {chosen} {facts.raised_limit}",
    )
    regrade = _command("Continue regrading, if nobody else does", f"regrade_forest {chosen}")
    measure = _command(
        "Measure the accuracy of beams",
        "beam_search --num_beam_values 1,5 --value_function_option labelled "
        f"{chosen} --aggregation mean",
    )
    prefer = _command("Make preferences from the values", f"create_preferences {chosen}")
    after_growth = [measure, prefer] if facts.num_complete else []
    commands = {
        ForestState.SEEDING: [seed],
        ForestState.EMPTY: [seed],
        ForestState.REGRADING: [regrade],
        ForestState.PENDING: [grow, populate],
        ForestState.NO_WORKER: [grow, populate],
        ForestState.STOPPED: [grow, populate],
        ForestState.PAUSED: [resumed],
        ForestState.LIMIT_SPENT: [raised],
        ForestState.FINISHED: after_growth,
        ForestState.FINISHED_WITH_FAILURES: after_growth,
    }.get(state, [])
    return [*_retry(facts, state), *commands]


def _retry(facts: ForestFacts, state: ForestState) -> list[NextCommand]:
    if not (facts.num_failed and facts.is_growable) or state is ForestState.SEEDING:
        return []
    trees = "failed tree" if facts.num_failed == 1 else f"{facts.num_failed:,} failed trees"
    command = f"retry_failed --forest_name {facts.name}"
    return [_command(f"Give the {trees} another try", command)]


def _command(purpose: str, arguments: str) -> NextCommand:
    return NextCommand(purpose, to_type(arguments))
