"""The list of trees on a forest's page, in bounded time for forests of any size.

Without a filter, the trees of a page have computable ids. A filter by status reads the index on
(forest, status, index) in windows that grow until a page is full. Other filters and orders
(outcome, value, phrase) have no index: they scan a bounded number of trees. The page says which
trees it scanned, and the next page continues from there.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from heapq import nsmallest
from typing import Any

from forests.core.naming import tree_id
from forests.models import Forest, Tree, TreeStatus
from forests.pages.page_requests import FilterError, read_choice, read_number, read_phrase
from forests.pages.tree.selection import phrase_pattern
from forests.storage.trees import Document, collection, tree_ids

TREES_PER_PAGE = 50
TREES_LOOKED_AT = 2000
"""Most trees that one page scans for a filter without an index."""
_ROUNDING = 1e-9
_FIRST_WINDOW, _MAX_TREES_OF_WINDOW, _MAX_WINDOWS = 64, 8192, 150

_ROW_FIELDS = (
    "index", "item", "label", "status", "error", "num_nodes", "num_leaves", "num_correct",
    "num_uncompared", "num_truncated", "prompt_tokens", "completion_tokens", "root_value",
    "majority_value", "disagreement", "requests", "retries",
)  # fmt: skip
_MISSING: Document = dict.fromkeys(_ROW_FIELDS)
"""Defaults: trees that an older version wrote, or that nobody scored, lack some of the fields."""
_SEARCHED_FIELDS = ("index", "num_nodes", "num_leaves", "num_correct", "completion_tokens",
                    "root_value", "majority_value", "disagreement", "retries")  # fmt: skip


class TreeOutcome(StrEnum):
    """Outcome of the finished samples of a tree."""

    SOME_CORRECT = "some correct"
    ALL_CORRECT = "all correct"
    NONE_CORRECT = "none correct"
    MIXED = "mixed"
    MAJORITY_WRONG = "majority wrong but some correct"
    NO_RESULT = "no result"


class Order(StrEnum):
    DATASET = "dataset order"
    HIGHEST_VALUE = "highest value"
    LOWEST_VALUE = "lowest value"
    MOST_NODES = "most nodes"
    MOST_TOKENS = "most tokens"
    MOST_RETRIES = "most retries"
    LARGEST_DISAGREEMENT = "largest disagreement"


@dataclass(frozen=True, slots=True)
class TreeFilter:
    """Which trees are listed, and how."""

    status: TreeStatus | None = None
    outcome: TreeOutcome | None = None
    from_value: float | None = None
    to_value: float | None = None
    """Least and greatest value of the prompt, borders included. None: no limit; without any limit,
    trees without a value are listed too."""
    is_disputed: bool = False
    """Whether to list only trees in which sources disagree about a step."""
    phrase: str = ""
    """Text to find in the items. Prompts are not searched: all trees share the few-shot part."""
    order: Order = Order.DATASET
    start: int = 0
    """Index of the tree at which the list starts."""

    @classmethod
    def read(cls, parameters: Mapping[str, str]) -> "TreeFilter":
        """Return the filter that the parameters of a URL ask for.

        Raises:
            FilterError: a value is invalid.
        """
        return cls(
            status=read_choice(TreeStatus, parameters.get("status", ""), "status"),
            outcome=read_choice(TreeOutcome, parameters.get("outcome", ""), "outcome"),
            from_value=_share(parameters.get("from_value", "")),
            to_value=_share(parameters.get("to_value", "")),
            is_disputed=_switch(parameters.get("disputed", "")),
            phrase=read_phrase(parameters.get("q", "")),
            order=read_choice(Order, parameters.get("sort", ""), "order") or Order.DATASET,
            start=_start(parameters.get("from", "0")),
        )

    @property
    def is_indexed(self) -> bool:
        """Whether an index finds exactly these trees."""
        return not self.looks_into_trees and self.order is Order.DATASET

    @property
    def looks_into_trees(self) -> bool:
        """Whether it asks for something of a tree that has no index."""
        return bool(self.outcome or self.phrase or self.is_disputed or self.has_values)

    @property
    def has_values(self) -> bool:
        return self.from_value is not None or self.to_value is not None

    @property
    def is_plain(self) -> bool:
        return self.is_indexed and self.status is None and not self.start

    @property
    def pattern(self) -> re.Pattern[str]:
        return phrase_pattern(self.phrase)

    def test(self) -> Callable[[Document], bool]:
        """Return a predicate for the parts of the filter that have no index."""
        pattern = self.pattern

        def is_wanted(tree: Document) -> bool:
            return (
                (self.outcome is None or self.outcome in outcomes(tree))
                and (not self.has_values or self._has_value(tree["root_value"]))
                and (not self.is_disputed or bool(tree.get("disagreement")))
                and (not self.phrase or bool(pattern.search(tree["item"])))
            )

        return is_wanted

    def _has_value(self, value: float | None) -> bool:
        low, high = self.from_value or 0.0, 1.0 if self.to_value is None else self.to_value
        # A share such as 1/5 and the border 0.2 are the same number.
        return value is not None and low - _ROUNDING <= value <= high + _ROUNDING


@dataclass(frozen=True, slots=True)
class TreePage:
    """One page of the list of trees."""

    rows: Sequence[Document]
    number: int = 1
    num_pages: int = 1
    looked_at: range | None = None
    """The trees that were scanned; None if an index found the rows."""
    num_matches: int = 0
    """Number of scanned trees that match; the page may list fewer."""
    next_start: int | None = None
    """Index of the tree at which the next page starts; None at the end of the forest."""

    @property
    def previous(self) -> int | None:
        return self.number - 1 if self.number > 1 else None

    @property
    def next(self) -> int | None:
        return self.number + 1 if self.number < self.num_pages else None

    @property
    def last_looked_at(self) -> int:
        return self.looked_at.stop - 1 if self.looked_at else 0


def outcomes(tree: Document) -> set[TreeOutcome]:
    """Return all outcomes that apply to a tree's finished samples."""
    correct, leaves = tree["num_correct"], tree["num_leaves"]
    if not leaves:
        return {TreeOutcome.NO_RESULT}
    if not correct:
        return {TreeOutcome.NONE_CORRECT}
    rest = TreeOutcome.ALL_CORRECT if correct == leaves else TreeOutcome.MIXED
    found = {TreeOutcome.SOME_CORRECT, rest}
    # Trees that an older version grew have no stored vote.
    return found | ({TreeOutcome.MAJORITY_WRONG} if tree.get("majority_value") == 0 else set())


def num_pages(forest: Forest) -> int:
    return max(1, -(-forest.num_trees // TREES_PER_PAGE))


def read_tree_page(forest: Forest, number: int) -> TreePage:
    """Return a page of the unfiltered list; the first page is 1."""
    start = (number - 1) * TREES_PER_PAGE
    indexes = range(start, min(start + TREES_PER_PAGE, forest.num_trees))
    return TreePage(read_rows(forest, indexes), number=number, num_pages=num_pages(forest))


def first_trees(forest: Forest, order: Order, number: int) -> list[int]:
    """Return the indexes of the first trees with steps, in an order. Reads all trees."""
    trees = (
        tree
        for start in range(0, forest.num_trees, TREES_LOOKED_AT)
        for tree in collection(Tree).find(
            {"_id": {"$in": tree_ids(forest, range(start, start + TREES_LOOKED_AT))}},
            dict.fromkeys(_SEARCHED_FIELDS, 1),
        )
        if tree["num_nodes"]
    )
    return [tree["index"] for tree in nsmallest(number, trees, key=_order_of(order))]


def read_filtered(forest: Forest, wanted: TreeFilter) -> TreePage:
    """Return the next trees that match a filter, in its order."""
    if not (wanted.is_indexed and wanted.status):
        return _looked_for(forest, wanted)
    found, stop = _of_status(forest, wanted.status, wanted.start, TREES_PER_PAGE + 1)
    if len(found) > TREES_PER_PAGE:
        stop = found.pop()["index"]
    return TreePage(
        read_rows(forest, [tree["index"] for tree in found]),
        next_start=stop if stop < forest.num_trees else None,
    )


def _looked_for(forest: Forest, wanted: TreeFilter) -> TreePage:
    """Return the matches among the next `TREES_LOOKED_AT` trees."""
    fields = (*_SEARCHED_FIELDS, *(["item"] if wanted.phrase else []))
    if wanted.status:
        trees, stop = _of_status(
            forest, wanted.status, wanted.start, TREES_LOOKED_AT + 1, fields=fields
        )
        if len(trees) > TREES_LOOKED_AT:
            stop = trees.pop()["index"]
    else:
        stop = min(wanted.start + TREES_LOOKED_AT, forest.num_trees)
        trees = [
            tree
            for status in TreeStatus
            for tree in _window(forest, status, range(wanted.start, stop), fields)
        ]
    fitting = sorted(filter(wanted.test(), trees), key=_order_of(wanted.order))
    listed, next_start = fitting[:TREES_PER_PAGE], stop if stop < forest.num_trees else None
    if wanted.order is Order.DATASET and len(fitting) > TREES_PER_PAGE:
        next_start = stop = fitting[TREES_PER_PAGE]["index"]
    return TreePage(
        read_rows(forest, [tree["index"] for tree in listed]),
        looked_at=range(wanted.start, stop),
        num_matches=len(listed) if wanted.order is Order.DATASET else len(fitting),
        next_start=next_start,
    )


def _of_status(
    forest: Forest,
    status: TreeStatus,
    start: int,
    number: int,
    *,
    fields: Sequence[str] = ("index",),
) -> tuple[list[Document], int]:
    """Return the first `number` trees of a status from `start` on, and where the scan ended.

    The window doubles while it finds few trees, so finding three trees in a million takes a hundred
    quick queries. Windows are bounded because the embedded server reads all matches of a query
    before it applies the limit.
    """
    length = max(_FIRST_WINDOW, number)
    trees: list[Document] = []
    for _ in range(_MAX_WINDOWS):
        if start >= forest.num_trees or len(trees) == number:
            break
        window = range(start, min(start + length, forest.num_trees))
        found = _window(forest, status, window, fields)
        trees += found[: number - len(trees)]
        start = window.stop
        if len(found) <= length // 4:
            length = min(2 * length, _MAX_TREES_OF_WINDOW)
    return trees, start


def _window(
    forest: Forest, status: TreeStatus, window: range, fields: Sequence[str]
) -> list[Document]:
    """Return the trees of a status in a window, in order, from one range of the index."""
    query = {
        "forest_id": forest.name,
        "status": str(status),
        "index": {"$gte": window.start, "$lt": window.stop},
    }
    found = collection(Tree).find(query, dict.fromkeys(fields, 1)).sort("index", 1)
    return list(found.limit(TREES_LOOKED_AT + 1))


def read_rows(forest: Forest, indexes: Sequence[int]) -> list[Document]:
    """Return the listed fields of these trees, in the given order."""
    ids = [tree_id(forest.name, index) for index in indexes]
    if not ids:
        return []
    found = collection(Tree).find({"_id": {"$in": ids}}, dict.fromkeys(_ROW_FIELDS, 1))
    rows = {row["_id"]: {**_MISSING, **row} for row in found}
    return [rows[id_] for id_ in ids if id_ in rows]


def _order_of(order: Order) -> Callable[[Document], tuple[Any, ...]]:
    def by_value(sign: int) -> Callable[[Document], tuple[Any, ...]]:
        """Return a sort key that puts trees without a result last in either order."""
        return lambda tree: (
            tree["root_value"] is None,
            sign * (tree["root_value"] or 0),
            -tree["num_leaves"],
            tree["index"],
        )

    return {
        Order.DATASET: lambda tree: (tree["index"],),
        Order.HIGHEST_VALUE: by_value(-1),
        Order.LOWEST_VALUE: by_value(1),
        Order.MOST_NODES: lambda tree: (-tree["num_nodes"], tree["index"]),
        Order.MOST_TOKENS: lambda tree: (-tree["completion_tokens"], tree["index"]),
        Order.MOST_RETRIES: lambda tree: (-(tree.get("retries") or 0), tree["index"]),
        Order.LARGEST_DISAGREEMENT: lambda tree: (
            -(tree.get("disagreement") or 0),
            tree["index"],
        ),
    }[order]


def _share(text: str) -> float | None:
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise FilterError(f"{text[:40]!r} is not a value: give a number from 0 to 1")
    return number


def _switch(text: str) -> bool:
    if text not in ("", "1"):
        raise FilterError(f"disputed={text[:40]!r} means nothing: give 1, or leave it out")
    return bool(text)


def _start(text: str) -> int:
    if (number := read_number(text)) is None:
        raise FilterError(
            f"there is no tree {text[:40]!r} to start from: give the number of a tree"
        )
    return number
