"""The list of pairs that fit a filter, whatever is on the pages that it searches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preferences.models import PAIRS_PER_PAGE, ReviewState
from preferences.pages import pair_list as listing
from preferences.pages.pair_list import PAGES_LOOKED_AT, PairFilter, PairFilterError, _searched

PAGES = st.lists(st.integers(0, PAIRS_PER_PAGE), min_size=1, max_size=300)


@pytest.fixture(autouse=True, scope="module")
def _ids_for_pairs():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "_pairs", lambda ids: ids)
        yield


def ids_on(numbers: list[int]) -> dict[int, list[str]]:
    return {page: [f"{page}.{i}" for i in range(number)] for page, number in enumerate(numbers)}


@given(PAGES, st.integers(1, 30))
def test_whoever_follows_next_sees_every_pair_that_fits_once(numbers, pages_per_read):
    pages = ids_on(numbers)
    read: list[int] = []

    def matches(wanted: range) -> dict[int, list[str]]:
        read.extend(wanted)
        return {page: pages[page] for page in wanted if pages[page]}

    found: list[str] = []
    page: int | None = 1
    while page is not None:
        read.clear()
        one = _searched(matches, page, len(numbers), pages_per_read)
        assert len(one.pairs) <= PAIRS_PER_PAGE
        assert len(read) <= PAGES_LOOKED_AT
        if one.is_limited:
            assert len(one.pairs) < PAIRS_PER_PAGE
            assert len(read) == PAGES_LOOKED_AT
        assert one.next_page is None or one.next_page > page
        found += map(str, one.pairs)
        page = one.next_page
    assert found == [id_ for ids in pages.values() for id_ in ids]


def test_a_filter_reads_what_it_writes():
    wanted = PairFilter(min_margin=0.25, depth=3, state=ReviewState.OPEN)
    parameters = dict(part.split("=") for part in wanted.query.split("&"))
    assert PairFilter.read(parameters) == wanted
    assert PairFilter.read({}).is_empty
    assert PairFilter().query == ""


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"min_margin": "much"}, "no margin 'much': give a number from 0 to 1"),
        ({"min_margin": "-0.1"}, "no margin '-0.1': give a number from 0 to 1"),
        ({"depth": "1.5"}, "no depth '1.5': give a whole number from 0"),
        (
            {"review": "maybe"},
            "unknown review state 'maybe': use open, accepted, rejected",
        ),
    ],
)
def test_what_means_nothing_is_refused_with_what_there_is(parameters, message):
    with pytest.raises(PairFilterError) as caught:
        PairFilter.read(parameters)
    assert str(caught.value) == message
