"""Paired comparison of two results, against slow definitions and true differences."""

from array import array
from math import isnan, nan
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.core.comparing.item_results import ItemResults, item_digest, shared_positions
from metrics.core.comparing.paired import change_of, disagreements, paired
from metrics.core.statistics.intervals import Figure, PairedGain

ITEMS = st.lists(st.sampled_from([b"a", b"b", b"c", b"d"]), max_size=12)
NUMBERS = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, nan])


def bounds(figure: Figure) -> tuple[float, float]:
    assert figure.low is not None
    assert figure.high is not None
    return figure.low, figure.high


@given(first=ITEMS, other=ITEMS)
def test_each_item_is_paired_once_with_the_same_item(first: list[bytes], other: list[bytes]):
    shared = shared_positions(first, other)

    assert all(first[one] == other[two] for one, two in shared)
    for side in zip(*shared, strict=True):
        assert len(set(side)) == len(shared)
    for item in set(first) | set(other):
        here = sum(first[one] == item for one, _ in shared)
        assert here == min(first.count(item), other.count(item))
    assert shared == sorted(shared)


def test_an_item_is_known_by_its_text_and_its_label():
    digests = {item_digest(*one) for one in [("a", "b"), ("ab", ""), ("", "ab"), ("a", "c")]}

    assert len(digests) == 4
    assert item_digest("a", "b") == item_digest("a", "b")


@given(pairs=st.lists(st.tuples(NUMBERS, NUMBERS), max_size=30))
def test_the_figures_are_over_the_items_with_two_results(pairs: list[tuple[float, float]]):
    first, other = ([pair[side] for pair in pairs] for side in (0, 1))
    shared = [(place, place) for place in range(len(pairs))]
    known = [(a, b) for a, b in pairs if not isnan(a) and not isnan(b)]

    found = paired(first, other, shared)

    assert found.items == len(known)
    assert found.without_result == len(pairs) - len(known)
    assert found.gained == sum(a < 0.5 < b for a, b in known)
    assert found.lost == sum(b < 0.5 < a for a, b in known)
    assert found.gained + found.lost == len(list(disagreements(first, other, shared)))
    if not known:
        assert found.difference.value is found.first is None
        return
    mean = sum(b - a for a, b in known) / len(known)
    assert found.difference.value == pytest.approx(mean, abs=1e-9)
    assert found.first is not None
    assert found.other is not None
    assert found.other - found.first == pytest.approx(mean, abs=1e-9)
    low, high = bounds(found.difference)
    assert -1 <= low < high <= 1
    assert low - 1e-9 <= mean <= high + 1e-9
    assert found.is_decided == (low > 0 or high < 0)


def test_exactly_half_is_neither_right_nor_wrong():
    changes = [change_of(*pair) for pair in [(0.5, 1.0), (0.0, 0.5), (0.4, 0.6), (1.0, 0.0)]]

    assert changes == [None, None, "gained", "lost"]


@pytest.mark.parametrize("items", [8, 40, 200])
def test_the_interval_holds_the_true_difference_in_95_of_100_cases(items: int):
    """The usual interval is too short for few items and rare changes."""
    numbers = Random(items)
    gains, losses, runs = 0.15, 0.05, 2000
    held = 0
    for _ in range(runs):
        gain = PairedGain()
        for _ in range(items):
            chance = numbers.random()
            gain.add(float(chance < gains), float(gains <= chance < gains + losses))
        low, high = bounds(gain.figure())
        held += low <= gains - losses <= high

    assert held / runs >= 0.94


def test_merged_results_are_those_of_all_trees():
    parts = []
    for start in (0, 2):
        part: ItemResults[str] = ItemResults()
        for tree in (start, start + 1):
            part.add_item(item_digest(f"item {tree}", ""), tree)
            part.add_number("row", None if tree == 1 else tree / 4)
        parts.append(part)

    parts[0].merge(parts[1])

    assert parts[0].trees == array("L", range(4))
    assert [round(one, 2) for one in parts[0].numbers["row"] if not isnan(one)] == [0, 0.5, 0.75]
    assert len(set(parts[0].items)) == 4
