"""Means over trees, with how sure they are."""

from dataclasses import dataclass
from math import sqrt

Z_95 = 1.959963984540054


@dataclass(slots=True)
class TreeMean:
    """The mean of one number from 0 to 1 per tree; trees without a result leave the denominator."""

    trees: int = 0
    no_result: int = 0
    total: float = 0.0

    def add(self, result: float | None) -> None:
        if result is None:
            self.no_result += 1
        else:
            self.trees += 1
            self.total += result

    @property
    def value(self) -> float | None:
        return self.total / self.trees if self.trees else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval over trees: see `wilson_interval`."""
        return wilson_interval(self.total, self.trees) if self.trees else None


def wilson_interval(successes: float, trials: int, z: float = Z_95) -> tuple[float, float]:
    """Return Wilson's score interval (1927) for a proportion; `trials` is at least 1.

    Exact enough for few trees and for shares near 0 and 1. Where each trial gives a number between
    0 and 1 instead of one of them, the interval is wider than it need be, never narrower.
    """
    share = successes / trials
    centre = share + z * z / (2 * trials)
    half = z * sqrt(max(0.0, share * (1 - share)) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    # Rounding must not leave the share itself outside.
    return max(0.0, min(share, (centre - half) / scale)), min(
        1.0, max(share, (centre + half) / scale)
    )
