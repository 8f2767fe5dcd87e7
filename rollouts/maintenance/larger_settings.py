"""The settings of a forest that can be raised, so that its trees grow further."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from experiment_configs.interfaces import (
    LIMITS_OF_SOLUTIONS,
    SAMPLE_FREE_SETTINGS,
    SETTINGS_THAT_ADD,
    ConfigError,
    RolloutWorkerConfig,
)
from forests.core.tree import ReasoningTree
from rollouts.strategies.base import GrowthStrategy

_COMMON = ("max_nodes",)
"""Settings that add samples with any strategy: `GrowthStrategy.plan` obeys them."""
_NEW_FOREST = "seed a new forest with another --forest_name_suffix for another value"


def settings_that_add(strategy: str) -> tuple[str, ...]:
    """Return the settings that, when raised, add samples and leave existing ones unchanged."""
    return SETTINGS_THAT_ADD.get(strategy, _COMMON)


def extended(config: RolloutWorkerConfig, wanted: Mapping[str, Any]) -> RolloutWorkerConfig:
    """Return the config with the wanted settings.

    Raises:
        ConfigError: a setting does more than add samples, has an invalid value, or asks for fewer
            samples than before.
    """
    for name in wanted:
        if refusal := why_not_extended(config.strategy, name):
            raise ConfigError(refusal)
    new = replace(config, **wanted)
    if problems := new.problems():
        raise ConfigError("; ".join(problems))
    for name in wanted:
        if not _asks_for_as_much(name, config, new):
            raise ConfigError(
                f"{name} is {_shown(getattr(config, name))} and can only become larger, not "
                f"{_shown(getattr(new, name))}: drawn samples stay"
            )
    return new


def why_not_extended(strategy: str, name: str) -> str:
    """Return why a setting cannot be raised, with the remedy; empty if it can."""
    adding = settings_that_add(strategy)
    if name in adding:
        return ""
    if name in SAMPLE_FREE_SETTINGS:
        return f"{name} adds no samples: use configure_forest --set {name}=VALUE"
    if any(name in names for names in SETTINGS_THAT_ADD.values()):
        return (
            f"{name} adds nothing to a forest of strategy {strategy}: "
            f"{' and '.join(adding)} can become larger"
        )
    if name == "refinement":
        return "refinement is set by refine_forest"
    if name in LIMITS_OF_SOLUTIONS:
        return (
            f"{name} has cut solutions in the forest, and a larger value would not repair them: "
            f"{_NEW_FOREST}"
        )
    return (
        f"{name} decides what is drawn, and all samples of a forest must be of one kind: "
        f"{_NEW_FOREST}"
    )


def num_lacking(strategy: GrowthStrategy, tree: ReasoningTree) -> int:
    """Return the least number of samples that a tree lacks: those that can be requested now.

    They may lead to more, such as completions that annotate a new solution.
    """
    return sum(expansion.num_samples for expansion in strategy.plan(tree))


def _asks_for_as_much(name: str, old: RolloutWorkerConfig, new: RolloutWorkerConfig) -> bool:
    if name == "branching":
        depths = range(max(len(old.branching), len(new.branching)))
        return all(new.branching_at(depth) >= old.branching_at(depth) for depth in depths)
    return bool(getattr(new, name) >= getattr(old, name))


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
