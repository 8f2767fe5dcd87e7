"""Baselines from the same leaves without a search: pass@1, pass@k and majority@k.

All are exact expectations over k samples, drawn from a tree's leaves without replacement. If a
strategy branches, leaves share prefixes: the figures describe k rollouts of that tree, not k
independent ones. Rollouts of `sampled` forests are independent.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import comb

from forests.core.tree import ReasoningTree
from forests.core.values import Ungraded, leaf_result
from metrics.core.search.accuracy import vote_of


@dataclass(slots=True)
class AnswerGroup:
    """Samples that give the same answer."""

    size: int = 0
    correct: int = 0


@dataclass(frozen=True, slots=True)
class Samples:
    """The samples of a tree that have a result."""

    total: int
    correct: int
    groups: Sequence[AnswerGroup]
    """One group for each answer; samples without an answer belong to none."""


def samples_of(tree: ReasoningTree, ungraded: Ungraded) -> Samples:
    total = all_correct = 0
    groups: dict[str, AnswerGroup] = {}
    for leaf in tree.leaves():
        result = leaf_result(leaf, ungraded)
        if result is None:
            continue
        correct = leaf.count if result else 0
        total += leaf.count
        all_correct += correct
        answer = vote_of(leaf)
        if answer is not None:
            group = groups.setdefault(answer, AnswerGroup())
            group.size += leaf.count
            group.correct += correct
    return Samples(total, all_correct, list(groups.values()))


def pass_at_k(samples: Samples, k: int) -> Fraction | None:
    """Return the chance that one of k samples is correct (Codex, 2107.03374, eq. 1).

    None if the tree has fewer than k samples.
    """
    if samples.total < k:
        return None
    return _pass_at_k(samples.total, samples.correct, k)


@lru_cache(maxsize=2**12)
def _pass_at_k(total: int, correct: int, k: int) -> Fraction:
    return 1 - Fraction(comb(total - correct, k), comb(total, k))


def majority_at_k(samples: Samples, k: int) -> Fraction | None:
    """Return the chance that the most frequent answer of k samples is correct.

    Ties are broken at random. If none of the k samples has an answer, one correct sample is enough,
    as in `score_beams`. None if the tree has fewer than k samples.
    """
    if samples.total < k:
        return None
    groups = tuple(sorted((group.size, group.correct) for group in samples.groups))
    return _majority_at_k(samples.total, samples.correct, groups, k)


@lru_cache(maxsize=2**12)  # many trees have votes of the same sizes
def _majority_at_k(
    total: int, correct: int, groups: tuple[tuple[int, int], ...], k: int
) -> Fraction:
    """`groups`: the size of each group, and how many of its samples are correct."""
    if k == total and groups:  # only ties are left to chance
        most = max(size for size, _ in groups)
        tied = [Fraction(right, size) for size, right in groups if size == most]
        return sum(tied, Fraction(0)) / len(tied)
    silent = total - sum(size for size, _ in groups)
    silent_correct = correct - sum(right for _, right in groups)
    chance = Fraction(comb(silent, k) - comb(silent - silent_correct, k), comb(total, k))
    for number, (size, right) in enumerate(groups):
        if right:
            rivals = [other for place, (other, _) in enumerate(groups) if place != number]
            chance += _chance_to_win(size, rivals, total, k) * Fraction(right, size)
    return chance


def _chance_to_win(size: int, rivals: Sequence[int], total: int, k: int) -> Fraction:
    """Return the chance that a group wins the vote of k samples out of `total`."""
    draws: Counter[int] = Counter()  # by number of tied rivals
    for votes in range(1, min(size, k) + 1):
        strong = [rival for rival in rivals if rival >= votes]
        harmless = total - size - sum(strong)  # samples of groups too small for this many votes
        room = k - votes
        for (used, ties), ways in _ways_not_to_win(strong, votes, room).items():
            draws[ties] += comb(size, votes) * ways * comb(harmless, room - used)
    wins = sum((Fraction(number, ties + 1) for ties, number in draws.items()), Fraction(0))
    return wins / comb(total, k)


def _ways_not_to_win(rivals: Iterable[int], votes: int, room: int) -> dict[tuple[int, int], int]:
    """Return the number of ways in which no rival exceeds `votes`, by samples used and by ties."""
    ways = {(0, 0): 1}
    for rival in rivals:
        longer: dict[tuple[int, int], int] = {}
        for (used, ties), number in ways.items():
            for taken in range(min(votes, room - used) + 1):
                key = (used + taken, ties + (taken == votes))
                longer[key] = longer.get(key, 0) + number * comb(rival, taken)
        ways = longer
    return ways
