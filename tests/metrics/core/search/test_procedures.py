"""Search procedures, compared with slow code that follows the papers' definitions."""

from collections import defaultdict
from fractions import Fraction
from itertools import combinations
from math import sqrt
from random import Random
from statistics import mean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forests.core.tree import ROOT, Grade, NodePath, ReasoningTree
from forests.core.values import estimate_values
from metrics.core.search.accuracy import ACCURACIES, score_beams
from metrics.core.search.aggregation import AGGREGATIONS
from metrics.core.search.beam_search import Beam, Overall, OverallValues
from metrics.core.search.procedures import PROCEDURES, best_of_n
from tests.metrics.trees import grades_tree, leaf, tree_of, trees

RIGHT, WRONG = Grade.CORRECT, Grade.INCORRECT
NO_VALUES = OverallValues({}, max)


def drawn_overall(tree: ReasoningTree, numbers) -> dict[NodePath, float | None]:
    order = list(tree.nodes)
    numbers.shuffle(order)
    return {path: (place + 1) / len(order) for place, path in enumerate(order)}


def samples(tree: ReasoningTree, overall: Overall) -> list[tuple[bool, str | None, float | None]]:
    """Return whether each sample is right, its answer and its value, in the simplest way."""
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

    found = best_of_n(tree, overall, n, "incorrect", "t")

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

    found = best_of_n(tree, overall, 3, "incorrect", "t")

    assert 0 < right < len(subsets)
    assert found.accuracies["weighted_vote"] == pytest.approx(right / len(subsets))


def test_where_subsets_are_many_they_follow_from_the_tree_and_differ_between_trees():
    tree = tree_of(leaf((0,), RIGHT, count=6), leaf((1,), WRONG, count=6))
    overall: Overall = {(0,): 0.7, (1,): 0.4}

    first, second = (best_of_n(tree, overall, 5, "incorrect", "f/1") for _ in range(2))
    others = {
        best_of_n(tree, overall, 5, "incorrect", f"f/{n}").accuracies["weighted_vote"]
        for n in range(20)
    }

    # With two or more of five samples the right answer wins: all but 6 + 6 * 15 of 792 subsets.
    assert first.accuracies["weighted_vote"] == pytest.approx(1 - (6 + 90) / 792, abs=0.12)
    assert first == second
    assert len(others) > 1


def enumerated_vote(tree: ReasoningTree, overall: Overall, n: int) -> float:
    """Return the share of all subsets of n samples in which the highest sum of values is right."""
    subsets = list(combinations(samples(tree, overall), n))
    right = 0
    for subset in subsets:
        weights: dict[str, float] = defaultdict(float)
        for _, answer, value in subset:
            weights[str(answer)] += value or 0.0
        right += max(weights, key=lambda answer: weights[answer]) == "1"
    return right / len(subsets)


@pytest.mark.parametrize("n", [3, 4])
def test_the_error_of_the_weighted_vote_vanishes_over_many_trees(n):
    """If all trees used subsets of the same ranks, their errors would not cancel out."""
    numbers = Random(5)
    errors = []
    for index in range(300):
        grades = [(RIGHT if numbers.random() < 0.5 else WRONG) for _ in range(12)]
        tree = tree_of(
            *(
                leaf((place,), grade, answer="1" if grade is RIGHT else numbers.choice("23"))
                for place, grade in enumerate(grades)
            )
        )
        overall: Overall = {
            (place,): 0.2 * (grade is RIGHT) + 0.8 * numbers.random() + 1e-6
            for place, grade in enumerate(grades)
        }
        found = best_of_n(tree, overall, n, "incorrect", f"forest/{index:07d}")
        errors.append(
            float(found.accuracies["weighted_vote"] or 0) - enumerated_vote(tree, overall, n)
        )

    assert any(errors)  # it is an estimate
    assert abs(mean(errors)) < 3 * stdev(errors) / sqrt(len(errors))


@given(trees(), st.sampled_from(["incorrect", "exclude"]), st.randoms(use_true_random=False))
def test_of_one_sample_every_way_to_choose_is_right_as_often_as_samples_are(
    tree, ungraded, numbers
):
    found = best_of_n(tree, drawn_overall(tree, numbers), 1, ungraded, "t").accuracies

    share = estimate_values(tree, "leaf_mean", ungraded)[ROOT].value
    assert all(accuracy == pytest.approx(share) for accuracy in found.values())


@given(trees(all_finished=True), st.randoms(use_true_random=False))
def test_of_all_samples_the_weighted_vote_is_that_of_the_one_subset(tree, numbers):
    overall = drawn_overall(tree, numbers)
    total = len(samples(tree, overall))
    beams = [
        Beam(node, overall[node.path])
        for node in sorted(tree.leaves(), key=lambda node: -(overall[node.path] or 0))
        for _ in range(node.count)
    ]

    found = best_of_n(tree, overall, total, "incorrect", "t").accuracies

    assert found["weighted_vote"] == score_beams(beams, "incorrect")["weighted_vote"]


@pytest.mark.parametrize("n", [2, 5, 30])
def test_where_all_answers_differ_the_weighted_vote_is_the_best_sample(n):
    numbers = Random(n)
    tree = tree_of(
        *(leaf((place,), numbers.choice((RIGHT, WRONG)), answer=str(place)) for place in range(60))
    )

    found = best_of_n(tree, drawn_overall(tree, numbers), n, "incorrect", "t").accuracies

    assert found["weighted_vote"] == found["accuracy"]


@given(trees(all_finished=True), st.randoms(use_true_random=False))
def test_of_a_pair_the_better_sample_wins_however_many_samples_there_are(tree, numbers):
    overall = drawn_overall(tree, numbers)
    pairs = [
        score_beams([Beam(node, overall[node.path]) for node in pair], "incorrect")["weighted_vote"]
        for pair in combinations(
            [
                node
                for node in sorted(tree.leaves(), key=lambda node: -(overall[node.path] or 0))
                for _ in range(node.count)
            ],
            2,
        )
    ]

    found = best_of_n(tree, overall, 2, "incorrect", "t").accuracies

    assert found.get("weighted_vote") == (
        Fraction(sum(map(bool, pairs)), len(pairs)) if pairs else None
    )


def test_a_path_without_a_value_outweighs_a_negative_score():
    tree = tree_of(leaf((0,), WRONG, answer="7"), leaf((1,), RIGHT), leaf((2,), RIGHT, answer="8"))
    overall: Overall = {(0,): -1.0, (1,): None, (2,): -2.0}

    found = best_of_n(tree, overall, 2, "incorrect", "t").accuracies

    assert found["weighted_vote"] == Fraction(2, 3)  # right in (0, 1) and (1, 2), wrong in (0, 2)


def test_tokens_of_best_of_n_are_those_of_n_whole_samples():
    tree = grades_tree(n0_0=RIGHT, n0_1=WRONG, n1_0=WRONG, n1_1=WRONG)
    for node in tree:
        node.tokens = 10 if node.depth == 1 else 30

    assert best_of_n(tree, NO_VALUES, 2, "incorrect", "t").tokens == 2 * 40


@given(trees(all_finished=True), st.sampled_from(sorted(PROCEDURES)), st.integers(1, 5))
def test_every_procedure_gives_chances_and_no_choice_beats_its_coverage(tree, name, n):
    overall = OverallValues(
        {path: value for path, (value, _) in estimate_values(tree).items()},
        AGGREGATIONS["last"],
    )

    found = PROCEDURES[name](tree, overall, n, "incorrect", "t").accuracies

    assert not found or set(found) == set(ACCURACIES)
    for accuracy, chance in found.items():
        assert chance is not None
        assert 0 <= chance <= 1
        is_estimate = (name, accuracy) == ("best_of_n", "weighted_vote")
        assert is_estimate or chance <= (found["coverage"] or 0.0) + 1e-9


@given(trees(all_finished=True), st.integers(1, 4))
def test_coverage_of_samples_never_falls_with_n(tree, n):
    fewer, more = (best_of_n(tree, NO_VALUES, number, "incorrect", "t") for number in (n, n + 1))
    if more.tokens is not None:
        assert fewer.tokens is not None
        assert more.tokens >= fewer.tokens
        assert (more.accuracies["coverage"] or 0) >= (fewer.accuracies["coverage"] or 0) - 1e-9
