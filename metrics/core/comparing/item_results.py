"""Results of single items, for the paired comparison of two runs or two forests."""

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import nan
from typing import Generic, TypeVar

Row = TypeVar("Row")
"""The type that names one of an item's numbers."""

DIGEST_BYTES = 32


def item_digest(item: str, label: str) -> bytes:
    """Return a hash of an item's text and label, which identifies the item across forests."""
    return hashlib.sha256(f"{item}\0{label}".encode()).digest()


@dataclass(slots=True)
class ItemResults(Generic[Row]):
    """Numbers from 0 to 1 of each item; NaN for no result."""

    items: list[bytes] = field(default_factory=list)
    trees: "array[int]" = field(default_factory=lambda: array("L"))
    """Number of each item's tree in its forest."""
    numbers: "dict[Row, array[float]]" = field(default_factory=dict)

    def add_item(self, digest: bytes, tree: int) -> None:
        """Add an item, before its numbers."""
        self.items.append(digest)
        self.trees.append(tree)

    def add_number(self, row: Row, number: Fraction | float | None) -> None:
        values = self.numbers.setdefault(row, array("f"))
        values.append(nan if number is None else float(number))

    def merge(self, other: "ItemResults[Row]") -> None:
        """Append the items of other trees."""
        self.items += other.items
        self.trees += other.trees
        for row, values in other.numbers.items():
            self.numbers.setdefault(row, array("f")).extend(values)


def shared_positions(first: Sequence[bytes], other: Sequence[bytes]) -> list[tuple[int, int]]:
    """Return the positions of the items that are in both, in the order of the first.

    If a dataset repeats an item, the first occurrences form a pair, then the second ones.
    """
    places = {key: place for place, key in enumerate(_numbered(other))}
    return [(place, places[key]) for place, key in enumerate(_numbered(first)) if key in places]


def _numbered(items: Iterable[bytes]) -> Iterable[tuple[bytes, int]]:
    seen: Counter[bytes] = Counter()
    for item in items:
        yield item, seen[item]
        seen[item] += 1
