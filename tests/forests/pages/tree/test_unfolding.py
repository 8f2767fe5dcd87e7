"""Which rows a page of a large tree holds."""

from hypothesis import given
from hypothesis import strategies as st

from forests.core.tree import NodePath, ReasoningTree
from forests.pages.tree.unfolding import CHUNK, Gap, chunked, unfolded
from tests.forests.core.strategies import trees


def children(tree: ReasoningTree):
    return lambda path: [child.path for child in tree.children(path)]


@given(trees(), st.integers(0, 60), st.integers(0, 60))
def test_what_is_opened_hangs_together_within_the_number_of_rows(tree, at_most, number):
    last = sorted(tree.nodes)[number % len(tree)]
    first = {last[:depth] for depth in range(1, len(last) + 1)}
    below = children(tree)
    opened = unfolded(below, (), first=first, wanted=None, at_most=at_most)
    assert first | {()} <= opened
    assert all(path[:-1] in opened for path in opened if path)
    asked_for = sum(len(below(path)) for path in first | {()})
    assert sum(len(below(path)) for path in opened) <= max(at_most, asked_for)


@given(trees())
def test_levels_are_opened_one_after_the_other(tree: ReasoningTree):
    below = children(tree)
    opened = unfolded(below, (), first=set(), wanted=None, at_most=len(tree) // 2)
    inner = [path for path in tree.nodes if below(path)]
    closed = [len(path) for path in inner if path not in opened]
    assert all(len(path) <= min(closed) for path in opened if closed)


@given(trees(), st.integers(1, 40))
def test_nothing_is_opened_that_is_not_wanted(tree, number):
    wanted = set(sorted(tree.nodes)[:number])
    opened = unfolded(children(tree), (), first=set(), wanted=wanted, at_most=1000)
    assert opened - {()} <= wanted


def items(number: int) -> list[NodePath]:
    return [(4, index) for index in range(number)]


@given(st.integers(0, 5 * CHUNK), st.sets(st.integers(0, 5 * CHUNK), max_size=3))
def test_rows_and_gaps_make_up_all_children_in_order(number, places):
    first = {(4, place) for place in places if place < number}
    parts = list(chunked(items(number), first))
    told: list[int] = []
    for part in parts:
        told += range(part.start, part.stop) if isinstance(part, Gap) else [part[1]]
    assert told == list(range(number))
    shown = {part for part in parts if not isinstance(part, Gap)}
    assert first <= shown
    assert len(shown) <= CHUNK * (1 + len(first))


def test_a_gap_is_filled_chunk_by_chunk():
    below = items(350)
    *rows, gap = chunked(below, frozenset())
    assert rows == below[:CHUNK]
    assert gap == Gap((4,), CHUNK, 350, (4, CHUNK))
    *rows, rest = chunked(below, frozenset(), start=gap.start, stop=gap.stop)
    assert rows == below[CHUNK : 2 * CHUNK]
    assert len(rest) == 150
    assert list(chunked(below, frozenset(), start=200, stop=220)) == below[200:220]
