"""Estimate the cost of the rest of a forest from its first trees: a bounded read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from common.places import to_type
from experiment_configs.interfaces import DEFAULT_CONCURRENCY
from forests.costs.budgets import Usage
from forests.costs.estimates import (
    FEWEST_TREES,
    GrowthEstimate,
    Interval,
    TreeCost,
    estimate_growth,
)
from forests.costs.money import money
from forests.models import Forest, Tree, TreeStatus
from forests.storage.trees import TREES_PER_READ, collection, tree_ids

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


@dataclass(frozen=True, slots=True)
class ForestEstimate:
    """The estimate for the rest of a forest on its page, or how to get one."""

    command: str = ""
    """The command that estimates before anything is grown."""
    lines: Mapping[str, str] = field(default_factory=dict)
    num_trees: int = 0
    """Trees that the estimate is made from."""
    concurrency: int = 0


def estimate_for_page(forest: Forest) -> ForestEstimate | None:
    """Return the estimate that a page shows for future trees; None if it shows nothing."""
    if not (forest.is_seeded and forest.num_pending):
        return None
    if forest.growth_started_at is None:
        return None if forest.is_paused else ForestEstimate(command=_command(forest))
    if (found := read_estimate(forest)) is None:
        return None
    return ForestEstimate("", estimate_lines(found), found.num_trees, found.concurrency)


def read_estimate(forest: Forest) -> GrowthEstimate | None:
    """Return the usage of the unfinished trees; None if too few of the first trees are complete.

    Also None for a forest that was extended: its trees start with samples that are already paid
    for.
    """
    if forest.extended_at:
        return None
    ids = tree_ids(forest, range(min(TREES_PER_READ, forest.num_trees)))
    fields = dict.fromkeys(("status", "requests", "prompt_tokens", "completion_tokens"), 1)
    answered = sum((forest.latencies or {}).values())
    seconds = forest.request_seconds / answered if answered else 0.0
    trees = [
        TreeCost(Usage.of(tree), tree["requests"] * seconds)
        for tree in collection(Tree).find({"_id": {"$in": ids}}, fields)
        if tree["status"] == TreeStatus.COMPLETE
    ]
    if len(trees) < FEWEST_TREES:
        return None
    concurrency = forest.worker_config.get("concurrency") or DEFAULT_CONCURRENCY
    return estimate_growth(trees, forest.num_pending, forest.prices, concurrency)


def _command(forest: Forest) -> str:
    return to_type(
        f"verify_config --config_name {forest.config_name} "
        f"--dataset_split {forest.dataset_split} --with_backend --estimate {forest.num_trees}"
    )


def estimate_lines(estimate: GrowthEstimate) -> Mapping[str, str]:
    """Return the lines of an estimate by their headings."""
    return {
        "Requests": _number(estimate.requests),
        "Prompt tokens": _number(estimate.prompt_tokens),
        "Completion tokens": _number(estimate.completion_tokens),
        "Time": _interval(estimate.seconds, _time),
        "Cost": money(None) if estimate.cost is None else _interval(estimate.cost, money),
    }


def _number(interval: Interval) -> str:
    return _interval(interval, lambda value: f"{round(value):,}")


def _interval(interval: Interval, show: Callable[[float], str]) -> str:
    return f"{show(interval.value)} ({show(interval.low)} to {show(interval.high)})"


def _time(seconds: float) -> str:
    for unit, length in (("d", _DAY), ("h", _HOUR), ("min", _MINUTE)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"
