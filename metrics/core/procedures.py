"""Ways to choose an answer from a tree with N beams or samples, and what each would have cost."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from math import comb, inf
from random import Random
from typing import NamedTuple, TypeAlias

from forests.core.tree import ReasoningTree, TreeNode
from metrics.core.accuracy import score_beams
from metrics.core.baselines import majority_at_k, pass_at_k, samples_of
from metrics.core.beam_search import Beam, Found, Overall, beam_search, diverse_search
from metrics.core.values import Ungraded, leaf_result

MOST_DRAWS = 64
"""Subsets of samples over which a weighted vote is averaged, where there are more of them."""


class Outcome(NamedTuple):
    """What one procedure gives on one tree."""

    accuracies: Mapping[str, float | None]
    """By the names of `ACCURACIES`; None where there is no result."""
    tokens: float | None
    """Completion tokens that it would have drawn; None where it needs more samples than there are.
    """


Procedure: TypeAlias = Callable[[ReasoningTree, Overall, int, Ungraded], Outcome]


def _searching(search: Callable[[ReasoningTree, Overall, int], Found]) -> Procedure:
    def run(tree: ReasoningTree, overall: Overall, n: int, ungraded: Ungraded) -> Outcome:
        found = search(tree, overall, n)
        results = score_beams(found.beams, ungraded)
        known = {name: None if one is None else float(one) for name, one in results.items()}
        return Outcome(known, found.tokens(tree))

    return run


def best_of_n(tree: ReasoningTree, overall: Overall, n: int, ungraded: Ungraded) -> Outcome:
    """Return the expectations over n of the tree's samples, drawn without putting back.

    `accuracy`: the sample of the highest overall value (best-of-N). `majority_vote`: most samples.
    `weighted_vote`: the highest sum of overall values (weighted best-of-N, 2206.02336).
    `coverage`: any of them (pass@N). A tree with fewer than n samples has no result.
    """
    leaves = [leaf for leaf in tree.leaves() if leaf_result(leaf, ungraded) is not None]
    total = sum(leaf.count for leaf in leaves)
    if total < n:
        return Outcome({}, None)
    samples = samples_of(tree, ungraded)
    accuracies = {
        "accuracy": _best_is_correct(leaves, overall, n, ungraded),
        "majority_vote": majority_at_k(samples, n),
        "weighted_vote": _weighted_vote(leaves, overall, n, ungraded),
        "coverage": pass_at_k(samples, n),
    }
    return Outcome(accuracies, n * _tokens_of_samples(tree, leaves) / total)


PROCEDURES: dict[str, Procedure] = {
    "beam": _searching(beam_search),
    "dvts": _searching(diverse_search),
    "best_of_n": best_of_n,
}
"""By name: beam search, diverse verifier tree search, and choosing among whole samples."""


def _best_is_correct(
    leaves: Sequence[TreeNode], overall: Overall, n: int, ungraded: Ungraded
) -> float:
    """Return the chance that the best of n samples is correct; ties go to the first path."""
    left = sum(leaf.count for leaf in leaves)
    subsets = comb(left, n)
    chance = 0.0
    for leaf in sorted(leaves, key=lambda leaf: (_negated(overall.get(leaf.path)), leaf.path)):
        if leaf_result(leaf, ungraded):
            # The subsets without a better sample, less those without this one either.
            chance += (comb(left, n) - comb(left - leaf.count, n)) / subsets
        left -= leaf.count
    return min(chance, 1.0)


def _weighted_vote(
    leaves: Sequence[TreeNode], overall: Overall, n: int, ungraded: Ungraded
) -> float:
    beams = [Beam(leaf, overall.get(leaf.path)) for leaf in leaves for _ in range(leaf.count)]
    beams.sort(key=lambda beam: (_negated(beam.value), beam.leaf.path))
    votes = [
        score_beams([beams[number] for number in chosen], ungraded)["weighted_vote"]
        for chosen in _subsets(len(beams), n)
    ]
    return sum(map(bool, votes)) / len(votes)


def _subsets(total: int, n: int) -> Iterator[Sequence[int]]:
    """Yield all subsets of n in ascending order, or `MOST_DRAWS` of them, always the same."""
    if comb(total, n) <= MOST_DRAWS:
        yield from combinations(range(total), n)
        return
    numbers = Random(f"{total}/{n}")
    for _ in range(MOST_DRAWS):
        yield sorted(numbers.sample(range(total), n))


def _negated(value: float | None) -> float:
    return inf if value is None else -value


def _tokens_of_samples(tree: ReasoningTree, leaves: Sequence[TreeNode]) -> int:
    """Return the tokens of all samples, each from the root to its end."""
    return sum(
        leaf.count * sum(tree.nodes[leaf.path[:depth]].tokens for depth in range(1, leaf.depth + 1))
        for leaf in leaves
    )
