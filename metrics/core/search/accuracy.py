"""Correctness of the answer that the beams of one tree give."""

from collections.abc import Sequence

from forests.core.tree import TreeNode
from forests.core.values import Ungraded, leaf_result
from forests.core.voting import counted_answer
from metrics.core.search.beam_search import Beam

ACCURACIES = ("accuracy", "majority_vote", "weighted_vote", "coverage")
"""Keys of `score_beams`."""


def score_beams(beams: Sequence[Beam], ungraded: Ungraded) -> dict[str, bool | None]:
    """Return whether each way to choose an answer is correct; None if it has no result.

    `accuracy`: the top beam. `majority_vote`: the answer that most beams give. `weighted_vote`: the
    answer whose beams have the highest sum of overall values. `coverage`: any beam. Beams must be
    sorted, best first; ties go to the answer of the better beam.
    """
    results = [leaf_result(beam.leaf, ungraded) for beam in beams]
    return {
        "accuracy": results[0] if results else None,
        "majority_vote": _vote(beams, results, [1.0] * len(beams)),
        "weighted_vote": _vote(beams, results, [beam.value or 0.0 for beam in beams]),
        "coverage": _any(results),
    }


def vote_of(leaf: TreeNode) -> str | None:
    """Return the answer that a leaf votes for; None if it has no answer or is truncated."""
    return None if leaf.truncated else counted_answer(leaf)


def _vote(
    beams: Sequence[Beam], results: Sequence[bool | None], weights: Sequence[float]
) -> bool | None:
    votes: dict[str, float] = {}
    result_of: dict[str, bool] = {}
    for beam, result, weight in zip(beams, results, weights, strict=True):
        answer = vote_of(beam.leaf)
        if answer is not None and result is not None:
            votes[answer] = votes.get(answer, 0.0) + weight
            result_of.setdefault(answer, result)
    if not votes:
        return _any(results)  # no leaf votes: incorrect, or no result if no leaf has one
    return result_of[max(votes, key=lambda answer: votes[answer])]


def _any(results: Sequence[bool | None]) -> bool | None:
    known = [result for result in results if result is not None]
    return any(known) if known else None
