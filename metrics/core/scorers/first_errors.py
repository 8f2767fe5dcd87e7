"""Detection of the first wrong step of a solution, as in ProcessBench (2412.06559)."""

from typing import Any

import numpy as np

from metrics.core.scorers.step_scores import Flags, Numbers, Whole

NO_ERROR = -1
"""The number of the first error in a solution without errors."""
THRESHOLDS_TRIED = 101


def first_below(scores: Numbers, start: Whole, threshold: float) -> Whole:
    """Return the first step of each solution with a score below the threshold, or `NO_ERROR`."""
    if not len(start):
        return start
    positions = np.where(scores < threshold, np.arange(len(scores)), len(scores))
    first = np.minimum.reduceat(positions, start)
    return np.where(first < len(scores), first - start, NO_ERROR)


def best_threshold(
    scores: Numbers,
    start: Whole,
    first_error: Whole,
    among: Flags,
) -> float | None:
    """Return the score threshold with the best F1 among these solutions; None without solutions."""
    if not among.any():
        return None
    lengths = np.diff(np.append(start, len(scores)))
    known = scores[np.repeat(among, lengths)]
    known = known[np.isfinite(known)]
    if not len(known):
        return None
    # Quantiles of the distinct scores, so that rare scores between frequent ones are tried too.
    tried = np.unique(np.quantile(np.unique(known), np.linspace(0, 1, THRESHOLDS_TRIED)))
    is_wrong = first_error != NO_ERROR

    def f1(threshold: float) -> float:
        hits = first_below(scores, start, threshold) == first_error
        wrong, right = share_of(hits, among & is_wrong), share_of(hits, among & ~is_wrong)
        return harmonic_mean(wrong, right) or 0.0

    return float(max(tried, key=f1))


def share_of(hits: Flags, weight: Any) -> float | None:
    total = weight.sum()
    return float((hits * weight).sum() / total) if total else None


def harmonic_mean(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return None
    return 2 * one * other / (one + other) if one + other else 0.0
