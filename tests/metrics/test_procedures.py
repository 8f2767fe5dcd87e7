"""Search procedures against slow implementations written from the papers' definitions."""

from collections import defaultdict
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forests.core.tree import Grade, NodePath, ReasoningTree
from metrics.core.accuracy import ACCURACIES
from metrics.core.aggregation import AGGREGATIONS
from metrics.core.beam_search import Overall, overall_values
from metrics.core.procedures import PROCEDURES, best_of_n
from metrics.core.values import estimate_values
from tests.metrics.trees import grades_tree, leaf, tree_of, trees

RIGHT, WRONG = Grade.CORRECT, Grade.INCORRECT


def drawn_overall(tree: ReasoningTree, numbers) -> dict[NodePath, float | None]:
    order = list(tree.nodes)
    numbers.shuffle(order)
    return {path: (place + 1) / len(order) for place, path in enumerate(order)}


def samples(tree: ReasoningTree, overall: Overall) -> list[tuple[bool, str | None, float | None]]:
    """Return whether each sample is right, its answer and its value, with nothing clever."""
    found = []
    for node in tree.nodes.values():
        if not tree.children(node.path) and (node.terminal or node.truncated):
            if node.grade is Grade.UNCOMPARED and not node.truncated:
                continue
            is_right = node.grade is RIGHT and not node.truncated
            answer = None if node.truncated else node.answer
            found += [(is_right, answer, overall[node.path])] * node.count
    return found


@given(trees(), st.integers(1, 4), st.randoms(use_true_random=False))
def test_best_of_n_is_the_mean_over_all_subsets_of_n_samples(tree, n, numbers):
    overall = drawn_overall(tree, numbers)
    subsets = list(combinations(samples(tree, overall), n))

    found = best_of_n(tree, overall, n, "incorrect")

    if not subsets:
        assert found == ({}, None)
        return
    best = [max(subset, key=lambda sample: sample[2])[0] for subset in subsets]
    covered = [any(is_right for is_right, _, _ in subset) for subset in subsets]
    assert found.accuracies["accuracy"] == pytest.approx(sum(best) / len(subsets))
    assert found.accuracies["coverage"] == pytest.approx(sum(covered) / len(subsets))


def test_weighted_best_of_n_is_the_mean_over_all_subsets_where_they_are_few():
    tree = tree_of(
        leaf((0,), RIGHT), leaf((1,), WRONG), leaf((2,), WRONG), leaf((3,), WRONG, answer="7")
    )
    overall: Overall = {(0,): 0.8, (1,): 0.3, (2,): 0.4, (3,): 0.6}
    right = 0
    subsets = list(combinations(samples(tree, overall), 3))
    for subset in subsets:
        weights: dict[str, float] = defaultdict(float)
        for _, answer, value in subset:
            weights[str(answer)] += value or 0.0
        right += max(weights, key=lambda answer: weights[answer]) == "1"

    found = best_of_n(tree, overall, 3, "incorrect")

    assert 0 < right < len(subsets)
    assert found.accuracies["weighted_vote"] == pytest.approx(right / len(subsets))


def test_where_subsets_are_many_the_weighted_vote_is_estimated_from_always_the_same():
    tree = tree_of(leaf((0,), RIGHT, count=6), leaf((1,), WRONG, count=6))
    overall: Overall = {(0,): 0.7, (1,): 0.4}

    first, second = (best_of_n(tree, overall, 5, "incorrect") for _ in range(2))

    # With two or more of five samples the right answer wins: all but 6 + 6 * 15 of 792 subsets.
    assert first.accuracies["weighted_vote"] == pytest.approx(1 - (6 + 90) / 792, abs=0.12)
    assert first == second


def test_tokens_of_best_of_n_are_those_of_n_whole_samples():
    tree = grades_tree(n0_0=RIGHT, n0_1=WRONG, n1_0=WRONG, n1_1=WRONG)
    for node in tree:
        node.tokens = 10 if node.depth == 1 else 30

    assert best_of_n(tree, {}, 2, "incorrect").tokens == 2 * 40


@given(trees(all_finished=True), st.sampled_from(sorted(PROCEDURES)), st.integers(1, 5))
def test_every_procedure_gives_chances_and_no_choice_beats_its_coverage(tree, name, n):
    overall = overall_values(
        tree,
        {path: value for path, (value, _) in estimate_values(tree).items()},
        AGGREGATIONS["last"],
    )

    found = PROCEDURES[name](tree, overall, n, "incorrect").accuracies

    assert not found or set(found) == set(ACCURACIES)
    for accuracy, chance in found.items():
        assert chance is not None
        assert 0 <= chance <= 1
        is_estimate = (name, accuracy) == ("best_of_n", "weighted_vote")
        assert is_estimate or chance <= (found["coverage"] or 0.0) + 1e-9


@given(trees(all_finished=True), st.integers(1, 4))
def test_coverage_of_samples_never_falls_with_n(tree, n):
    fewer, more = (best_of_n(tree, {}, number, "incorrect") for number in (n, n + 1))
    if more.tokens is not None:
        assert fewer.tokens is not None
        assert more.tokens >= fewer.tokens
        assert (more.accuracies["coverage"] or 0) >= (fewer.accuracies["coverage"] or 0) - 1e-9
