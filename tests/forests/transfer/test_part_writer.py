"""Parts of the tables of archives."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forests.transfer import part_writer
from forests.transfer.part_writer import PartWriter

SCHEMA = pa.schema([("tree", pa.int64()), ("text", pa.string())])


def parts_of(path: Path, *batches: list[int], text: str = "") -> list[list[int]]:
    """Write rows of these trees; return the trees of the rows of each part."""
    with PartWriter(path, SCHEMA) as writer:
        for trees in batches:
            writer.add([{"tree": tree, "text": text} for tree in trees])
    with pq.ParquetFile(path) as file:
        groups = [file.read_row_group(number) for number in range(file.num_row_groups)]
    return [group.column("tree").to_pylist() for group in groups]


def test_parts_hold_whole_trees_of_several_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(part_writer, "ROWS_PER_PART", 4)
    path = tmp_path / "nodes.parquet"
    assert parts_of(path, [0, 0], [1], [2, 2], [3]) == [[0, 0, 1], [2, 2, 3]]
    assert parts_of(path, [0, 1, 1, 2, 2, 2]) == [[0, 1, 1], [2, 2, 2]]
    assert parts_of(path, [0], [1] * 6, [2]) == [[0], [1] * 6, [2]]
    assert parts_of(path, []) == []


def test_long_texts_end_a_part_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(part_writer, "BYTES_PER_PART", 1300)
    assert parts_of(tmp_path / "a.parquet", [0], [1], [2], text="a" * 600) == [[0, 1], [2]]


def test_a_failed_export_writes_no_rows_that_wait(tmp_path: Path):
    path = tmp_path / "nodes.parquet"
    with pytest.raises(pa.ArrowTypeError), PartWriter(path, SCHEMA) as writer:
        writer.add([{"tree": number, "text": text} for number, text in enumerate(["", 5])])
    assert pq.read_metadata(path).num_rows == 0
