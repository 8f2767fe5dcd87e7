"""The benchmark of confidences, in short: pairs are right at least as often as they claim."""

from random import Random

import pytest

from benchmarks.calibration import POLICIES, Found, grown, judge, picture

DIFFERENT = "siblings differ much (s = 1)"


def found(policy: str, branching: tuple[int, ...], num_trees: int = 120) -> Found:
    random, pairs = Random(policy), Found()
    judge([grown(random, branching, POLICIES[policy]) for _ in range(num_trees)], pairs)
    return pairs


@pytest.mark.parametrize("branching", [(4, 2, 1), (4, 2, 2, 1), (32,)])
@pytest.mark.parametrize("level", [0.6, 0.8, 0.9])
def test_sure_pairs_are_right_as_often_as_they_say(branching, level):
    sure = [right for chance, right in found(DIFFERENT, branching).model if chance >= level]
    assert len(sure) > 20
    assert sum(sure) / len(sure) >= level


@pytest.mark.parametrize("branching", [(4, 2, 1), (4, 2, 2, 1), (4, 8, 1), (32,)])
def test_equally_good_steps_are_hardly_ever_sure_although_the_naive_confidence_is(branching):
    pairs = found("equal siblings", branching)
    sure = [chance for chance, _ in pairs.model if chance >= 0.6]
    naive = [chance for chance, _ in pairs.naive if chance >= 0.6]
    assert len(sure) <= len(pairs.model) / 100
    assert len(naive) > len(pairs.naive) / 10


def test_the_plot_is_a_picture():
    assert picture([found(DIFFERENT, (4, 8, 1), 40)]).startswith(b"\x89PNG")
