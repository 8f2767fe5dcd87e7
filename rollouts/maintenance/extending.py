"""Let trees that have grown grow further, with settings that ask for more samples.

What is drawn stays. A strategy compares what a tree has with what the settings ask for, so larger
settings and trees that are pending again are all it takes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from experiment_configs.interfaces import ConfigError, RolloutWorkerConfig
from forests.core.estimators import RESEGMENTED
from forests.models import Forest, Tree, TreeStatus
from forests.storage.trees import collection, in_batches, is_held, iter_trees, wait_for_workers
from rollouts.growing.growing_process import load_frozen_config
from rollouts.growing.recorder import settle_counters
from rollouts.maintenance.configuring import set_settings
from rollouts.maintenance.larger_settings import extended, num_lacking
from rollouts.strategies import STRATEGIES


@dataclass(frozen=True, slots=True)
class Extension:
    """What larger settings mean for a forest."""

    changes: Mapping[str, tuple[Any, Any]]
    """The settings that become larger: what they were, and what they are. Empty where an extension
    that was interrupted is finished."""
    num_trees: int
    """Complete trees that lack samples now."""
    num_unfinished: int
    """Trees that were unfinished before, and grow by the same settings."""
    num_samples: int
    """Samples that the complete ones lack at least."""


@dataclass(slots=True)
class _Found:
    """Trees by their ids."""

    lacking: dict[str, int] = field(default_factory=dict)
    """Complete ones that lack samples, and how many at least."""
    unfinished: list[str] = field(default_factory=list)


def extend_forest(
    forest: Forest,
    wanted: Mapping[str, Any],
    *,
    is_dry_run: bool = False,
    report: Callable[[int], None] = lambda _: None,
) -> Extension:
    """Make settings larger, and the complete trees pending that lack samples by them.

    A dry run only looks. `report` gets the trees looked at. Interrupted, the same call finishes the
    rest: until the settings are set, a tree that is pending without need is complete again without
    a request.

    Raises:
        ConfigError: the forest takes no rollouts or is being grown, a setting cannot become what is
            wanted, or nothing would grow.
    """
    _require_extendable(forest)
    old = RolloutWorkerConfig.from_dict(forest.worker_config)
    new = extended(old, wanted)
    before, after = old.as_dict(), new.as_dict()
    changes = {name: (before[name], after[name]) for name in wanted if before[name] != after[name]}
    found = _look(forest, new, report)
    _require_growth(forest, wanted, changes, found)
    if not is_dry_run and (changes or found.lacking):
        _extend(forest, {name: value for name, (_, value) in changes.items()}, found)
    num_samples = sum(found.lacking.values())
    return Extension(changes, len(found.lacking), len(found.unfinished), num_samples)


def _require_extendable(forest: Forest) -> None:
    if forest.strategy not in STRATEGIES and forest.strategy != RESEGMENTED:
        raise ConfigError(
            f"forest {forest.name!r} was {forest.strategy} and takes no rollouts: seed a forest of "
            "its items to grow one"
        )
    load_frozen_config(forest)
    if forest.is_paused:
        raise ConfigError(f"forest {forest.name!r} is paused: resume it in the admin")
    if is_held(forest):
        raise ConfigError(f"forest {forest.name!r} is growing: stop its workers first")


def _look(forest: Forest, config: RolloutWorkerConfig, report: Callable[[int], None]) -> _Found:
    strategy = STRATEGIES[config.strategy](config, lambda *_: None)
    found = _Found()
    for done, stored in enumerate(iter_trees(forest), start=1):
        if stored.is_unfinished:
            found.unfinished.append(stored.id)
        elif stored.status == TreeStatus.COMPLETE and (
            number := num_lacking(strategy, stored.tree)
        ):
            found.lacking[stored.id] = number
        report(done)
    return found


def _require_growth(
    forest: Forest,
    wanted: Mapping[str, Any],
    changes: Mapping[str, tuple[Any, Any]],
    found: _Found,
) -> None:
    if found.lacking or (found.unfinished and not changes):  # nothing is left to do for the latter
        return
    if not changes:
        raise ConfigError(
            f"forest {forest.name!r} is grown with these settings already ({_told(wanted)}): "
            "give a larger number"
        )
    if not (found.unfinished or forest.num_failed):
        raise ConfigError(
            f"no tree of forest {forest.name!r} would grow further with {_told(wanted)}: each has "
            "all that its strategy asks for, or no room for more below max_nodes"
        )


def _extend(forest: Forest, settings: Mapping[str, Any], found: _Found) -> None:
    """Make trees pending, then set the settings.

    The other way round, a kill in between would leave a forest that says it is finished, with fewer
    samples than its settings tell. A worker that began before the settings were set takes no tree
    once they are, and stops; what it called complete until then is pending again.
    """
    lacking = list(found.lacking)
    _count_as_pending(forest, len(lacking))
    _make_pending(lacking)
    settle_counters(forest)
    told = {"extended_at": datetime.now(UTC), "stop_reason": ""}
    set_settings(forest, settings, told)
    wait_for_workers(forest)
    if _make_pending([*lacking, *found.unfinished]):
        settle_counters(forest)
    forest.refresh_from_db()


def _count_as_pending(forest: Forest, number: int) -> None:
    """Let the forest be unfinished before its first tree is; the counters are settled later."""
    if number:
        left = max(0, forest.num_complete - number)
        # Nobody works on it, however lately the last worker wrote.
        fields = {"num_complete": left, "growth_finished_at": None, "worked_at": None}
        collection(Forest).update_one({"_id": forest.name}, {"$set": fields})


def _make_pending(trees: Sequence[str]) -> int:
    """Make those trees pending again that are complete; return how many."""
    fields = {
        "status": str(TreeStatus.PENDING),
        "error": "",
        "hit_max_nodes": False,
        "completed_at": None,
    }
    return sum(
        collection(Tree)
        .update_many(
            {"_id": {"$in": list(batch)}, "status": str(TreeStatus.COMPLETE)}, {"$set": fields}
        )
        .modified_count
        for batch in in_batches(trees)
    )


def _told(wanted: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {','.join(map(str, value)) if isinstance(value, tuple) else value}"
        for name, value in wanted.items()
    )
