"""Measure and export an archive without a database."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from common.bounded_memory import bounded_memory
from common.directories import MANIFEST
from common.text import describe
from forests.core.opinions.judged import JudgedTree
from forests.core.reading import ReadTree
from forests.models import Forest, Scorer
from forests.storage.reader import ForestReader, Opener
from forests.transfer.archive_files import foreign
from forests.transfer.archive_format import (
    MAX_MEMORY,
    check_files,
    forest_document,
    read_manifest,
    scorer_document,
)
from forests.transfer.archive_source import ArchiveSource

_BROKEN = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


class ArchiveReader(ForestReader):
    """Reads a directory that `export_forest` wrote."""

    def __init__(self, directory: Path, *, is_checked: bool = True) -> None:
        """Open an archive.

        `is_checked`: whether its files are compared with their checksums and the schema of an
        export.

        Raises:
            ReadError, TransferError: the directory is not an export, is damaged, or is not whole.
            OSError: it cannot be read.
        """
        manifest = read_manifest(directory)
        if is_checked:
            with bounded_memory(MAX_MEMORY):
                check_files(directory, manifest)
        self._directory = directory
        self._source = ArchiveSource(directory, is_checked=False)
        self._scorers = _scorers(directory, manifest)
        super().__init__(_forest(manifest["forest"]))

    @property
    def scorers(self) -> Mapping[str, Scorer]:
        return self._scorers

    @property
    def opener(self) -> Opener:
        return partial(open_again, self._directory)

    def trees(
        self, indexes: range, scorers: Sequence[str] = (), *, only_values: bool = False
    ) -> Iterator[ReadTree]:
        return self._source.trees(indexes, scorers, only_values=only_values)

    def count_models(self) -> dict[str, int]:
        return self._source.count_models()

    def judged(self, index: int, scorer: str) -> JudgedTree:
        return self._source.judged(index, scorer)


@lru_cache(maxsize=1)
def open_again(directory: Path) -> ArchiveReader:
    """Open an archive that another process has checked."""
    return ArchiveReader(directory, is_checked=False)


def _forest(found: Mapping[str, Any]) -> Forest:
    fields = {name: _in_utc(value) for name, value in forest_document(found).items()}
    return Forest(name=found["name"], is_seeded=True, **fields)


def _scorers(directory: Path, manifest: Mapping[str, Any]) -> dict[str, Scorer]:
    """Return the scorers by name, with the counts in the manifest.

    Raises:
        TransferError: one is not valid.
    """
    name = manifest["forest"]["name"]
    try:
        return {
            one["name"]: _scorer(scorer_document(one, name), one)
            for one in sorted(manifest["scorers"], key=lambda one: str(one["name"]))
        }
    except _BROKEN as error:
        raise foreign(directory / MANIFEST, describe(error)) from error


def _scorer(document: Mapping[str, Any], found: Mapping[str, Any]) -> Scorer:
    """Return a scorer with the numbers of an archive, which `scorer_document` sets to 0."""
    fields = {name: _in_utc(value) for name, value in document.items() if name != "_id"}
    numbers = {name: int(found[name]) for name in ("num_trees", "num_nodes")}
    return Scorer(**{"id": document["_id"], **fields, **numbers})


def _in_utc(value: Any) -> Any:
    """Return a time with its zone, as models have it; times of an archive have none."""
    is_without_zone = isinstance(value, datetime) and value.tzinfo is None
    return value.replace(tzinfo=UTC) if is_without_zone else value
