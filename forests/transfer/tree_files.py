"""The trees of a file of another program, row by row or merged from the rows of one question."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from itertools import groupby
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.json_lines import ChosenRows, JsonFileError, RowPlace, read_json_rows
from forests.transfer.foreign_trees import ForeignTree, ForeignTreeError
from forests.transfer.readers.registry import hint_at_format, merging_reader, read_tree
from forests.transfer.solution_trees import SolutionReader


class ImportTreesError(UserError):
    """A file cannot be imported. The message names the line and the remedy."""


@dataclass(slots=True)
class _Places:
    """Where the rows of each tree are. Takes a few bytes for each row."""

    kind: str = "line"
    numbers: "array[int]" = field(default_factory=lambda: array("Q"))
    trees: "array[int]" = field(default_factory=lambda: array("Q"))
    """The tree of each row."""


class TreeFile:
    """The trees of a file: JSON lines, or one JSON object or list.

    If the format has a solution on each row, the rows of one question make one tree, wherever they
    are in the file. Trees are in the order of their first rows. For such a file, the memory holds
    the places of all rows and the rows of one question; for one JSON list, all rows.
    """

    def __init__(self, path: Path, format_name: str) -> None:
        self._path = path
        self._format = format_name
        self._merging = merging_reader(format_name)

    def __iter__(self) -> Iterator[ForeignTree]:
        """Yield the trees.

        Raises:
            ImportTreesError: the file cannot be read, or a row is not in the format.
        """
        try:
            yield from self._merged(self._merging) if self._merging else self._single()
        except JsonFileError as error:
            raise ImportTreesError(str(error)) from error

    def _single(self) -> Iterator[ForeignTree]:
        for place, row in read_json_rows(self._path):
            try:
                found = read_tree(row, self._format)
            except ForeignTreeError as error:
                raise self._refusal(place, row, error) from error
            yield found

    def _merged(self, reader: SolutionReader) -> Iterator[ForeignTree]:
        places = self._places
        order = sorted(range(len(places.trees)), key=places.trees.__getitem__)
        rows = ChosenRows(self._path, is_whole=places.kind == "entry")
        for _, group in groupby(order, key=places.trees.__getitem__):
            chosen = [places.numbers[position] for position in group]
            done: list[Any] = []
            try:
                found = reader.read(_noted(rows.read(chosen), done))
            except ForeignTreeError as error:
                place = RowPlace(places.kind, chosen[max(0, len(done) - 1)])
                raise self._refusal(place, done[-1] if done else None, error) from error
            yield found

    @cached_property
    def _places(self) -> _Places:
        """Which rows make a tree. Reads the whole file."""
        found = _Places()
        tree_of: dict[bytes, int] = {}
        assert self._merging is not None  # noqa: S101  only then is it asked for
        for place, row in read_json_rows(self._path):
            try:
                key = self._merging.key(row)
            except ForeignTreeError as error:
                raise self._refusal(place, row, error) from error
            digest = blake2b(key.encode(), digest_size=16).digest()
            found.kind = place.kind
            found.numbers.append(place.number)
            found.trees.append(tree_of.setdefault(digest, len(tree_of)))
        return found

    def _refusal(self, place: RowPlace, row: Any, error: ForeignTreeError) -> ImportTreesError:
        hint = hint_at_format(row, self._format)
        return ImportTreesError(f"{self._path} {place}: {error}{hint}")


def _noted(rows: Iterator[Any], done: list[Any]) -> Iterator[Any]:
    """Yield rows, and note which were read, for the message if one is wrong."""
    for row in rows:
        done.append(row)
        yield row
