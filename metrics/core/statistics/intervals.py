"""Means over trees, with 95 % intervals."""

from dataclasses import dataclass
from fractions import Fraction
from math import sqrt

from forests.core.certainty.evidence import Z_95, wilson_interval


@dataclass(slots=True)
class TreeMean:
    """The mean over trees of a number from 0 to 1; trees without a result are left out of it."""

    trees: int = 0
    no_result: int = 0
    total: float = 0.0

    def add(self, result: Fraction | float | None) -> None:
        if result is None:
            self.no_result += 1
        else:
            self.trees += 1
            self.total += float(result)

    def merge(self, other: "TreeMean") -> None:
        """Add the results of other trees."""
        self.trees += other.trees
        self.no_result += other.no_result
        self.total += other.total

    @property
    def value(self) -> float | None:
        return self.total / self.trees if self.trees else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval over trees: see `wilson_interval`."""
        return wilson_interval(self.total, self.trees) if self.trees else None


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with its 95 % interval over trees; None if there is no data for it."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(slots=True)
class PairedGain:
    """The mean over trees of the difference between two results of the same tree."""

    trees: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, result: Fraction | float | None, other: Fraction | float | None) -> None:
        if result is not None and other is not None:
            gain = float(result - other)
            self.trees += 1
            self.total += gain
            self.squares += gain * gain

    def merge(self, other: "PairedGain") -> None:
        """Add the results of other trees."""
        self.trees += other.trees
        self.total += other.total
        self.squares += other.squares

    def figure(self) -> Figure:
        """Return the mean with its 95 % interval for paired differences from -1 to 1.

        The interval adds one pair of each extreme (Bonett and Price 2012, for proportions). So it
        has a width even if all differences are equal, and is valid for few trees too.
        """
        if not self.trees:
            return Figure(None)
        number = self.trees + 2
        centre = self.total / number
        variance = (self.squares + 2) / number - centre * centre
        half = Z_95 * sqrt(max(0.0, variance) / number)
        return Figure(self.total / self.trees, max(-1.0, centre - half), min(1.0, centre + half))
