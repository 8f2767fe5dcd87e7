"""Which settings of a forest can be made larger, so that its trees grow further."""

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
"""What adds whatever the strategy is: `GrowthStrategy.plan` obeys it."""
_NEW_FOREST = "seed a new forest with another --forest_name_suffix for another value"


def settings_that_add(strategy: str) -> tuple[str, ...]:
    """Return the settings of which a larger value adds samples and changes none."""
    return SETTINGS_THAT_ADD.get(strategy, _COMMON)


def extended(config: RolloutWorkerConfig, wanted: Mapping[str, Any]) -> RolloutWorkerConfig:
    """Return a config with settings that are as large as before or larger.

    Raises:
        ConfigError: a setting does more than add samples, cannot have its value, or asks for fewer
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
                f"{_shown(getattr(new, name))}: samples that are drawn stay"
            )
    return new


def why_not_extended(strategy: str, name: str) -> str:
    """Return why a setting cannot be made larger, with the remedy; empty where it can."""
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
    if name in LIMITS_OF_SOLUTIONS:
        return (
            f"{name} has cut solutions that are in the forest, and would not cut the same ones "
            f"later: {_NEW_FOREST}"
        )
    return (
        f"{name} decides what is drawn, and the samples of one forest must be of one kind: "
        f"{_NEW_FOREST}"
    )


def num_lacking(strategy: GrowthStrategy, tree: ReasoningTree) -> int:
    """Return how many samples a tree lacks at least: those that can be asked for already.

    More may follow from them, such as the completions that annotate a new solution.
    """
    return sum(expansion.num_samples for expansion in strategy.plan(tree))


def _asks_for_as_much(name: str, old: RolloutWorkerConfig, new: RolloutWorkerConfig) -> bool:
    if name == "branching":
        depths = range(max(len(old.branching), len(new.branching)))
        return all(new.branching_at(depth) >= old.branching_at(depth) for depth in depths)
    return bool(getattr(new, name) >= getattr(old, name))


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
