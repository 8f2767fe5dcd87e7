"""A whole forest to and from a directory of Parquet, so that it can move between sites.

`manifest.json` holds the forest, its scorers and the checksums of the tables; `trees.parquet` a row
for each tree, `nodes.parquet` one for each step, parents first, `scores.parquet` one for each tree
and scorer. What follows from a row's place, such as ids, is not written.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from experiment_configs.messages import describe
from forests.core.naming import (
    check_forest_name,
    check_slug,
    index_of_tree,
    node_id,
    path_of_node,
    scorer_id,
    tree_id,
    tree_scores_id,
)
from forests.core.tree import NodePath, format_path, parse_path
from forests.directories import MANIFEST, check_output, checksum, checksums, written_aside
from forests.documents import Columns
from forests.models import Forest, Node, Scorer, Tree, TreeScores, TreeStatus
from forests.scores import scorer_names
from forests.store import (
    Document,
    collection,
    delete_forest,
    in_batches,
    insert_new,
    tree_ids,
)

FORMAT_VERSION = 1
ROWS_PER_READ = 2000

# Latencies are those of the site's own requests.
_OF_THE_SITE = {
    "is_seeded": False,
    "is_paused": False,
    "backend_message": "",
    "latencies": {},
    "request_seconds": 0.0,
}
FOREST = Columns(Forest, without=["name", *_OF_THE_SITE])
TREES = Columns(Tree, without=["id", "forest", "lease_holder", "lease_expires_at"])
NODES = Columns(Node, without=["id", "tree", "forest", "parent_id", "depth", "position"])
_SCHEMAS = {
    "trees": TREES.schema,
    "nodes": pa.schema([("tree", pa.int64()), ("path", pa.string()), *NODES.schema]),
    "scores": pa.schema([("tree", pa.int64()), ("scorer", pa.string()), ("scores", pa.string())]),
}
_OF_A_SCORER = ("name", "parameters", "num_trees", "num_nodes", "created_at")

Report = Callable[[int], None]
"""Called with the number of trees done."""


class TransferError(Exception):
    """A directory cannot be imported; the message is one line with the remedy."""


def export_forest(
    forest: Forest, output: Path, *, overwrite: bool, report: Report = lambda _: None
) -> dict[str, Any]:
    """Write a forest and return the manifest.

    Raises:
        OutputError: something is there already.
        OSError: the disk is full, or the directory cannot be written; nothing is left behind.
    """
    check_output(output, overwrite=overwrite)
    with written_aside(output) as directory:
        rows = _write_tables(forest, directory, report)
        document = collection(Forest).find_one({"_id": forest.name}) or {}
        manifest = {
            "format": "prm_site forest",
            "version": FORMAT_VERSION,
            "exported_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "forest": {"name": forest.name, **FOREST.row(document)},
            "scorers": list(Scorer.objects.filter(forest_id=forest.name).values(*_OF_A_SCORER)),
            "rows": rows,
            "files": checksums(directory),
        }
        text = json.dumps(manifest, ensure_ascii=False, indent=2, default=_as_text)
        (directory / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return manifest


def _write_tables(forest: Forest, directory: Path, report: Report) -> dict[str, int]:
    rows = dict.fromkeys(_SCHEMAS, 0)
    scorers = scorer_names(forest)
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(
                pq.ParquetWriter(  # type: ignore[no-untyped-call]
                    directory / f"{name}.parquet", schema, compression="zstd"
                )
            )
            for name, schema in _SCHEMAS.items()
        }
        for batch in in_batches(range(forest.num_trees)):
            ids = tree_ids(forest, batch)
            found = {
                "trees": _tree_rows(ids),
                "nodes": _node_rows(ids),
                "scores": _score_rows(ids, scorers),
            }
            for name, some in found.items():
                if some:
                    writers[name].write_table(pa.Table.from_pylist(some, schema=_SCHEMAS[name]))
                    rows[name] += len(some)
            report(batch[-1] + 1)
    return rows


def _tree_rows(ids: Sequence[str]) -> list[Document]:
    found = collection(Tree).find({"_id": {"$in": ids}})
    return [TREES.row(document) for document in sorted(found, key=lambda one: one["index"])]


def _node_rows(ids: Sequence[str]) -> list[Document]:
    """Return the nodes of these trees, parents first, so that an import can be interrupted."""
    found: list[tuple[int, int, NodePath, Document]] = []
    for document in collection(Node).find({"tree_id": {"$in": list(ids)}}):
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
            scores = json.dumps(document["scores"])
            rows.append({"tree": by_id[document["_id"]], "scorer": scorer, "scores": scores})
    return rows


def import_forest(directory: Path, name: str, report: Report = lambda _: None) -> Forest:
    """Read what `export_forest` wrote into a forest of this name and return it.

    Interrupted, it is gone on with by the same call. A tree that was growing is pending.

    Raises:
        TransferError: the directory is no export, is damaged, or the name is taken; nothing of it
            is left behind.
        ForestNameError: no forest can have this name.
        OSError: it cannot be read.
    """
    check_forest_name(name)
    manifest = read_manifest(directory)
    _check_files(directory, manifest)
    _start_forest(manifest, name)
    try:
        _import_rows(directory, manifest, name, report)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        delete_forest(Forest.objects.get(pk=name))
        raise _foreign(directory, describe(error)) from error
    collection(Forest).update_one({"_id": name}, {"$set": {"is_seeded": True}})
    return Forest.objects.get(pk=name)


def _import_rows(directory: Path, manifest: Mapping[str, Any], name: str, report: Report) -> None:
    for start, rows in _row_batches(directory / "trees.parquet"):
        insert_new(Tree, [_tree_document(name, row) for row in rows])
        report(start + len(rows))
    for _, rows in _row_batches(directory / "nodes.parquet"):
        insert_new(Node, [_node_document(name, row) for row in rows])
    _import_scores(directory, manifest, name)


def read_manifest(directory: Path) -> dict[str, Any]:
    """Return the manifest of an exported forest.

    Raises:
        TransferError: there is none, or another version of this program wrote it.
    """
    path = directory / MANIFEST
    if not path.is_file():
        raise TransferError(f"{directory} has no {MANIFEST}: give what export_forest wrote")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TransferError(f"{path} is no JSON: export the forest again") from error
    if not isinstance(manifest, dict) or manifest.get("format") != "prm_site forest":
        raise TransferError(f"{directory} holds no forest: give what export_forest wrote")
    if manifest.get("version") != FORMAT_VERSION:
        raise TransferError(
            f"{directory} has format {manifest.get('version')}, and this site reads "
            f"{FORMAT_VERSION}: use the version that wrote it"
        )
    parts = {"files": dict, "forest": dict, "scorers": list}
    missing = {part for part, kind in parts.items() if not isinstance(manifest.get(part), kind)}
    missing = missing or {"name", *FOREST.names} - manifest["forest"].keys()
    if not missing and not isinstance(manifest["forest"]["name"], str):
        missing = {"name"}
    if missing:
        raise TransferError(f"{path} lacks {', '.join(sorted(missing))}: export the forest again")
    return manifest


def _check_files(directory: Path, manifest: Mapping[str, Any]) -> None:
    for name, file in manifest["files"].items():
        path = directory / name
        if Path(name).name != name or not path.is_file() or checksum(path) != file:
            raise TransferError(
                f"{path} is missing or not what was exported: copy it again, or export anew"
            )
    for name, schema in _SCHEMAS.items():
        path = directory / f"{name}.parquet"
        if path.name not in manifest["files"] or not _read_schema(path).equals(schema):
            raise _foreign(path, "its columns are others")


def _read_schema(path: Path) -> pa.Schema:
    try:
        return pq.read_schema(path)  # type: ignore[no-untyped-call]
    except pa.ArrowException as error:
        raise _foreign(path, describe(error)) from error


def _foreign(path: Path, why: str) -> TransferError:
    return TransferError(
        f"{path} is not what export_forest writes ({why}): export the forest again"
    )


def _start_forest(manifest: Mapping[str, Any], name: str) -> None:
    document = _forest_document(manifest["forest"])
    known = Forest.objects.filter(pk=name).first()
    if known is not None:
        is_ours = known.created_at == document["created_at"].replace(tzinfo=UTC)
        if known.is_seeded or not is_ours:
            raise TransferError(
                f"a forest named {name!r} is there: choose another --forest_name_suffix"
            )
        return
    insert_new(Forest, [{"_id": name, **document, **_OF_THE_SITE}])


def _forest_document(found: Mapping[str, Any]) -> Document:
    row = dict(found)
    try:
        for column in FOREST.schema:
            if pa.types.is_timestamp(column.type) and row[column.name] is not None:
                row[column.name] = datetime.fromisoformat(row[column.name])
        (row,) = pa.Table.from_pylist([row], schema=FOREST.schema).to_pylist()
        document = FOREST.document(row)
    except (TypeError, ValueError) as error:
        raise _foreign(Path(MANIFEST), describe(error)) from error
    if empty := [name for name in FOREST.required if row[name] is None]:
        raise _foreign(Path(MANIFEST), f"no {', '.join(empty)}")
    return document


def _row_batches(path: Path) -> Iterator[tuple[int, list[Document]]]:
    """Yield rows with the number of those before."""
    before = 0
    with pq.ParquetFile(path) as file:  # type: ignore[no-untyped-call]
        for batch in file.iter_batches(ROWS_PER_READ):
            rows = batch.to_pylist()
            yield before, rows
            before += len(rows)


def _tree_document(forest: str, row: Mapping[str, Any]) -> Document:
    document = TREES.document(row)
    if document["status"] == TreeStatus.GROWING:
        document["status"] = str(TreeStatus.PENDING)
    lease = {"lease_holder": "", "lease_expires_at": None}
    return {"_id": tree_id(forest, row["index"]), "forest_id": forest, **document, **lease}


def _node_document(forest: str, row: Mapping[str, Any]) -> Document:
    tree, path = tree_id(forest, row["tree"]), parse_path(row["path"])
    *parent, position = path
    return {
        "_id": node_id(tree, path),
        "tree_id": tree,
        "forest_id": forest,
        "parent_id": node_id(tree, tuple(parent)),
        "depth": len(path),
        "position": position,
        **NODES.document(row),
    }


def _import_scores(directory: Path, manifest: Mapping[str, Any], name: str) -> None:
    """Insert scorers first: deleting a forest finds scores by them."""
    for scorer in manifest["scorers"]:
        check_slug(str(scorer["name"]), "scorer")
    scorers = [
        {
            **{column: scorer[column] for column in _OF_A_SCORER},
            "_id": scorer_id(name, scorer["name"]),
            "forest_id": name,
            "created_at": datetime.fromisoformat(scorer["created_at"]),
        }
        for scorer in manifest["scorers"]
    ]
    insert_new(Scorer, scorers)
    for _, rows in _row_batches(directory / "scores.parquet"):
        documents = [
            {
                "_id": tree_scores_id(tree_id(name, row["tree"]), row["scorer"]),
                "scores": json.loads(row["scores"]),
            }
            for row in rows
        ]
        insert_new(TreeScores, documents)


def _as_text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} in a manifest")
