"""Extend a forest: let complete trees grow further with settings that ask for more samples.

All samples are kept. A strategy compares a tree with the settings, so it is enough to raise the
settings and make the trees pending again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from experiment_configs.interfaces import ConfigError, RolloutWorkerConfig
from forests.core.estimators import IMPORTED
from forests.labels.disagreeing import forget_disagreements
from forests.models import Forest, Tree, TreeStatus
from forests.storage.trees import collection, in_batches, is_held, iter_trees, wait_for_workers
from rollouts.growing.growing_process import load_frozen_config
from rollouts.growing.recorder import settle_counters
from rollouts.maintenance.configuring import set_settings
from rollouts.maintenance.larger_settings import extended, num_lacking
from rollouts.strategies import STRATEGIES
from rollouts.strategies.refining import refining_or


@dataclass(frozen=True, slots=True)
class Extension:
    """The effect of larger settings on a forest."""

    changes: Mapping[str, tuple[Any, Any]]
    """Old and new value of each setting that becomes larger. Empty if the call finished an
    interrupted extension."""
    num_trees: int
    """Complete trees that now lack samples."""
    num_unfinished: int
    """Trees that were unfinished before, and will grow with the new settings."""
    num_samples: int
    """The least number of samples that the complete trees lack."""


@dataclass(slots=True)
class _Found:
    """Trees by their ids."""

    lacking: dict[str, int] = field(default_factory=dict)
    """Complete trees that lack samples, with the least number that each lacks."""
    unfinished: list[str] = field(default_factory=list)


def extend_forest(
    forest: Forest,
    wanted: Mapping[str, Any],
    *,
    is_dry_run: bool = False,
    report: Callable[[int], None] = lambda _: None,
) -> Extension:
    """Raise settings, and make complete trees pending that then lack samples.

    A dry run changes nothing. Calls `report` with the number of trees checked. After an
    interruption, the same call finishes the rest. A tree made pending before the settings changed
    becomes complete again without a request.

    Raises:
        ConfigError: the forest does not take rollouts or is growing, a setting cannot have the
            wanted value, or no tree would grow.
    """
    _require_extendable(forest, wanted)
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


def _require_extendable(forest: Forest, wanted: Mapping[str, Any]) -> None:
    if forest.strategy == IMPORTED:
        raise ConfigError(
            f"forest {forest.name!r} was {forest.strategy} and takes no rollouts: seed a forest "
            "from its items to grow one"
        )
    if forest.refined_for and {*wanted} != {"max_nodes"}:
        raise ConfigError(
            f"forest {forest.name!r} was refined: it has rollouts that its strategy did not ask "
            "for, and would grow from these; only max_nodes can become larger, and refine_forest "
            "draws more rollouts"
        )
    require_finished_growth(forest)


def require_finished_growth(forest: Forest) -> None:
    """Refuse a forest whose trees cannot be reopened now.

    Raises:
        ConfigError: its config changed, it is paused, or workers grow it.
    """
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
            number := num_lacking(refining_or(strategy, stored.refined_steps), stored.tree)
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
    if found.lacking or (found.unfinished and not changes):  # unfinished trees grow anyway
        return
    if not changes:
        raise ConfigError(
            f"forest {forest.name!r} has these settings already ({_told(wanted)}): "
            "give a larger number"
        )
    if not (found.unfinished or forest.num_failed):
        raise ConfigError(
            f"no tree of forest {forest.name!r} would grow further with {_told(wanted)}: each has "
            "all samples that its strategy wants, or has reached max_nodes"
        )


def _extend(forest: Forest, settings: Mapping[str, Any], found: _Found) -> None:
    """Make trees pending, then change the settings.

    In the opposite order, a kill in between would leave a forest that seems finished, with fewer
    samples than its settings say. A worker that started before the change takes no more trees after
    it, and stops. Trees that it completed until then become pending again.
    """
    reopen(forest, list(found.lacking), settings, found.unfinished)


def reopen(
    forest: Forest,
    trees: Sequence[str],
    settings: Mapping[str, Any],
    unfinished: Sequence[str] = (),
    others: Mapping[str, Any] | None = None,
) -> None:
    """Make complete trees pending and change the settings, in an order that survives a kill.

    Args:
        forest: the forest of the trees.
        trees: complete trees.
        settings: worker settings.
        unfinished: trees that a worker may complete with the old settings meanwhile.
        others: fields of the forest that change with the settings.
    """
    _count_as_pending(forest, len(trees))
    _make_pending(trees)
    settle_counters(forest)
    forget_disagreements(forest)
    told = {"extended_at": datetime.now(UTC), "stop_reason": "", **(others or {})}
    set_settings(forest, settings, told)
    wait_for_workers(forest)
    if _make_pending([*trees, *unfinished]):
        settle_counters(forest)
    forest.refresh_from_db()


def _count_as_pending(forest: Forest, number: int) -> None:
    """Show the forest as unfinished before any tree is pending; counters are settled later."""
    if number:
        left = max(0, forest.num_complete - number)
        # Clear `worked_at`: a recent write would make the forest look as if it were growing.
        fields = {"num_complete": left, "growth_finished_at": None, "worked_at": None}
        collection(Forest).update_one({"_id": forest.name}, {"$set": fields})


def _make_pending(trees: Sequence[str]) -> int:
    """Make the complete ones of these trees pending again; return their number."""
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
