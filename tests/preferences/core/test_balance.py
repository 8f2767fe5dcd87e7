from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from preferences.core.balance import LengthBalance, kind_of
from preferences.core.pairing import Pair, Side
from preferences.core.statistics import PairStatistics, bin_of_margin

lengths = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), max_size=30)


def pair(chosen: int, rejected: int, margin: float = 0.5) -> Pair:
    return Pair((), "", Side((0,), "x" * chosen, margin, 1), Side((1,), "y" * rejected, 0.0, 1))


def kept_of(pairs, seed):
    balance = LengthBalance(Counter(map(kind_of, pairs)), seed)
    return [one for one in pairs if balance.keeps(one)]


@given(lengths, st.integers(0, 9))
def test_as_many_are_longer_as_shorter_and_no_more_go_than_must(sizes, seed):
    pairs = [pair(*one) for one in sizes]
    before, after = Counter(map(kind_of, pairs)), Counter(map(kind_of, kept_of(pairs, seed)))
    assert after[1] == after[-1] == min(before[1], before[-1])
    assert after[0] == before[0]
    assert kept_of(pairs, seed) == kept_of(pairs, seed)


def test_which_pairs_stay_is_drawn_and_not_the_first_ones():
    pairs = [pair(2, 1)] * 1 + [pair(1, 2 + n) for n in range(20)]
    kept = {len(kept_of(pairs, seed)[1].rejected.text) for seed in range(60)}
    assert len(kept) > 10


@given(lengths)
def test_statistics_are_those_of_the_pairs(sizes):
    statistics = PairStatistics()
    for chosen, rejected in sizes:
        statistics.add(pair(chosen, rejected))
    found = statistics.as_dict()
    assert found["pairs"] == len(sizes)
    assert found["chosen_longer"] == sum(one > other for one, other in sizes)
    assert sum(found["margins"]) == found["margins"][4] == len(sizes)
    if sizes:
        assert found["mean_chosen_characters"] == sum(one for one, _ in sizes) / len(sizes)


def test_margins_fall_into_tenths_that_hold_their_upper_end():
    assert [bin_of_margin(m) for m in (1e-9, 0.1, 0.1 + 1e-3, 0.3, 0.7 - 0.2, 1.0)] == [
        0, 0, 1, 2, 4, 9,
    ]  # fmt: skip
