"""Procedures that choose an answer from N beams or samples of a tree, and their token cost."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import combinations, pairwise
from math import comb, inf
from random import Random
from typing import NamedTuple, TypeAlias

from forests.core.tree import ReasoningTree, TreeNode
from forests.core.values import Ungraded, leaf_result
from metrics.core.search.accuracy import score_beams, vote_of
from metrics.core.search.beam_search import Beam, Found, Overall, beam_search, diverse_search
from metrics.core.statistics.baselines import majority_at_k, pass_at_k, samples_of

MAX_DRAWS = 64
"""Most subsets of samples over which a weighted vote is averaged."""


class ProcedureResult(NamedTuple):
    """Result of one procedure on one tree."""

    accuracies: Mapping[str, Fraction | None]
    """Chance of a correct answer for each name of `ACCURACIES`; None without a result. Exact, so
    that equal chances stay equal."""
    tokens: float | None
    """Completion tokens that the procedure would have drawn; None if the tree has too few samples.
    """


Procedure: TypeAlias = Callable[[ReasoningTree, Overall, int, Ungraded, str], ProcedureResult]
"""Takes a tree, its overall values, the number of beams or samples, what an ungraded leaf counts
as, and the tree's id, which seeds random draws."""


_CHANCES = {None: None, False: Fraction(0), True: Fraction(1)}


def _searching(search: Callable[[ReasoningTree, Overall, int], Found]) -> Procedure:
    def run(
        tree: ReasoningTree, overall: Overall, n: int, ungraded: Ungraded, _tree_id: str
    ) -> ProcedureResult:
        found = search(tree, overall, n)
        results = score_beams(found.beams, ungraded)
        known = {name: _CHANCES[one] for name, one in results.items()}
        return ProcedureResult(known, found.tokens(tree))

    return run


def best_of_n(
    tree: ReasoningTree, overall: Overall, n: int, ungraded: Ungraded, tree_id: str
) -> ProcedureResult:
    """Return expected results for n of the tree's samples, drawn without replacement.

    `accuracy`: the sample with the highest overall value (best-of-N). `majority_vote`: the most
    frequent answer. `weighted_vote`: the answer with the highest sum of overall values (weighted
    best-of-N, 2206.02336), estimated from `MAX_DRAWS` subsets unless an exact result is cheap.
    `coverage`: any of the n samples (pass@N). A tree with fewer than n samples has no result.
    """
    leaves = [leaf for leaf in tree.leaves() if leaf_result(leaf, ungraded) is not None]
    total = sum(leaf.count for leaf in leaves)
    if total < n:
        return ProcedureResult({}, None)
    leaves.sort(key=lambda leaf: (_negated(overall[leaf.path]), leaf.path))
    samples = samples_of(tree, ungraded)
    accuracies = {
        "accuracy": _first_is_correct(leaves, [], n, ungraded),
        "majority_vote": majority_at_k(samples, n),
        "weighted_vote": _weighted_vote(leaves, overall, n, ungraded, tree_id),
        "coverage": pass_at_k(samples, n),
    }
    return ProcedureResult(accuracies, n * _tokens_of_samples(tree, leaves) / total)


PROCEDURES: dict[str, Procedure] = {
    "beam": _searching(beam_search),
    "dvts": _searching(diverse_search),
    "best_of_n": best_of_n,
}
"""Beam search, diverse verifier tree search, and best-of-N over whole samples, by name."""


def _first_is_correct(
    ranked: Sequence[TreeNode], others: Sequence[TreeNode], n: int, ungraded: Ungraded
) -> Fraction:
    """Return the chance that the highest ranked of n samples is correct.

    If all n are from the unranked `others`, one correct sample is enough.
    """
    left = total = sum(leaf.count for leaf in (*ranked, *others))
    subsets = 0
    for leaf in ranked:
        if leaf_result(leaf, ungraded):
            # The subsets without earlier samples, minus those that lack this one too.
            subsets += comb(left, n) - comb(left - leaf.count, n)
        left -= leaf.count
    correct = sum(leaf.count for leaf in others if leaf_result(leaf, ungraded))
    subsets += comb(left, n) - comb(left - correct, n)
    return Fraction(subsets, comb(total, n))


def _weighted_vote(
    ranked: Sequence[TreeNode], overall: Overall, n: int, ungraded: Ungraded, tree_id: str
) -> Fraction:
    if _first_wins(ranked, overall, n):
        voters = [leaf for leaf in ranked if vote_of(leaf) is not None]
        silent = [leaf for leaf in ranked if vote_of(leaf) is None]
        return _first_is_correct(voters, silent, n, ungraded)
    beams = [Beam(leaf, overall[leaf.path]) for leaf in ranked for _ in range(leaf.count)]
    votes = [
        score_beams([beams[number] for number in chosen], ungraded)["weighted_vote"]
        for chosen in _subsets(len(beams), n, tree_id)
    ]
    return Fraction(sum(map(bool, votes)), len(votes))


def _first_wins(ranked: Sequence[TreeNode], overall: Overall, n: int) -> bool:
    """Return whether the answer of the first voter wins the vote of any n samples."""
    weights = [overall[leaf.path] or 0.0 for leaf in ranked]
    if n > 1 and any(first < second for first, second in pairwise(weights)):
        return False  # a path without a value is last, but its weight 0 is above a negative one
    votes = [vote_of(leaf) for leaf in ranked for _ in range(leaf.count)]
    votes = [vote for vote in votes if vote is not None]
    return n <= 2 or len(set(votes)) == len(votes)  # noqa: PLR2004  of a pair, the better


def _subsets(total: int, n: int, tree_id: str) -> Iterator[Sequence[int]]:
    """Yield all subsets of size n in ascending order, or a random `MAX_DRAWS` of them.

    Each tree gets its own random subsets. With the same subsets for all, every tree would use
    samples of the same ranks, and more trees would not reduce the error.
    """
    if comb(total, n) <= MAX_DRAWS:
        yield from combinations(range(total), n)
        return
    numbers = Random(f"{tree_id}/{n}")
    for _ in range(MAX_DRAWS):
        yield sorted(numbers.sample(range(total), n))


def _negated(value: float | None) -> float:
    return inf if value is None else -value


def _tokens_of_samples(tree: ReasoningTree, leaves: Sequence[TreeNode]) -> int:
    """Return the tokens of all samples, each from the root to its end."""
    return sum(
        leaf.count * sum(tree.nodes[leaf.path[:depth]].tokens for depth in range(1, leaf.depth + 1))
        for leaf in leaves
    )
