"""Rankings of siblings say exactly what the pairs of their prefix say."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from preferences.core.pairing import Pair, Side
from preferences.core.ranking import rankings


def sides_of(*values: float) -> list[Side]:
    return [Side((n,), f"step {n}", value, 1) for n, value in enumerate(values)]


def pair_of(chosen: Side, rejected: Side) -> Pair:
    return Pair((), "", chosen, rejected)


def ranked(pairs: list[Pair]) -> list[list[list[float]]]:
    return [[[side.value for side in tie] for tie in ranking] for ranking in rankings(pairs)]


def test_all_pairs_of_siblings_are_one_row():
    best, middle, worst = sides_of(1.0, 0.5, 0.0)
    pairs = [pair_of(best, middle), pair_of(best, worst), pair_of(middle, worst)]
    assert ranked(pairs) == [[[1.0], [0.5], [0.0]]]


def test_adjacent_pairs_are_one_row_because_better_than_better_is_better():
    best, middle, worst = sides_of(1.0, 0.5, 0.0)
    assert ranked([pair_of(middle, worst), pair_of(best, middle)]) == [[[1.0], [0.5], [0.0]]]


def test_siblings_that_no_pair_compares_are_a_tie_though_their_values_differ():
    best, good, worst = sides_of(1.0, 0.9, 0.0)
    pairs = [pair_of(best, worst), pair_of(good, worst)]
    assert ranked(pairs) == [[[1.0, 0.9], [0.0]]]


def test_a_pair_inside_a_tie_is_a_row_of_its_own():
    """The second is better than the fourth, but nobody compared the third with either."""
    a, b, c, d = sides_of(1.0, 0.8, 0.6, 0.4)
    pairs = [pair_of(a, b), pair_of(a, c), pair_of(a, d), pair_of(b, d)]
    assert ranked(pairs) == [[[1.0], [0.8, 0.6, 0.4]], [[0.8], [0.4]]]


def test_without_pairs_there_is_no_row():
    assert rankings([]) == []


@given(st.data())
def test_rows_say_every_pair_and_nothing_that_does_not_follow_from_pairs(data):
    values = data.draw(st.lists(st.integers(0, 5), min_size=2, max_size=6))
    sides = sides_of(*(value / 5 for value in values))
    possible = [
        pair_of(one, other) if one.value > other.value else pair_of(other, one)
        for one, other in combinations(sides, 2)
        if one.value != other.value
    ]
    pairs = data.draw(st.lists(st.sampled_from(possible), unique=True)) if possible else []
    said = [
        (above, below)
        for ranking in rankings(pairs)
        for upper, lower in combinations(ranking, 2)
        for above in upper
        for below in lower
    ]
    follows = {(pair.chosen, pair.rejected) for pair in pairs}
    while more := {(a, d) for a, b in follows for c, d in follows if b == c} - follows:
        follows |= more
    assert {(pair.chosen, pair.rejected) for pair in pairs} <= set(said) <= follows
