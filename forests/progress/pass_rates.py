"""The pass@1 of forests, from stored numbers only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from forests.core.certainty.evidence import wilson_interval
from forests.models import Forest
from forests.signals import pass_rates_wanted


@dataclass(frozen=True, slots=True)
class PassRate:
    """How often one sample is correct, on average over trees, with its 95 % interval."""

    value: float
    low: float
    high: float
    trees: int
    """Trees that it is over."""
    measured_at: datetime | None = None
    """When `beam_search` measured it; None: it follows from the counters of the forest."""


def read_pass_rates(forests: Sequence[Forest]) -> dict[str, PassRate]:
    """Return the pass@1 of these forests by name; those without a number are absent.

    A measured one takes precedence over one from counters.
    """
    found = {one.name: rate for one in forests if (rate := counted_pass_rate(one))}
    for _, measured in pass_rates_wanted.send(sender=None, forests=forests):
        found.update(cast("dict[str, PassRate]", measured))
    return found


def counted_pass_rate(forest: Forest) -> PassRate | None:
    """Return the pass@1 that the counters of a forest tell; None if they tell none.

    They do if every sample is drawn from the prompt on, so that its share of correct samples is
    the value of the prompt; a tree with more samples weighs more. The interval counts each complete
    tree as one sample, because samples of a tree depend on each other. So it is wide enough if
    trees have about equally many samples.
    """
    if forest.estimator != "leaf_mean" or not (forest.num_leaves and forest.num_complete):
        return None
    value = forest.num_correct / forest.num_leaves
    low, high = wilson_interval(value * forest.num_complete, forest.num_complete)
    return PassRate(value, low, high, forest.num_complete)
