"""The pairs on one page, with and without filters: the same work in a set of any size.

Margin and depth have no index: they are looked for page by page, through a bounded number of
pages, and the list says where it stopped. Pairs that were reviewed are listed by their reviews.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeAlias
from urllib.parse import urlencode

from forests.requests import read_number
from forests.store import Document, collection
from preferences.models import (
    PAIRS_PER_PAGE,
    Preference,
    PreferenceSet,
    ReviewState,
    number_of_page,
    page_key,
)
from preferences.reviews import review_id, reviewed_trees, states_in
from preferences.store import pairs_by_tree, read_page

PAGES_LOOKED_AT = 200
"""Pages that a filtered list goes through at most before it offers to go on."""
_PAGES_PER_READ = 20

_SEARCHED_FIELDS = (
    "page_key", "tree_index", "margin", "depth", "tree_key", "chosen_id", "rejected_id",
)  # fmt: skip


class FilterError(ValueError):
    """An address asks for pairs in a way that there is not; the message says which there are."""


@dataclass(frozen=True, kw_only=True)
class PairFilter:
    """Which pairs are shown."""

    min_margin: float = 0.0
    depth: int | None = None
    """Of the prefix."""
    state: ReviewState | None = None

    @classmethod
    def read(cls, parameters: Mapping[str, str]) -> "PairFilter":
        """Return what the parameters of an address ask for.

        Raises:
            FilterError: a value is none of those there are.
        """
        margin, depth, state = (
            parameters.get(name, "").strip() for name in ("min_margin", "depth", "review")
        )
        if state and state not in ReviewState.values:
            known = ", ".join(ReviewState.values)
            raise FilterError(f"no pair is {state[:40]!r} by its review: they are {known}")
        return cls(
            min_margin=_margin(margin) if margin else 0.0,
            depth=_depth(depth) if depth else None,
            state=ReviewState(state) if state else None,
        )

    @property
    def is_empty(self) -> bool:
        return self == PairFilter()

    @property
    def query(self) -> str:
        """The filter as a part of an address."""
        given: dict[str, Any] = {}
        if self.min_margin:
            given["min_margin"] = f"{self.min_margin:g}"
        if self.depth is not None:
            given["depth"] = self.depth
        if self.state is not None:
            given["review"] = str(self.state)
        return urlencode(given)

    def matches(self, pair: Document) -> bool:
        """Return whether a document's margin and depth are as asked."""
        return bool(pair["margin"] >= self.min_margin and self.depth in (None, pair["depth"]))


@dataclass(frozen=True, kw_only=True)
class PairPage:
    """Some pairs, and where the list goes on; pages begin with 1."""

    pairs: list[Preference]
    page: int
    """The first page that was looked at."""
    num_pages: int
    next_page: int | None = None
    is_limited: bool = False
    """Whether the list stopped at `PAGES_LOOKED_AT` before it was full."""


def num_pages(preference_set: PreferenceSet) -> int:
    return max(1, -(-preference_set.num_pairs // PAIRS_PER_PAGE))


def list_pairs(preference_set: PreferenceSet, wanted: PairFilter, page: int) -> PairPage:
    """Return the pairs of a page, or those that a filter finds from it on."""
    pages = num_pages(preference_set)
    if wanted.is_empty:
        following = page + 1 if page < pages else None
        pairs = read_page(preference_set, page - 1)
        return PairPage(pairs=pairs, page=page, num_pages=pages, next_page=following)
    state = wanted.state
    if state in (ReviewState.ACCEPTED, ReviewState.REJECTED):
        return _searched(_reviewed(preference_set, wanted, state, page - 1), page, pages)
    return _searched(_stored(preference_set, wanted, page - 1), page, pages)


_LookedAt: TypeAlias = Iterator[tuple[int, list[str]]]
"""Yields the number of each page looked at, the first is 0, and the ids of the pairs that fit."""


def _searched(looked_at: _LookedAt, page: int, pages: int) -> PairPage:
    """Take whole pages until the list is full or enough was looked at.

    Whole ones only, so that the next list begins where this one ended.
    """
    found: list[str] = []
    for looked, (number, here) in enumerate(looked_at):
        is_full = len(found) + len(here) > PAIRS_PER_PAGE or len(found) == PAIRS_PER_PAGE
        is_enough = looked == PAGES_LOOKED_AT
        if is_full or is_enough:
            return PairPage(
                pairs=_pairs(found),
                page=page,
                num_pages=pages,
                next_page=number + 1,
                is_limited=is_enough and len(found) < PAIRS_PER_PAGE,
            )
        found += here
    return PairPage(pairs=_pairs(found), page=page, num_pages=pages)


def _stored(preference_set: PreferenceSet, wanted: PairFilter, first: int) -> _LookedAt:
    """Look among all pairs of a set, from a page on."""
    pages = num_pages(preference_set)
    for start in range(first, pages, _PAGES_PER_READ):
        numbers = range(start, min(pages, start + _PAGES_PER_READ))
        keys = [page_key(preference_set.id, number) for number in numbers]
        read = collection(Preference).find(
            {"page_key": {"$in": keys}}, dict.fromkeys(_SEARCHED_FIELDS, 1)
        )
        pairs = [pair for pair in read if wanted.matches(pair)]
        if wanted.state is ReviewState.OPEN:
            states = states_in(preference_set, (pair["tree_index"] for pair in pairs))
            judged = {id_ for id_, state in states.items() if state != ReviewState.OPEN}
            pairs = [pair for pair in pairs if review_id(pair) not in judged]
        found: defaultdict[str, list[str]] = defaultdict(list)
        for pair in pairs:
            found[pair["page_key"]].append(pair["_id"])
        yield from ((number, found[key]) for number, key in zip(numbers, keys, strict=True))


def _reviewed(
    preference_set: PreferenceSet, wanted: PairFilter, state: ReviewState, first: int
) -> _LookedAt:
    """Look among the pairs with these reviews, from a page on; pages without one are passed by."""
    pairs = _reviewed_pairs(preference_set, state, first)
    for number, on_page in groupby(pairs, key=lambda pair: number_of_page(pair["page_key"])):
        if number >= first:
            yield number, [pair["_id"] for pair in on_page if wanted.matches(pair)]


def _reviewed_pairs(
    preference_set: PreferenceSet, state: ReviewState, first: int
) -> Iterator[Document]:
    """Yield the pairs with these reviews in the order of the set, from the trees of a page on."""
    begin = min((pair.tree_index for pair in read_page(preference_set, first)), default=0)
    for reviews in reviewed_trees(preference_set, state, begin):
        by_tree = pairs_by_tree(preference_set, list(reviews))
        for index, ids in reviews.items():
            yield from (pair for pair in by_tree.get(index, ()) if review_id(pair) in ids)


def _pairs(ids: list[str]) -> list[Preference]:
    found = Preference.objects.filter(pk__in=ids)
    return sorted(found, key=lambda one: (one.tree_index, one.number))


def _margin(text: str) -> float:
    try:
        margin = float(text)
    except ValueError:
        margin = -1.0
    if not 0 <= margin <= 1:
        raise FilterError(f"no margin is {text[:40]!r}: they are numbers from 0 to 1")
    return margin


def _depth(text: str) -> int:
    if (depth := read_number(text)) is None:
        raise FilterError(f"no depth is {text[:40]!r}: they are numbers from 0 on")
    return depth
