"""Which estimators fit a tree, depending on the strategy that grew it.

The strategies themselves are in `rollouts.strategies`, which pages and metrics do not import.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal, TypeAlias

from common.errors import UserError
from common.plugins import PluginError, Registry
from forests.core.values import ESTIMATORS, Estimator

AUTO: Literal["auto"] = "auto"
"""Chooses the strategy's own estimator."""
EstimatorChoice: TypeAlias = Literal["auto"] | Estimator

IMPORTED = "imported"
"""Strategy of trees that another program grew."""

FOR_LABELS = "labels"
"""Goal of `refine_forest`: see `rollouts.strategies.refining`."""

FOR_PAIRS = "pairs"
"""Goal of `refine_forest`: see `rollouts.strategies.refining_pairs`."""

RESEGMENTED = "resegmented"
"""Strategy of trees whose solutions were drawn from the root and cut into other steps."""

STRATEGY_ESTIMATORS: Mapping[str, tuple[Estimator, ...]] = {
    "branching": ("leaf_mean", "child_mean", "any", "through_rollouts"),
    "sampled": ESTIMATORS,
    "math_shepherd": ("own_rollouts", "leaf_mean", "child_mean", "any", "through_rollouts"),
    "omega_prm": ("own_rollouts", "leaf_mean", "child_mean", "any", "through_rollouts"),
    IMPORTED: ESTIMATORS,
    RESEGMENTED: ESTIMATORS,
}
"""For each strategy its own estimator, then the others that are meaningful for its trees."""


_PLUGINS: Registry[Any] = Registry("prm.strategies", "growth strategy", {}, lambda *_: "")


def _known_estimators(strategy: str) -> Sequence[Estimator]:
    """Return the estimators of a strategy, its own first; none if its package does not load."""
    if strategy in STRATEGY_ESTIMATORS:
        return STRATEGY_ESTIMATORS[strategy]
    with suppress(KeyError, PluginError, AttributeError):
        found: Sequence[Estimator] = _PLUGINS[strategy].estimators
        return found
    return ()


def estimators_of(strategy: str) -> Sequence[Estimator]:
    """Return the estimators that mean something for a strategy, its own first.

    Returns all estimators if the strategy is not known here, or its package does not load.
    """
    return _known_estimators(strategy) or ESTIMATORS


def require_own_estimator(strategy: str) -> None:
    """Refuse a strategy whose own estimator is not known here.

    Raises:
        EstimatorError: the package of the strategy is not installed, or does not load.
    """
    if _known_estimators(strategy):
        return
    raise EstimatorError(
        f"strategy {strategy!r} comes from a package that is not installed here, or does not load: "
        "install it, or name an --estimator"
    )


class EstimatorError(UserError, ValueError):
    """An estimator has no meaning for a strategy, or the strategy is not installed.

    The message names the remedy.
    """

    exit_code = 2


def own_estimator(strategy: str, refined_for: str = "") -> Estimator:
    """Return the estimator of a strategy; `leaf_mean` for a strategy unknown to this version.

    `refined_for`: the goal of `refine_forest`, if it added rollouts. Refining for labels stops at
    the first right rollout of a step, so only `any` keeps its meaning. Refining for pairs draws
    from chosen steps, so only samples drawn from a step or its ancestors tell its value.
    """
    if refined_for == FOR_PAIRS:
        return "through_rollouts"
    return "any" if refined_for == FOR_LABELS else estimators_of(strategy)[0]


def choose_estimator(strategy: str, wanted: EstimatorChoice, refined_for: str = "") -> Estimator:
    """Return the wanted estimator; for `auto`, the strategy's own.

    Raises:
        EstimatorError: it has no meaning for this strategy, or the strategy is not installed.
    """
    if wanted == AUTO:
        require_own_estimator(strategy)
        return own_estimator(strategy, refined_for)
    known = estimators_of(strategy)
    if wanted not in known:
        raise EstimatorError(
            f"--estimator {wanted} has no meaning for a forest of strategy {strategy}: "
            f"use {', '.join(known)}"
        )
    return wanted


def caution(strategy: str, estimator: Estimator, refined_for: str = "") -> str:
    """Return a warning about the values of an estimator, as one line; empty if there is none."""
    samples = caution_of_samples(strategy, refined_for)
    if refined_for:
        return samples + _values_of_refined(estimator, refined_for)
    if not samples or estimator in ("own_rollouts", "through_rollouts"):
        return ""
    return (
        f"{samples}; so are values of {estimator}, as it counts the rollouts of later steps: "
        "--estimator own_rollouts counts only each step's own rollouts"
    )


def caution_of_samples(strategy: str, refined_for: str = "") -> str:
    """Return a warning about pass rates of a forest, as one line; empty if there is none."""
    if not refined_for and own_estimator(strategy) != "own_rollouts":
        return ""
    what = "refine_forest" if refined_for else strategy
    return (
        f"{what} drew from chosen steps, so best_of_n and pass rates of the forest's samples "
        "are biased"
    )


def _values_of_refined(estimator: Estimator, goal: str) -> str:
    """Return the end of the warning: what holds for the values."""
    if estimator == own_estimator("", goal):
        return f"; values of {estimator} are not"
    if goal == FOR_PAIRS:
        return (
            f"; so are values of {estimator}, as it counts samples of these steps for the steps "
            "before them: --estimator through_rollouts does not"
        )
    return (
        f"; values of {estimator} are biased upwards, as drawing stopped at the first right "
        "rollout: --estimator any is exact"
    )
