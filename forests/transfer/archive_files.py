"""Read and check the files of an exported forest, without Django."""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from common.directories import MANIFEST, checksum
from common.errors import UserError
from common.json_lines import JsonFileError, is_number, read_json
from common.text import describe
from forests.core.naming import MAX_DEPTH
from forests.core.opinions.verdicts import (
    MAX_RATIONALES_OF_A_NODE,
    MAX_RATIONALES_OF_A_TREE,
    Verdict,
)
from forests.core.tokens.kept import unpack
from forests.core.tree import Grade, format_path, parse_path
from forests.transfer.foreign_trees import MAX_SAMPLES

FORMAT = "prm_site forest"
FORMAT_VERSION = 2
READ_VERSIONS = (1, 2)
"""Earlier versions lack the columns of `ADDED`."""
MAX_BYTES_OF_A_MANIFEST = 2**26
MAX_NUMBERED = 10**9
"""Most samples that may have been requested after one node."""

ADDED: Mapping[str, Any] = {
    "cached_tokens": 0,
    "num_uncompared": 0,
    "voted_answer": None,
    "question": "",
    "hit_max_nodes": False,
    "num_hit_max_nodes": 0,
    "is_thought": False,
    "numbered_to": 0,
    "grown_by": [],
    "allowed_models": [],
    "nodes_by_model": {},
    "max_cost": None,
    "price_in": None,
    "price_out": None,
    "replaced_settings": {},
    "extended_at": None,
    "kind": "",
    "spent": {},
    "rationales": "{}",
    "votes": "{}",
    "refined_steps": None,
    "kept_tokens": None,
}
"""Fields that older versions did not write, with their defaults."""


class TransferError(UserError):
    """A directory cannot be imported; the message is one line with the remedy."""


def largest_row_group(metadata: pq.FileMetaData) -> int:
    """Return the unpacked size of a table's largest row group, from its metadata, in bytes."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    return max((group.total_byte_size for group in groups), default=0)


def read_metadata(path: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(path)  # type: ignore[no-untyped-call]
    except pa.ArrowException as error:
        raise foreign(path, describe(error)) from error


def foreign(path: Path, why: str) -> TransferError:
    return TransferError(
        f"{path} is not what export_forest writes ({why}): export the forest again"
    )


def check_node(document: Mapping[str, Any], depth: int) -> None:
    """Refuse an invalid grade, counts that a node at this depth cannot have, and broken tokens.

    Raises:
        AttributeError, TypeError, ValueError: the node has one of them.
    """
    if document["grade"] is not None:
        Grade(document["grade"])
    check_drawn(document["drawn"], depth)
    if document["count"] < 1 or document["tokens"] < 0:
        raise ValueError(f"count {document['count']}, tokens {document['tokens']}")
    if kept := document["kept_tokens"]:
        unpack(kept)
    if not 0 <= document["numbered_to"] <= MAX_NUMBERED:
        raise ValueError(f"numbered_to is {document['numbered_to']}: from 0 to {MAX_NUMBERED}")


def check_drawn(drawn: Any, depth: int) -> None:
    """Refuse counts of samples by depth that a node at this depth cannot have.

    Raises:
        AttributeError, ValueError: the counts are refused.
    """
    if not all(
        _is_depth(key, depth) and type(number) is int and 0 <= number <= MAX_SAMPLES
        for key, number in drawn.items()
    ):
        raise ValueError(f"drawn {drawn}")


def _is_depth(key: str, below: int) -> bool:
    return (
        len(key) <= len(str(MAX_DEPTH)) and key.isdecimal() and key == str(min(int(key), below - 1))
    )


def check_scores(scores: Any) -> None:
    """Refuse scores of a tree that are not numbers by path.

    Raises:
        AttributeError, ValueError: they are not.
    """
    for path, score in scores.items():
        _check_key(path)
        if not is_number(score):
            raise ValueError(f"score {score!r} of step {path}")


def _check_key(path: str) -> None:
    if format_path(parse_path(path.replace("-", "."))).replace(".", "-") != path:
        raise ValueError(f"{path!r} is not a step: expected numbers such as 0-2-1")


def check_rationales(rationales: Any, votes: Any) -> None:
    """Refuse rationales that are not bounded texts by path, and votes that are not three counts.

    Raises:
        AttributeError, ValueError: one of them is refused.
    """
    for path in (*rationales, *votes):
        _check_key(path)
    texts = list(rationales.values())
    if not all(isinstance(text, str) and len(text) <= MAX_RATIONALES_OF_A_NODE for text in texts):
        raise ValueError("a rationale that is not a text, or is too long")
    if sum(map(len, texts)) > MAX_RATIONALES_OF_A_TREE:
        raise ValueError("the rationales of a tree are too long")
    for path, counts in votes.items():
        are_counts = isinstance(counts, list) and all(
            type(count) is int and 0 <= count <= MAX_SAMPLES for count in counts
        )
        if not are_counts or len(counts) != len(Verdict):
            raise ValueError(f"votes {counts!r:.40} of step {path}")


def read_manifest_file(directory: Path) -> dict[str, Any]:
    """Return the manifest of an exported forest, checked for the parts that all manifests have.

    Raises:
        TransferError: there is no manifest, it lacks a part, or this version cannot read it.
    """
    path = directory / MANIFEST
    if not path.is_file():
        raise TransferError(
            f"{directory} has no {MANIFEST}: give a directory that export_forest wrote"
        )
    if path.stat().st_size > MAX_BYTES_OF_A_MANIFEST:
        raise foreign(path, f"it has more than {MAX_BYTES_OF_A_MANIFEST:,} bytes")
    try:
        manifest = read_json(path)
    except JsonFileError as error:
        raise TransferError(f"{error}; or export the forest again") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise TransferError(
            f"{directory} holds no forest: give a directory that export_forest wrote"
        )
    version = manifest.get("version")
    if version not in READ_VERSIONS or isinstance(version, bool):
        raise TransferError(
            f"{directory} has format {version!r:.20}, and this site reads "
            f"{' and '.join(map(str, READ_VERSIONS))}: use the version that wrote it"
        )
    parts = {"files": dict, "forest": dict, "scorers": list}
    missing = {part for part, kind in parts.items() if not isinstance(manifest.get(part), kind)}
    if not missing and not isinstance(manifest["forest"].get("name"), str):
        missing = {"name"}
    require_parts(path, missing)
    return manifest


def require_parts(path: Path, missing: AbstractSet[str]) -> None:
    """Refuse a manifest that lacks parts.

    Raises:
        TransferError: it does; the message names the parts.
    """
    if missing:
        raise TransferError(f"{path} lacks {', '.join(sorted(missing))}: export the forest again")


def check_checksums(directory: Path, manifest: Mapping[str, Any], tables: Iterable[str]) -> None:
    """Refuse files that differ from the manifest.

    Raises:
        TransferError: a file is missing, or was changed.
    """
    for name, file in manifest["files"].items():
        path = directory / name
        if Path(name).name != name or not path.is_file() or checksum(path) != file:
            raise TransferError(
                f"{name!r} of {directory} is missing or not what was exported: copy it again, or "
                "export the forest again"
            )
    for name in tables:
        if f"{name}.parquet" not in manifest["files"]:
            raise foreign(directory / f"{name}.parquet", "unexpected columns")
