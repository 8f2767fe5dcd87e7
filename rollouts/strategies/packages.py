"""Which package a growth strategy comes from: only one version of it may grow a forest."""

from dataclasses import replace

from common.plugins import PluginError
from experiment_configs.interfaces import ConfigError, RolloutWorkerConfig
from rollouts.strategies import STRATEGIES


def with_package(config: RolloutWorkerConfig) -> RolloutWorkerConfig:
    """Return settings that note the package from which the strategy comes."""
    return replace(config, strategy_package=STRATEGIES.package(config.strategy))


def require_strategy(config: RolloutWorkerConfig) -> None:
    """Refuse to grow with another strategy than the settings note.

    Raises:
        ConfigError: the strategy or its package is not installed, the package has another version,
            or the strategy cannot be loaded.
    """
    installed = STRATEGIES.package(config.strategy)
    if installed != config.strategy_package:
        wanted = config.strategy_package or "prm-site itself"
        there = f"it comes from {installed}" if installed else "no package has it"
        if config.strategy in STRATEGIES.built_in:
            there = "prm-site itself has it"
        raise ConfigError(
            f"strategy {config.strategy!r} is to come from {wanted}, and here {there}: install "
            "that package in that version, or seed a new forest"
        )
    try:
        STRATEGIES[config.strategy]
    except PluginError as error:
        raise ConfigError(str(error)) from error
    except KeyError as error:
        raise ConfigError(
            f"strategy {config.strategy!r} is not known: upgrade this site"
        ) from error
