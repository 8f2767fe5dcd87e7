"""Paired comparison of two results over the items that both have."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Literal, NamedTuple, TypeAlias

from metrics.core.statistics.intervals import Figure, PairedGain

Change: TypeAlias = Literal["gained", "lost"]

RIGHT_ABOVE = 0.5
"""An item is right if its number is above this, wrong if it is below, and neither if equal.

The number of an item is 0 or 1, or the chance or share of a correct answer."""


@dataclass(frozen=True, slots=True)
class PairedResult:
    """One number of two runs over the same items, and their difference."""

    items: int
    """Items for which both have a result; all figures are over these."""
    without_result: int
    """Shared items for which one of the two has no result."""
    first: float | None
    other: float | None
    difference: Figure
    """Mean of the other minus the first, with its 95 % interval."""
    gained: int
    """Items that are wrong in the first and right in the other."""
    lost: int
    """Items that are right in the first and wrong in the other."""

    @property
    def is_decided(self) -> bool:
        """Whether 0 is outside the interval of the difference."""
        low, high = self.difference.low, self.difference.high
        return low is not None and high is not None and (low > 0 or high < 0)


class Disagreement(NamedTuple):
    """An item that is right in one of two results and wrong in the other."""

    change: Change
    first: int
    """Position of the item in the first."""
    other: int


def paired(
    first: Sequence[float], other: Sequence[float], shared: Sequence[tuple[int, int]]
) -> PairedResult:
    """Return the comparison of two results; `shared` has the positions of the shared items."""
    gain = PairedGain()
    sums = [0.0, 0.0]
    changes = {"gained": 0, "lost": 0}
    for one, two in shared:
        a, b = first[one], other[two]
        if isnan(a) or isnan(b):
            continue
        gain.add(b, a)
        sums[0] += a
        sums[1] += b
        if change := change_of(a, b):
            changes[change] += 1
    number = gain.trees
    return PairedResult(
        items=number,
        without_result=len(shared) - number,
        first=sums[0] / number if number else None,
        other=sums[1] / number if number else None,
        difference=gain.figure(),
        **changes,
    )


def change_of(first: float, other: float) -> Change | None:
    """Return how an item changed from wrong to right or back; None if it did neither."""
    if first < RIGHT_ABOVE < other:
        return "gained"
    if other < RIGHT_ABOVE < first:
        return "lost"
    return None


def disagreements(
    first: Sequence[float], other: Sequence[float], shared: Sequence[tuple[int, int]]
) -> Iterator[Disagreement]:
    """Yield the items that are right in one and wrong in the other, in the order of the first."""
    for one, two in shared:
        if change := change_of(first[one], other[two]):  # NaN is neither above nor below
            yield Disagreement(change, one, two)
