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
    """Number of trees that it is the average of."""
    measured_at: datetime | None = None
    """When `beam_search` measured it; None: it comes from the counters of the forest."""


def read_pass_rates(forests: Sequence[Forest]) -> dict[str, PassRate]:
    """Return the pass@1 of these forests by name; those without a number are absent.

    A measured one takes precedence over one from counters. A forest that also has samples from
    chosen steps has neither: `beam_search` counts all samples, so its pass@1 is biased too.
    """
    unbiased = [one for one in forests if draws_from_prompt(one)]
    found = {one.name: rate for one in unbiased if (rate := _counted(one))}
    for _, measured in pass_rates_wanted.send(sender=None, forests=unbiased):
        found.update(cast("dict[str, PassRate]", measured))
    return found


def draws_from_prompt(forest: Forest) -> bool:
    """Return whether all samples begin at the prompt, so that their share of correct is pass@1."""
    return forest.estimator == "leaf_mean"


def _counted(forest: Forest) -> PassRate | None:
    """Return the pass@1 from the counters of a forest; None before the first complete tree.

    It is the share of correct samples, so a tree with more samples weighs more. The interval counts
    each complete tree as one sample, because samples of a tree depend on each other. So it is wide
    enough if trees have about equally many samples.
    """
    if not (forest.num_leaves and forest.num_complete):
        return None
    value = forest.num_correct / forest.num_leaves
    low, high = wilson_interval(value * forest.num_complete, forest.num_complete)
    return PassRate(value, low, high, forest.num_complete)
