"""Intervals of what has no formula: trees drawn again and again."""

from collections.abc import Callable

import numpy as np

from metrics.core.scorers.step_scores import Numbers
from metrics.core.statistics.intervals import Figure

RESAMPLES = 200


def over_trees(trees: int, measure: Callable[[Numbers], list[float | None]]) -> list[Figure]:
    """Return what `measure` gives for the trees, with the interval of a bootstrap over them.

    Nodes of one tree hang together, so trees are drawn and not nodes. `measure` takes the weight of
    each tree.
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
