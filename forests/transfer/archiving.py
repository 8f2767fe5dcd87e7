"""Write a whole forest to a directory of Parquet and read it back, to move it between sites."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pymongo.errors import BulkWriteError, InvalidDocument, PyMongoError, WriteError

from common.bounded_memory import bounded_memory
from common.directories import MANIFEST, Output, checksum, checksums, written_aside
from common.json_lines import parse_json
from common.storable import storing_problem
from common.text import describe
from forests.core.naming import (
    check_forest_name,
    index_of_tree,
    node_id,
    path_of_node,
    tree_id,
    tree_scores_id,
)
from forests.core.tree import ROOT, NodePath, ReasoningTree, format_path, parse_path
from forests.models import Forest, Scorer, Tree, TreeScores, TreeStatus
from forests.storage.counters import counted, sum_of_trees, write_sums
from forests.storage.scores import scorer_names
from forests.storage.trees import (
    Document,
    collection,
    delete_forest,
    in_batches,
    insert_new,
    insert_nodes,
    insert_trees,
    is_current,
    node_documents,
    tree_ids,
    tree_node,
)
from forests.transfer.archive_files import (
    FORMAT,
    FORMAT_VERSION,
    TransferError,
    check_node,
    check_rationales,
    check_scores,
    foreign,
    largest_row_group,
)
from forests.transfer.archive_format import (
    FOREST,
    MAX_MEMORY,
    NEVER_TAKEN,
    NODES,
    OF_A_SCORER,
    OF_THE_SITE,
    SCHEMAS,
    TREES,
    NodeOrder,
    check_files,
    check_tree,
    forest_document,
    read_manifest,
    scorer_document,
)
from forests.transfer.part_writer import PartWriter
from forests.transfer.resuming import import_refusal

ROWS_PER_READ = 2000
BYTES_PER_READ = 2**26
TREES_PER_PART = 256
"""Trees after which a part of the tables of trees and scores ends."""
_SAID = ("rationales", "votes")
_TOO_LARGE = 10334  # MongoDB's BSONObjectTooLarge
_TOO_LARGE_AFTER_UPDATE = 17419

Report = Callable[[int], None]
"""Called with the number of finished trees."""


def export_forest(
    forest: Forest, output: Path, *, overwrite: bool, report: Report = lambda _: None
) -> dict[str, Any]:
    """Write a forest and return the manifest.

    Raises:
        OutputError: the output holds something already, or another export writes there.
        OSError: the disk is full, or the directory cannot be written; nothing is left behind.
    """
    with written_aside(Output(output, frozenset({FORMAT}), overwrite)) as directory:
        rows = _write_tables(forest, directory, report)
        document = collection(Forest).find_one({"_id": forest.name}) or {}
        manifest = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "exported_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "forest": {"name": forest.name, **FOREST.row(document)},
            "scorers": list(Scorer.objects.filter(forest_id=forest.name).values(*OF_A_SCORER)),
            "rows": rows,
            "files": checksums(directory),
        }
        text = json.dumps(manifest, ensure_ascii=False, indent=2, default=_as_text)
        (directory / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return manifest


def _write_tables(forest: Forest, directory: Path, report: Report) -> dict[str, int]:
    rows = dict.fromkeys(SCHEMAS, 0)
    scorers = scorer_names(forest)
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(PartWriter(directory / f"{name}.parquet", schema))
            for name, schema in SCHEMAS.items()
        }
        for batch in in_batches(range(forest.num_trees)):
            ids = tree_ids(forest, batch)
            trees = {one["_id"]: one for one in collection(Tree).find({"_id": {"$in": ids}})}
            found = {
                "trees": [TREES.row(trees[id_]) for id_ in ids if id_ in trees],
                "nodes": _node_rows(trees),
                "scores": _score_rows(ids, scorers),
            }
            for name, some in found.items():
                writers[name].add(some)
                rows[name] += len(some)
            report(batch[-1] + 1)
            if (batch[-1] + 1) % TREES_PER_PART == 0:
                writers["trees"].end_part()
                writers["scores"].end_part()
    return rows


def _node_rows(trees: Mapping[str, Document]) -> list[Document]:
    """Return the nodes of these trees, parents first, so that an import can be interrupted."""
    found: list[tuple[int, int, NodePath, Document]] = []
    for document in node_documents(trees.values()):
        if is_current(document, trees[document["tree_id"]]):
            path = path_of_node(document["_id"])
            found.append((index_of_tree(document["tree_id"]), len(path), path, document))
    return [
        {"tree": index, "path": format_path(path), **NODES.row(document)}
        for index, _, path, document in sorted(found, key=lambda one: one[:3])
    ]


def _score_rows(ids: Sequence[str], scorers: Sequence[str]) -> list[Document]:
    rows = []
    for scorer in scorers:
        by_id = {tree_scores_id(tree, scorer): index_of_tree(tree) for tree in ids}
        for document in collection(TreeScores).find({"_id": {"$in": list(by_id)}}):
            said = {
                name: json.dumps(document.get(name) or {}, ensure_ascii=False)
                for name in ("scores", *_SAID)
            }
            rows.append({"tree": by_id[document["_id"]], "scorer": scorer, **said})
    return rows


def import_forest(directory: Path, name: str, report: Report = lambda _: None) -> Forest:
    """Read what `export_forest` wrote into a forest of this name and return it.

    If it is interrupted, the same call continues. A tree that was growing becomes pending.

    Raises:
        TransferError: the directory is not an export, is damaged, or the name is taken; nothing
            of it is left behind.
        ForestNameError: a forest cannot have this name.
        OSError: the directory cannot be read.
    """
    check_forest_name(name)
    manifest = read_manifest(directory)
    with bounded_memory(MAX_MEMORY):
        check_files(directory, manifest)
    forest = _start_forest(manifest, name, checksum(directory / MANIFEST)["sha256"])
    try:
        with bounded_memory(MAX_MEMORY):
            _import_rows(directory, manifest, forest, report)
    except Exception as error:
        if isinstance(error, PyMongoError | OSError) and not _is_of_a_document(error):
            raise
        delete_forest(forest)
        raise foreign(directory, _why(error)) from error
    whole = {"is_seeded": True, "importer": "", "import_sha256": ""}
    collection(Forest).update_one({"_id": name}, {"$set": whole})
    return Forest.objects.get(pk=name)


def _why(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return f"it takes more than {MAX_MEMORY // 2**30} GiB of memory when it is unpacked"
    return describe(error)


def _is_of_a_document(error: Exception) -> bool:
    """Return whether a document caused the error, and not the database or the disk."""
    if isinstance(error, WriteError):
        return error.code in (_TOO_LARGE, _TOO_LARGE_AFTER_UPDATE)
    if isinstance(error, BulkWriteError):
        return any(one["code"] == _TOO_LARGE for one in error.details["writeErrors"])
    return isinstance(error, InvalidDocument)


def _import_rows(
    directory: Path, manifest: Mapping[str, Any], forest: Forest, report: Report
) -> None:
    begun: dict[str, int] = {}
    for start, rows in _row_batches(directory / "trees.parquet"):
        begun |= insert_trees(
            [_tree_document(forest, row, place) for place, row in enumerate(rows, start)]
        )
        report(start + len(rows))
    if len(begun) != forest.num_trees:
        raise ValueError(f"it does not have {forest.num_trees} trees")
    _import_nodes(directory, forest, begun)
    _import_scores(directory, manifest, forest)
    sums = sum_of_trees(forest)
    if problem := storing_problem(sums):
        raise ValueError(f"the sum over its trees {problem}")
    write_sums(forest, sums)


def _import_nodes(directory: Path, forest: Forest, begun: Mapping[str, int]) -> None:
    """Insert and count the connected nodes: the counts in an archive may be wrong.

    A node without its parent, or behind a gap, comes from a torn write: readers ignore it.
    """
    order = NodeOrder()
    name, tree = "", ReasoningTree()
    for _, rows in _row_batches(directory / "nodes.parquet"):
        documents = []
        for row in rows:
            path = parse_path(row["path"])
            document = _node_document(forest, row, path, begun)
            order.check(row["tree"], path, document["count"])
            if document["tree_id"] != name:
                _write_counters(forest, name, tree)
                name, tree = document["tree_id"], ReasoningTree()
            if tree.append(tree_node(document, path)):
                documents.append(document)
        insert_nodes(documents)
    _write_counters(forest, name, tree)


def _write_counters(forest: Forest, name: str, tree: ReasoningTree) -> None:
    if len(tree) > 1:
        collection(Tree).update_one({"_id": name}, {"$set": counted(tree, forest.estimator)})


def _start_forest(manifest: Mapping[str, Any], name: str, sha256: str) -> Forest:
    """Return the forest to fill. `sha256` is that of the manifest, which lists all checksums.

    Raises:
        TransferError: another forest has this name.
    """
    document = {
        "_id": name,
        **forest_document(manifest["forest"]),
        **OF_THE_SITE,
        "import_sha256": sha256,
    }
    known = Forest.objects.filter(pk=name).first()
    if known is not None:
        split = document["dataset_split"]
        if refusal := import_refusal(known, document["importer"], sha256, split):
            raise TransferError(refusal)
        return known
    # Remains of a deletion that was interrupted, or raced a worker.
    delete_forest(Forest(name=name, num_trees=document["num_trees"]))
    insert_new(Forest, [document])
    return Forest.objects.get(pk=name)


def _row_batches(path: Path) -> Iterator[tuple[int, list[Document]]]:
    """Yield rows with the number of rows before them."""
    before = 0
    with pq.ParquetFile(path) as file:  # type: ignore[no-untyped-call]
        batches = file.iter_batches(_rows_per_read(file.metadata))
        while (rows := _next_rows(batches, path)) is not None:
            yield before, rows
            before += len(rows)


def _rows_per_read(metadata: pq.FileMetaData) -> int:
    """Return how many rows of a table to read at once: fewer if rows are long."""
    num_bytes = largest_row_group(metadata) * int(metadata.num_row_groups)
    num_rows = BYTES_PER_READ * int(metadata.num_rows) // max(1, num_bytes)
    return max(1, min(ROWS_PER_READ, num_rows))


def _next_rows(batches: Iterator[pa.RecordBatch], path: Path) -> list[Document] | None:
    """Return the next rows, or None at the end.

    Raises:
        ValueError: the table is damaged inside. Arrow reports this as an OSError without an
            error number.
    """
    try:
        batch = next(batches, None)
        return None if batch is None else batch.to_pylist()
    except OSError as error:
        if error.errno is not None:
            raise
        raise ValueError(f"{path.name} is damaged: {describe(error)}") from error


def _tree_document(forest: Forest, row: Mapping[str, Any], place: int) -> Document:
    document = TREES.document(row)
    id_ = _tree_of(forest, row["index"])
    if row["index"] != place:
        raise ValueError(f"found tree {row['index']} in the place of tree {place}")
    check_tree(document)
    if document["status"] == TreeStatus.GROWING:
        document["status"] = str(TreeStatus.PENDING)
    empty = counted(ReasoningTree(), forest.estimator)
    fields = {**_without_missing(document), **empty, **NEVER_TAKEN}
    return {"_id": id_, "forest_id": forest.name, **fields}


def _without_missing(document: Document) -> Document:
    """Return a document without the field `kept_tokens` if it is None, as growth writes it."""
    return {
        name: value
        for name, value in document.items()
        if name != "kept_tokens" or value is not None
    }


def _tree_of(forest: Forest, index: int) -> str:
    if index not in range(forest.num_trees):
        raise ValueError(f"tree {index} of {forest.num_trees}")
    return tree_id(forest.name, index)


def _node_document(
    forest: Forest, row: Mapping[str, Any], path: NodePath, begun: Mapping[str, int]
) -> Document:
    tree = _tree_of(forest, row["tree"])
    *parent, position = path
    document = NODES.document(row)
    check_node(document, len(path))
    return {
        "_id": node_id(tree, path),
        "tree_id": tree,
        "forest_id": forest.name,
        "parent_id": node_id(tree, tuple(parent)),
        "depth": len(path),
        "position": position,
        **_without_missing(document),
        "generation": begun[tree],
    }


def _import_scores(directory: Path, manifest: Mapping[str, Any], forest: Forest) -> None:
    """Insert scorers first: deleting a forest finds scores through them."""
    documents = [scorer_document(one, forest.name) for one in manifest["scorers"]]
    scorers = {one["name"]: one for one in documents}
    if len(scorers) < len(documents):
        raise ValueError("a scorer appears twice")
    insert_new(Scorer, documents)
    seen: set[str] = set()
    for _, rows in _row_batches(directory / "scores.parquet"):
        documents = []
        for row in rows:
            scorer, scores = scorers[row["scorer"]], parse_json(row["scores"], float)
            check_scores(scores)
            said = {name: parse_json(row.get(name) or "{}", float) for name in _SAID}
            check_rationales(said["rationales"], said["votes"])
            if problem := storing_problem(said):
                raise ValueError(f"a rationale {problem}")
            id_ = tree_scores_id(_tree_of(forest, row["tree"]), scorer["name"])
            if id_ in seen:
                raise ValueError(f"{id_} appears twice")
            seen.add(id_)
            documents.append({"_id": id_, "scores": scores, **said, "num_steps": 0})
            scorer["num_trees"] += 1
            scorer["num_nodes"] += len(scores.keys() - {format_path(ROOT)})
        insert_new(TreeScores, documents)
    for scorer in scorers.values():
        collection(Scorer).replace_one({"_id": scorer["_id"]}, scorer)


def _as_text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} in a manifest")
