"""Rankings of siblings, from the pairs of one prefix."""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TypeAlias

from preferences.core.pairing import Pair, Side

Ranking: TypeAlias = Sequence[Sequence[Side]]
"""Sides in ranks, the best first. The sides of one rank are a tie."""


def rankings(pairs: Iterable[Pair]) -> list[Ranking]:
    """Return rankings of the sides of one prefix that say exactly what the pairs say.

    A pair says that its chosen side is better than its rejected side. Sides better than the chosen
    side are then better than the rejected side too. If this does not order two sides, no ranking
    puts one above the other. A pair that the first ranking does not express, such as a pair inside
    a tie, gets a ranking of its own.
    """
    left = list(pairs)
    if not left:
        return []
    ranks = _ranks(left)
    if len(ranks) == 1:
        return [([pair.chosen], [pair.rejected]) for pair in left]
    inside = [
        ranking
        for tie in ranks
        for ranking in rankings(
            pair for pair in left if pair.chosen in tie and pair.rejected in tie
        )
    ]
    return [ranks, *inside]


def _ranks(pairs: Sequence[Pair]) -> list[list[Side]]:
    """Return groups of sides: each side is better than all sides of later groups."""
    sides = list(dict.fromkeys(chain.from_iterable((one.chosen, one.rejected) for one in pairs)))
    better = _closure(sides, pairs)
    ranks: list[list[Side]] = []
    for side in sorted(sides, key=lambda one: (-one.value, -one.leaves, one.path, one.text)):
        tie = [side]
        while ranks and not all((above, below) in better for above in ranks[-1] for below in tie):
            tie = [*ranks.pop(), *tie]
        ranks.append(tie)
    return ranks


def _closure(sides: Sequence[Side], pairs: Sequence[Pair]) -> set[tuple[Side, Side]]:
    better = {(pair.chosen, pair.rejected) for pair in pairs}
    for middle in sides:
        above = [side for side in sides if (side, middle) in better]
        below = [side for side in sides if (middle, side) in better]
        better |= {(one, other) for one in above for other in below}
    return better
