"""Which estimators give the values of a tree, by the strategy that grew it.

The strategies themselves are in `rollouts.strategies`, which pages and metrics do not know.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal, TypeAlias

from common.errors import UserError
from common.plugins import PluginError, Registry
from forests.core.values import ESTIMATORS, Estimator

AUTO: Literal["auto"] = "auto"
"""Stands for the strategy's own estimator."""
EstimatorChoice: TypeAlias = Literal["auto"] | Estimator

IMPORTED = "imported"
"""Strategy of trees that another program grew."""

RESEGMENTED = "resegmented"
"""Strategy of trees whose solutions, drawn from the root, were cut into other steps."""

STRATEGY_ESTIMATORS: Mapping[str, tuple[Estimator, ...]] = {
    "branching": ("leaf_mean", "child_mean", "any"),
    "sampled": ESTIMATORS,
    "math_shepherd": ("own_rollouts", "leaf_mean", "child_mean", "any"),
    "omega_prm": ("own_rollouts", "leaf_mean", "child_mean", "any"),
    IMPORTED: ESTIMATORS,
    RESEGMENTED: ESTIMATORS,
}
"""The strategy's own estimator, then the others that mean something for its trees."""


_PLUGINS: Registry[Any] = Registry("prm.strategies", "growth strategy", {}, lambda *_: "")


def estimators_of(strategy: str) -> tuple[Estimator, ...]:
    """Return the estimators that mean something for a strategy, its own first.

    All of them for a strategy that is not known here, or whose package does not load.
    """
    if strategy not in STRATEGY_ESTIMATORS and strategy in _PLUGINS:
        with suppress(PluginError):
            found: tuple[Estimator, ...] = _PLUGINS[strategy].estimators
            return found
    return STRATEGY_ESTIMATORS.get(strategy, ESTIMATORS)


class EstimatorError(UserError, ValueError):
    """An estimator means nothing for a strategy; the message names those that do."""

    exit_code = 2


def own_estimator(strategy: str) -> Estimator:
    """Return the estimator of a strategy; `leaf_mean` for one that this version does not know."""
    return estimators_of(strategy)[0]


def choose_estimator(strategy: str, wanted: EstimatorChoice) -> Estimator:
    """Return the wanted estimator, which `auto` leaves to the strategy.

    Raises:
        EstimatorError: it means nothing for this strategy.
    """
    if wanted == AUTO:
        return own_estimator(strategy)
    known = estimators_of(strategy)
    if wanted not in known:
        raise EstimatorError(
            f"--estimator {wanted} means nothing for a forest of strategy {strategy}, which draws "
            f"single steps: use {', '.join(known)}"
        )
    return wanted


def caution(strategy: str, estimator: Estimator) -> str:
    """Return what to know of this choice, as one line; empty where there is nothing."""
    if estimator == "own_rollouts" or own_estimator(strategy) != "own_rollouts":
        return ""
    return (
        f"{estimator} also counts the rollouts of later steps, and {strategy} chose those steps: "
        "the values are biased; --estimator own_rollouts counts the rollouts of each step alone"
    )
