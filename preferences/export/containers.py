"""Containers: writers of rows to files of one kind, in bounded memory."""

import json
import shutil
from abc import ABC, abstractmethod
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from preferences.export.formats.base import Row


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one split, as dictionaries and as a table."""

    rows: list[Row]
    table: pa.Table


class Container(ABC):
    """Files of one kind under `<root>/<name>/`, one for each split."""

    name: str
    pattern: str
    """Path of a split's files relative to the root, with `{split}`."""

    def __init__(self, root: Path, schema: pa.Schema) -> None:
        self.directory = root / self.name
        self.schema = schema
        self.files = ExitStack()
        self.directory.mkdir()

    @abstractmethod
    def write(self, split: str, batch: Batch) -> None:
        """Append rows to a split; its first rows create its file."""

    def close(self) -> None:
        """Finish the files. They are not readable before that."""
        self.files.close()


class JsonLines(Container):
    name = "jsonl"
    pattern = "jsonl/{split}.jsonl"

    def __init__(self, root: Path, schema: pa.Schema) -> None:
        super().__init__(root, schema)
        self.splits: dict[str, IO[str]] = {}

    def write(self, split: str, batch: Batch) -> None:
        if split not in self.splits:
            path = self.directory / f"{split}.jsonl"
            file = self.files.enter_context(path.open("w", encoding="utf-8", newline="\n"))
            self.splits[split] = file
        self.splits[split].writelines(
            json.dumps(row, ensure_ascii=False) + "\n" for row in batch.rows
        )


class Parquet(Container):
    name = "parquet"
    pattern = "parquet/{split}.parquet"

    def __init__(self, root: Path, schema: pa.Schema) -> None:
        super().__init__(root, schema)
        self.splits: dict[str, pq.ParquetWriter] = {}

    def write(self, split: str, batch: Batch) -> None:
        if split not in self.splits:
            path = self.directory / f"{split}.parquet"
            writer = pq.ParquetWriter(path, self.schema)  # type: ignore[no-untyped-call]
            self.splits[split] = self.files.enter_context(writer)
        self.splits[split].write_table(batch.table)  # type: ignore[no-untyped-call]


class DatasetDirectory(Container):
    """A `datasets.DatasetDict` in the layout of `save_to_disk`, from memory-mapped Arrow files."""

    name = "dataset"
    pattern = "dataset/{split}/*.arrow"

    def __init__(self, root: Path, schema: pa.Schema) -> None:
        super().__init__(root, schema)
        self.streams = root / ".streams"
        self.streams.mkdir()
        self.splits: dict[str, pa.RecordBatchStreamWriter] = {}

    def write(self, split: str, batch: Batch) -> None:
        if split not in self.splits:
            file = self.files.enter_context(pa.OSFile(str(self._stream(split)), "wb"))
            stream = pa.ipc.new_stream(file, self.schema)  # type: ignore[no-untyped-call]
            self.splits[split] = self.files.enter_context(stream)
        self.splits[split].write_table(batch.table)

    def close(self) -> None:
        # Import late: it takes a second, and refused arguments should be reported before.
        from datasets import Dataset, DatasetDict, disable_progress_bars  # noqa: PLC0415

        super().close()
        disable_progress_bars()
        mapped = {split: Dataset.from_file(str(self._stream(split))) for split in self.splits}
        DatasetDict(mapped).save_to_disk(str(self.directory))
        del mapped
        shutil.rmtree(self.streams)

    def _stream(self, split: str) -> Path:
        return self.streams / f"{split}.arrow"


CONTAINERS: dict[str, type[Container]] = {
    kind.name: kind for kind in (Parquet, JsonLines, DatasetDirectory)
}
"""Containers by name. The dataset card points to the first container that was written."""
