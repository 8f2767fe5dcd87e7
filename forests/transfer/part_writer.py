"""Write a table of an archive in parts (row groups) that hold whole trees."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ROWS_PER_PART = 2**13
"""Most rows of a part, unless one tree has more."""
BYTES_PER_PART = 2**25
"""About the most bytes of a part, so that an import unpacks it in little memory."""


class PartWriter:
    """Writes a table in parts that hold whole trees.

    Parts are large enough that a table has few of them, and small enough that a reader needs little
    memory for one.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")  # type: ignore[no-untyped-call]
        self._waiting: list[pa.Table] = []
        self._num_waiting = self._num_bytes = 0

    def __enter__(self) -> "PartWriter":
        return self

    def __exit__(self, *error: object) -> None:
        try:
            if error[0] is None:
                self.end_part()
        finally:
            self._writer.close()  # type: ignore[no-untyped-call]

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add all rows of some trees."""
        for some in _of_whole_trees(rows):
            if self._num_waiting + len(some) > ROWS_PER_PART:
                self.end_part()
            table = pa.Table.from_pylist(some, schema=self._schema)
            self._waiting.append(table)
            self._num_waiting += len(some)
            self._num_bytes += table.nbytes
            if self._num_bytes >= BYTES_PER_PART:
                self.end_part()

    def end_part(self) -> None:
        """Write the rows that wait."""
        if not self._waiting:
            return
        table = pa.concat_tables(self._waiting)
        rows = max(1, BYTES_PER_PART * table.num_rows // max(1, table.nbytes))
        self._writer.write_table(table, row_group_size=rows)  # type: ignore[no-untyped-call]
        self._waiting, self._num_waiting, self._num_bytes = [], 0, 0


def _of_whole_trees(rows: Sequence[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """Yield rows in groups of whole trees, at most `ROWS_PER_PART` unless one tree has more."""
    some: list[Mapping[str, Any]] = []
    for _, of_a_tree in groupby(rows, key=lambda row: row.get("tree")):
        more = list(of_a_tree)
        if some and len(some) + len(more) > ROWS_PER_PART:
            yield some
            some = []
        some += more
    if some:
        yield some
