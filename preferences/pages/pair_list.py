"""The pairs of one page, with and without filters, in bounded time for sets of any size.

Margin and depth have no index, so a filter scans a bounded number of pages, and the list says where
the scan stopped. Reviewed pairs are found through their reviews.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlencode

from forests.pages.page_requests import read_number
from forests.storage.trees import Document, collection
from preferences.models import PAIRS_PER_PAGE, Preference, PreferenceSet, ReviewState, page_key
from preferences.sets.reviews import review_id, reviewed_trees, states_in
from preferences.sets.storage import pairs_by_tree, read_page

PAGES_LOOKED_AT = 200
"""Most pages that a filtered list scans before it offers to continue."""
_PAGES_PER_READ = 20
_REVIEWED_PAGES_PER_READ = 3  # each pair may be of another tree, and the query lists the trees

_SEARCHED_FIELDS = (
    "page_key", "tree_index", "margin", "depth", "tree_key", "chosen_id", "rejected_id",
)  # fmt: skip


class PairFilterError(ValueError):
    """Invalid filter in the URL. The message lists the valid values."""


@dataclass(frozen=True, kw_only=True)
class PairFilter:
    """Filter of the shown pairs."""

    min_margin: float = 0.0
    depth: int | None = None
    """Depth of the prefix."""
    state: ReviewState | None = None

    @classmethod
    def read(cls, parameters: Mapping[str, str]) -> "PairFilter":
        """Return the filter that the parameters of a URL ask for.

        Raises:
            PairFilterError: a value is invalid.
        """
        margin, depth, state = (
            parameters.get(name, "").strip() for name in ("min_margin", "depth", "review")
        )
        if state and state not in ReviewState.values:
            known = ", ".join(ReviewState.values)
            raise PairFilterError(f"unknown review state {state[:40]!r}: use {known}")
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
        """The filter as query parameters."""
        given: dict[str, Any] = {}
        if self.min_margin:
            given["min_margin"] = f"{self.min_margin:g}"
        if self.depth is not None:
            given["depth"] = self.depth
        if self.state is not None:
            given["review"] = str(self.state)
        return urlencode(given)

    def matches(self, pair: Document) -> bool:
        """Return whether a document's margin and depth match."""
        return bool(pair["margin"] >= self.min_margin and self.depth in (None, pair["depth"]))


@dataclass(frozen=True, kw_only=True)
class PairPage:
    """One page of pairs, and the page where the list continues. The first page is 1."""

    pairs: list[Preference]
    page: int
    """The first scanned page, of the whole set or of its reviewed pairs."""
    num_pages: int
    next_page: int | None = None
    is_limited: bool = False
    """Whether the list stopped at `PAGES_LOOKED_AT` before it was full."""


def num_pages(preference_set: PreferenceSet) -> int:
    return max(1, -(-preference_set.num_pairs // PAIRS_PER_PAGE))


def list_pairs(preference_set: PreferenceSet, wanted: PairFilter, page: int) -> PairPage:
    """Return the pairs of a page, or the matches of a filter from that page on."""
    pages = num_pages(preference_set)
    if wanted.is_empty:
        following = page + 1 if page < pages else None
        pairs = read_page(preference_set, page - 1)
        return PairPage(pairs=pairs, page=page, num_pages=pages, next_page=following)
    if wanted.state in (ReviewState.ACCEPTED, ReviewState.REJECTED):
        reviewed = reviewed_trees(preference_set, wanted.state)
        pages = max(1, -(-len(reviewed) // PAIRS_PER_PAGE))
        return _searched(
            _reviewed(preference_set, wanted, reviewed), page, pages, _REVIEWED_PAGES_PER_READ
        )
    return _searched(_stored(preference_set, wanted), page, pages, _PAGES_PER_READ)


_Matches: TypeAlias = Callable[[range], Mapping[int, list[str]]]
"""Takes page numbers from 0; returns the ids of the matching pairs by page number."""


def _searched(matches: _Matches, page: int, pages: int, pages_per_read: int) -> PairPage:
    """Scan pages from this one on, until the list is full or the limit is reached."""
    last = min(pages, page - 1 + PAGES_LOOKED_AT)
    found: list[str] = []
    looked = page - 1
    is_full = False
    while looked < last and not is_full:
        numbers = range(looked, min(last, looked + pages_per_read))
        by_page = matches(numbers)
        for number in numbers:
            here = by_page.get(number, [])
            # Whole pages only, so that the next list starts where this one ended.
            if is_full := len(found) + len(here) > PAIRS_PER_PAGE or len(found) == PAIRS_PER_PAGE:
                break
            found += here
            looked = number + 1
    return PairPage(
        pairs=_pairs(found),
        page=page,
        num_pages=pages,
        next_page=looked + 1 if looked < pages else None,
        is_limited=looked < pages and not is_full,
    )


def _stored(preference_set: PreferenceSet, wanted: PairFilter) -> _Matches:
    """Return a search in all pairs of a set."""

    def matches(numbers: range) -> Mapping[int, list[str]]:
        keys = {page_key(preference_set.id, number): number for number in numbers}
        query = {"page_key": {"$in": list(keys)}}
        read = collection(Preference).find(query, dict.fromkeys(_SEARCHED_FIELDS, 1))
        pairs = [pair for pair in read if wanted.matches(pair)]
        if wanted.state is ReviewState.OPEN:
            states = states_in(preference_set, (pair["tree_index"] for pair in pairs))
            judged = {id_ for id_, state in states.items() if state != ReviewState.OPEN}
            pairs = [pair for pair in pairs if review_id(pair) not in judged]
        found: defaultdict[int, list[str]] = defaultdict(list)
        for pair in pairs:
            found[keys[pair["page_key"]]].append(pair["_id"])
        return found

    return matches


def _reviewed(
    preference_set: PreferenceSet, wanted: PairFilter, reviewed: Mapping[str, int]
) -> _Matches:
    """Return a search in the pairs with these reviews; `reviewed` maps review ids to trees."""
    ids = list(reviewed)

    def matches(numbers: range) -> Mapping[int, list[str]]:
        start, stop = numbers.start * PAIRS_PER_PAGE, numbers.stop * PAIRS_PER_PAGE
        places = {id_: place for place, id_ in enumerate(ids[start:stop], start=start)}
        trees = pairs_by_tree(preference_set, sorted({reviewed[id_] for id_ in places}))
        found: defaultdict[int, list[str]] = defaultdict(list)
        for pair in (pair for pairs in trees.values() for pair in pairs):
            place = places.get(review_id(pair))
            if place is not None and wanted.matches(pair):
                found[place // PAIRS_PER_PAGE].append(pair["_id"])
        return found

    return matches


def _pairs(ids: list[str]) -> list[Preference]:
    found = Preference.objects.filter(pk__in=ids)
    return sorted(found, key=lambda one: (one.tree_index, one.number))


def _margin(text: str) -> float:
    try:
        margin = float(text)
    except ValueError:
        margin = -1.0
    if not 0 <= margin <= 1:
        raise PairFilterError(f"no margin {text[:40]!r}: give a number from 0 to 1")
    return margin


def _depth(text: str) -> int:
    if (depth := read_number(text)) is None:
        raise PairFilterError(f"no depth {text[:40]!r}: give a whole number from 0")
    return depth
