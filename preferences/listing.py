"""The pairs on one page, with and without filters: the same work in a set of any size."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from forests.store import collection
from preferences.models import PAIRS_PER_PAGE, Preference, PreferenceSet, ReviewState, page_key
from preferences.reviews import review_id, reviewed_trees, states_of
from preferences.store import pairs_by_tree, read_page

PAGES_LOOKED_AT = 200
"""Pages that a filtered list goes through at most before it offers to go on."""
_PAGES_PER_READ = 20


@dataclass(frozen=True, kw_only=True)
class PairFilter:
    """Which pairs are shown."""

    min_margin: float = 0.0
    depth: int | None = None
    """Of the prefix."""
    state: ReviewState | None = None

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

    def matches(self, pair: Any) -> bool:
        """Return whether a document's margin and depth are as asked."""
        return bool(pair["margin"] >= self.min_margin and self.depth in (None, pair["depth"]))


@dataclass(frozen=True)
class PairPage:
    """Some pairs, and where the list goes on."""

    pairs: list[Preference]
    page: int
    """First page of the whole list that was looked at; of a list by review, its own page."""
    next_page: int | None
    num_pages: int
    is_limited: bool = False
    """Whether the list stopped at `PAGES_LOOKED_AT` before it was full."""


def num_pages(preference_set: PreferenceSet) -> int:
    return max(1, -(-preference_set.num_pairs // PAIRS_PER_PAGE))


def list_pairs(preference_set: PreferenceSet, wanted: PairFilter, page: int) -> PairPage:
    """Return the pairs of a page; pages begin with 1."""
    pages = num_pages(preference_set)
    if wanted.is_empty:
        return PairPage(
            read_page(preference_set, page - 1), page, page + 1 if page < pages else None, pages
        )
    if wanted.state in (ReviewState.ACCEPTED, ReviewState.REJECTED):
        return _reviewed(preference_set, wanted, page)
    return _searched(preference_set, wanted, page)


def _reviewed(preference_set: PreferenceSet, wanted: PairFilter, page: int) -> PairPage:
    """List by the reviews, which are few: a person made each."""
    assert wanted.state is not None  # noqa: S101  the caller looked
    trees = reviewed_trees(preference_set, wanted.state)
    start = (page - 1) * PAIRS_PER_PAGE
    ids = list(trees)[start : start + PAIRS_PER_PAGE]
    documents = pairs_by_tree(preference_set, sorted({trees[id_] for id_ in ids}))
    found = [
        document["_id"]
        for of_tree in documents.values()
        for document in of_tree
        if review_id(document) in ids and wanted.matches(document)
    ]
    has_more = start + PAIRS_PER_PAGE < len(trees)
    pages = max(1, -(-len(trees) // PAIRS_PER_PAGE))
    return PairPage(_pairs(found), page, page + 1 if has_more else None, pages)


def _searched(preference_set: PreferenceSet, wanted: PairFilter, page: int) -> PairPage:
    """Look through the pages from this one on, until a page is full or enough was looked at."""
    pages = num_pages(preference_set)
    last = min(pages, page + PAGES_LOOKED_AT - 1)
    found: list[str] = []
    looked = page - 1
    while looked < last and len(found) < PAIRS_PER_PAGE:
        upto = min(last, looked + _PAGES_PER_READ)
        by_page = _matches(preference_set, wanted, range(looked, upto))
        for number in range(looked, upto):
            # Whole pages only, so that the next list begins where this one ended.
            if found and len(found) + len(by_page.get(number, [])) > PAIRS_PER_PAGE:
                return PairPage(_pairs(found), page, number + 1, pages)
            found += by_page.get(number, [])
            looked = number + 1
    is_limited = looked == last < pages and len(found) < PAIRS_PER_PAGE
    return PairPage(_pairs(found), page, looked + 1 if looked < pages else None, pages, is_limited)


def _matches(
    preference_set: PreferenceSet, wanted: PairFilter, numbers: range
) -> dict[int, list[str]]:
    keys = {page_key(preference_set.id, number): number for number in numbers}
    fields = dict.fromkeys(
        ("page_key", "margin", "depth", "tree_key", "chosen_id", "rejected_id"), 1
    )
    documents = [
        document
        for document in collection(Preference).find({"page_key": {"$in": list(keys)}}, fields)
        if wanted.matches(document)
    ]
    judged = states_of(documents) if wanted.state is ReviewState.OPEN else {}
    found: dict[int, list[str]] = {}
    for document in documents:
        if judged.get(document["_id"], ReviewState.OPEN) == ReviewState.OPEN:
            found.setdefault(keys[document["page_key"]], []).append(document["_id"])
    return found


def _pairs(ids: list[str]) -> list[Preference]:
    found = Preference.objects.filter(pk__in=ids)
    return sorted(found, key=lambda one: (one.tree_index, one.number))
