"""Figures about scorers, compared with slow code that follows their definitions."""

from itertools import pairwise, product
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forests.core.tree import Grade
from forests.core.values import estimate_values
from metrics.core.scorers.first_errors import NO_ERROR, best_threshold, first_below
from metrics.core.scorers.scorer_quality import ScorerQuality
from metrics.core.scorers.step_scores import auroc, calibration, roc_curve
from metrics.core.statistics.intervals import PairedGain
from tests.metrics.trees import coin_tree, grades_tree

RIGHT, WRONG = Grade.CORRECT, Grade.INCORRECT

judged = st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.booleans()), max_size=12)


def quality_of(*trees, score, **options):
    quality = ScorerQuality(**options)
    for tree in trees:
        values = {path: one.value for path, one in estimate_values(tree).items()}
        quality.add(tree, values, {n.path: score(values[n.path], n) for n in tree if n.path})
    return quality.as_dict()


@given(judged)
def test_auroc_is_the_share_of_pairs_in_the_right_order(steps):
    score = np.array([one for one, _ in steps], float)
    good = np.array([is_good for _, is_good in steps], bool)
    pairs = [
        (one > other) + (one == other) / 2
        for (one, is_good), (other, is_other_good) in product(steps, steps)
        if is_good and not is_other_good
    ]
    expected = sum(pairs) / len(pairs) if pairs else None
    found = auroc(score, good, np.ones(len(steps)))
    assert found == (None if expected is None else pytest.approx(expected))


@given(judged)
def test_the_area_under_the_drawn_curve_is_auroc(steps):
    score = np.array([one for one, _ in steps], float)
    good = np.array([is_good for _, is_good in steps], bool)
    points = roc_curve(score, good)
    found = auroc(score, good, np.ones(len(steps)))
    if found is None:
        assert points == []
    else:
        area = sum((x - x0) * (y + y0) / 2 for (x0, y0), (x, y) in pairwise(points))
        assert area == pytest.approx(found)


@given(st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=5), max_size=6), st.floats(0, 1))
def test_the_first_step_below_a_threshold(solutions, threshold):
    start = np.cumsum([0, *map(len, solutions)])[: len(solutions)].astype(int)
    scores = np.array([score for one in solutions for score in one], float)
    expected = [
        next((n for n, score in enumerate(one) if score < threshold), NO_ERROR) for one in solutions
    ]
    assert first_below(scores, start, threshold).tolist() == expected


def test_monte_carlo_values_as_scores_are_a_perfect_scorer():
    trees = [coin_tree(Random(number)) for number in range(20)]
    found = quality_of(*trees, score=lambda value, _: value)
    assert found["auroc"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    errors = found["first_error"]
    assert [errors[name]["value"] for name in ("wrong", "right", "f1")] == [1.0, 1.0, 1.0]
    assert all(0 < one <= 1 for one in errors["thresholds"])
    assert found["steps"] == sum(len(tree) - 1 for tree in trees)


def test_only_steps_with_score_and_value_and_graded_solutions_are_judged():
    tree = grades_tree(n0=RIGHT, n1=None, n2=WRONG)
    quality = ScorerQuality(ungraded="exclude")
    quality.add(tree, {(): 0.5, (0,): 1.0, (1,): None}, {(): 0.5, (0,): 1.0, (1,): 0.2})
    found = quality.as_dict()
    assert found["steps"] == 1
    assert found["first_error"]["solutions"] == 1


def test_a_scorer_by_lot_is_no_better_than_chance_and_a_turned_one_is_worst():
    trees = [coin_tree(Random(number)) for number in range(60)]
    lots = Random(1)
    by_lot = quality_of(*trees, score=lambda _value, _node: lots.random())["auroc"]
    assert by_lot["low"] < 0.5 < by_lot["high"]
    assert by_lot["high"] - by_lot["low"] < 0.15
    turned = quality_of(*trees, score=lambda value, _: -value)
    assert turned["auroc"]["value"] == 0.0


def test_the_first_error_of_a_solution_is_its_first_step_from_which_nothing_is_right():
    tree = grades_tree(n0_0_0=RIGHT, n0_0_1=WRONG, n0_1_0=WRONG, n1_0_0=WRONG)
    marks = {(0,): 0.9, (0, 0): 0.9, (0, 0, 0): 0.9, (0, 0, 1): 0.1, (0, 1): 0.2, (0, 1, 0): 0.9}
    marks |= {(1,): 0.9, (1, 0): 0.1, (1, 0, 0): 0.1}
    found = quality_of(tree, tree, score=lambda _, node: marks[node.path])["first_error"]
    assert (found["solutions"], found["wrong_solutions"]) == (8, 6)
    # In the wrong solution (1, 0, 0) the scorer misses the first step and names the second.
    assert found["wrong"]["value"] == pytest.approx(2 / 3)
    assert found["right"]["value"] == 1.0
    assert found["f1"]["value"] == pytest.approx(0.8)


def test_a_label_threshold_says_from_which_value_a_step_is_good():
    tree = grades_tree(n0_0=RIGHT, n0_1=WRONG, n1_0=WRONG, n1_1=WRONG)
    assert quality_of(tree, score=lambda v, _: v)["good_steps"] == 2
    assert quality_of(tree, score=lambda v, _: v, label_threshold=0.5)["good_steps"] == 1


def test_nothing_to_judge_gives_no_figure_and_no_error():
    found = ScorerQuality().as_dict()
    assert found["auroc"]["value"] is None
    assert found["first_error"]["f1"]["value"] is None
    assert found["calibration"] == []


def test_the_threshold_is_the_best_of_the_solutions_it_may_see():
    scores, start = np.array([0.9, 0.3, 0.9, 0.8]), np.array([0, 2])
    error = np.array([1, NO_ERROR])
    threshold = best_threshold(scores, start, error, np.array([True, True]))
    assert threshold is not None
    assert 0.3 < threshold <= 0.8
    assert best_threshold(scores, start, error, np.array([False, False])) is None


def test_calibration_has_tenths_of_the_steps():
    score = np.arange(20) / 20
    found = calibration(score, score**2)
    assert [one["steps"] for one in found] == [2] * 10
    assert found[0]["score"] == pytest.approx(0.025)
    assert found[9]["value"] == pytest.approx((0.9**2 + 0.95**2) / 2)


def test_a_gain_is_paired_by_tree():
    gain = PairedGain()
    for result, other in [(1.0, 0.0), (1.0, 1.0), (None, 1.0), (0.5, 0.0)]:
        gain.add(result, other)
    found = gain.figure()
    # Bonett and Price: one more pair at each end of the scale.
    pairs = [1.0, 0.0, 0.5, 1.0, -1.0]
    centre = sum(pairs) / 5
    half = 1.96 * (sum((one - centre) ** 2 for one in pairs) / 5 / 5) ** 0.5
    assert gain.trees == 3
    assert [found.value, found.low, found.high] == pytest.approx(
        [0.5, centre - half, centre + half], rel=1e-3
    )
    assert PairedGain().figure().value is None
