"""AUROC, ROC curve and calibration of step scores."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Numbers: TypeAlias = npt.NDArray[np.float64]
Whole: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]

CURVE_POINTS = 50
BINS = 10


def auroc(score: Numbers, good: Flags, weight: Numbers) -> float | None:
    """Return the area under the ROC curve; None without a good or without a bad step.

    It is the chance that a good step has a higher score than a bad one; ties count half
    (Mann-Whitney).
    """
    return auroc_of_ranks(np.unique(score, return_inverse=True)[1], good, weight)


def auroc_of_ranks(rank: Whole, good: Flags, weight: Numbers) -> float | None:
    """Return `auroc` from the ranks of the scores; equal scores must have equal ranks."""
    positives = np.bincount(rank, weight * good)
    negatives = np.bincount(rank, weight * ~good)
    total = positives.sum() * negatives.sum()
    below = np.cumsum(negatives) - negatives
    return float((positives * (below + negatives / 2)).sum() / total) if total else None


def roc_curve(score: Numbers, good: Flags) -> list[tuple[float, float]]:
    """Return at most `CURVE_POINTS` points (share of bad steps, share of good steps)."""
    if not good.any() or good.all():
        return []
    levels, rank = np.unique(-score, return_inverse=True)
    right = np.cumsum(np.bincount(rank, good, len(levels))) / good.sum()
    wrong = np.cumsum(np.bincount(rank, ~good, len(levels))) / (~good).sum()
    chosen = np.unique(np.linspace(0, len(levels) - 1, CURVE_POINTS - 1).astype(int))
    return [(0.0, 0.0), *((float(wrong[n]), float(right[n])) for n in chosen)]


def calibration(score: Numbers, value: Numbers) -> list[dict[str, float]]:
    """Return mean score and mean Monte Carlo value of the steps in each decile of the scores."""
    order = np.argsort(score, kind="stable")
    return [
        {
            "score": float(score[part].mean()),
            "value": float(value[part].mean()),
            "steps": len(part),
        }
        for part in np.array_split(order, BINS)
        if len(part)
    ]
