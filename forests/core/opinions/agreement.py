"""How far people agree on the verdicts of steps, beyond what chance gives.

Cohen's kappa (1960) is for two people on the steps that both labelled. Fleiss' kappa (1971) is for
any number of people on the steps that at least two of them labelled. Steps may have different
numbers of labels: the agreement of a step is the share of equal pairs among its labels, and each
step counts the same.

Both are 1 for full agreement, 0 for what chance gives, and below 0 for less.
"""

from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from itertools import combinations
from math import comb
from typing import NamedTuple, TypeVar

Category = TypeVar("Category", bound=Hashable)
Step = TypeVar("Step", bound=Hashable)

_TWO = 2


class Kappa(NamedTuple):
    """An agreement and what it rests on."""

    value: float | None
    """None without a step to compare, or if chance alone would make all labels equal."""
    steps: int
    """Steps with the labels of at least two people."""
    equal: float | None
    """Observed share of equal labels; None without a step to compare."""


def cohen_kappa(pairs: Collection[tuple[Category, Category]]) -> Kappa:
    """Return the agreement of two people from their labels of the same steps."""
    if not pairs:
        return Kappa(None, 0, None)
    number = len(pairs)
    equal = sum(one == other for one, other in pairs) / number
    first = Counter(one for one, _ in pairs)
    second = Counter(other for _, other in pairs)
    chance = sum(first[name] * second[name] for name in first) / number**2
    return Kappa(_beyond(equal, chance), number, equal)


def fleiss_kappa(labels: Collection[Sequence[Category]]) -> Kappa:
    """Return the agreement of all people from the labels of each step.

    Steps with fewer than two labels are left out.
    """
    counted = [Counter(of_step) for of_step in labels if len(of_step) >= _TWO]
    if not counted:
        return Kappa(None, 0, None)
    number = len(counted)
    equal = sum(
        sum(comb(count, _TWO) for count in counts.values()) / comb(counts.total(), _TWO)
        for counts in counted
    )
    shares: Counter[Category] = Counter()
    for counts in counted:
        for name, count in counts.items():
            shares[name] += count / counts.total() / number  # type: ignore[assignment]
    chance = sum(share**2 for share in shares.values())
    return Kappa(_beyond(equal / number, chance), number, equal / number)


def kappa_of_pairs(
    by_person: Mapping[str, Mapping[Step, Category]],
) -> dict[tuple[str, str], Kappa]:
    """Return Cohen's kappa of each pair of people with a step that both labelled."""
    found = {}
    for one, other in combinations(sorted(by_person), _TWO):
        mine, theirs = by_person[one], by_person[other]
        common = [(mine[step], theirs[step]) for step in mine.keys() & theirs.keys()]
        if common:
            found[one, other] = cohen_kappa(common)
    return found


def _beyond(equal: float, chance: float) -> float | None:
    return (equal - chance) / (1 - chance) if chance < 1 else None
