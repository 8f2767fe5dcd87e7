"""Bootstrap confidence intervals, resampling whole trees."""

from collections.abc import Callable

import numpy as np

from metrics.core.scorers.step_scores import Numbers
from metrics.core.statistics.intervals import Figure

RESAMPLES = 200


def over_trees(trees: int, measure: Callable[[Numbers], list[float | None]]) -> list[Figure]:
    """Return the figures that `measure` gives for all trees, with 95 % bootstrap intervals.

    Nodes of one tree are correlated, so the bootstrap resamples trees, not nodes. `measure` takes a
    weight for each tree.
    """
    whole = measure(np.ones(trees))
    numbers = np.random.default_rng(0)
    draws = [
        measure(numbers.multinomial(trees, np.full(trees, 1 / trees)).astype(np.float64))
        for _ in range(RESAMPLES if trees > 1 else 0)
    ]
    figures = []
    for position, value in enumerate(whole):
        known = [draw[position] for draw in draws if draw[position] is not None]
        if value is None or not known:
            figures.append(Figure(value))
        else:
            low, high = np.quantile(np.asarray(known, np.float64), (0.025, 0.975))
            figures.append(Figure(value, min(value, float(low)), max(value, float(high))))
    return figures
