"""What `export_forest` writes: a manifest and tables, and what must be true of them.

`manifest.json` holds the forest, its scorers and the checksums of the tables; `trees.parquet` a row
for each tree, `nodes.parquet` one for each step, parents first, `scores.parquet` one for each tree
and scorer. What follows from a row's place, such as ids, is not written.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from common.directories import MANIFEST
from common.storable import storing_problem
from common.text import describe
from experiment_configs.interfaces import ConfigError, RolloutWorkerConfig
from forests.core.model_counts import as_fields, from_fields
from forests.core.naming import MAX_DEPTH, check_slug, scorer_id
from forests.core.prefix import is_prompt
from forests.core.tree import NodePath
from forests.costs.budgets import MAX_AMOUNT
from forests.models import COUNTERS, Forest, Node, Scorer, Tree
from forests.progress.grown_by import answers_of
from forests.storage.trees import Document
from forests.transfer.archive_files import (
    ADDED,
    check_checksums,
    foreign,
    largest_row_group,
    read_manifest_file,
    read_metadata,
    require_parts,
)
from forests.transfer.columns import Columns
from forests.transfer.foreign_trees import MAX_NODES, MAX_SAMPLES

MAX_BYTES_AT_ONCE = 2**30
"""Of a part of a table when it is unpacked, which is read as a whole."""
MAX_MEMORY = 3 * 2**30
"""That an import takes beyond what the process has: what a table says of its size may be wrong."""
MAX_TOKENS = 2**53
"""That a tree has cost: sums over trees are exact, and fit into a document."""
_OF_AN_ENTRY = ("model", "server", "chat_template_sha256", "first_at")

# Latencies are those of the site's own requests.
OF_THE_SITE = {
    "is_seeded": False,
    "importer": "import_forest",
    "import_sha256": "",
    "is_paused": False,
    "backend_message": "",
    "stop_reason": "",
    "worker_message": "",
    "worker_message_at": None,
    "worked_at": None,
    "ledger": None,
    "reservations": {},
    "latencies": {},
    "request_seconds": 0.0,
}
FOREST = Columns(Forest, without=["name", *OF_THE_SITE])
NEVER_TAKEN = {
    "lease_holder": "",
    "lease_expires_at": None,
    "generation": 0,
    "oldest_generation": 0,
}
TREES = Columns(Tree, without=["id", "forest", *NEVER_TAKEN])
NODES = Columns(
    Node, without=["id", "tree", "forest", "parent_id", "depth", "position", "generation"]
)
SCORERS = Columns(Scorer, without=["id", "forest"])
SCHEMAS = {
    "trees": TREES.schema,
    "nodes": pa.schema([("tree", pa.int64()), ("path", pa.string()), *NODES.schema]),
    "scores": pa.schema([("tree", pa.int64()), ("scorer", pa.string()), ("scores", pa.string())]),
}
_NOT_A_FOREST = (
    ArithmeticError, AttributeError, ConfigError, RecursionError, TypeError, ValueError,
)  # fmt: skip
OF_A_SCORER = ("name", "parameters", "num_trees", "num_nodes", "created_at")


def read_manifest(directory: Path) -> dict[str, Any]:
    """Return the manifest of an exported forest, whose `forest` one can be made of.

    Raises:
        TransferError: there is none, or another version of this program wrote it.
    """
    manifest = read_manifest_file(directory)
    missing = set(FOREST.names) - ADDED.keys() - manifest["forest"].keys()
    require_parts(directory / MANIFEST, missing)
    forest_document(manifest["forest"])
    return manifest


def check_files(directory: Path, manifest: Mapping[str, Any]) -> None:
    check_checksums(directory, manifest, SCHEMAS)
    num_rows = {
        name: _checked_rows(directory / f"{name}.parquet", schema)
        for name, schema in SCHEMAS.items()
    }
    # Before anything loops over as many trees as the manifest claims.
    num_trees = manifest["forest"]["num_trees"]
    if num_rows["trees"] != num_trees:
        raise foreign(directory, f"there are not {num_trees} trees in it")
    most_scores = num_trees * len(manifest["scorers"])
    if num_rows["scores"] > most_scores:
        raise foreign(directory, f"it has more than {most_scores} scores of trees")


def _checked_rows(path: Path, schema: pa.Schema) -> int:
    """Return how many rows a table says it has; refuse one that cannot be read here."""
    metadata = read_metadata(path)
    if not _fits(metadata.schema.to_arrow_schema(), schema):
        raise foreign(path, "unexpected columns")
    if (size := largest_row_group(metadata)) > MAX_BYTES_AT_ONCE:
        raise foreign(path, f"a part of it has {size:,} bytes when it is unpacked")
    return int(metadata.num_rows)


def _fits(found: pa.Schema, schema: pa.Schema) -> bool:
    """Return whether a table has these columns; some of them earlier versions did not write."""
    younger = ADDED.keys() - set(found.names)
    return bool(
        found.equals(pa.schema([column for column in schema if column.name not in younger]))
    )


def forest_document(found: Mapping[str, Any]) -> Document:
    row = {**FOREST.row_when_missing, **found}
    try:
        FOREST.check_types(row)
        for column in FOREST.schema:
            if pa.types.is_timestamp(column.type) and row[column.name] is not None:
                row[column.name] = read_time(row[column.name])
        (row,) = pa.Table.from_pylist([row], schema=FOREST.schema).to_pylist()
        document = FOREST.document(row)
        # The keys of this site are not for servers that somebody else has named.
        if "base_urls" in document["worker_config"]:
            document["worker_config"]["base_urls"] = []
        document["replaced_settings"].pop("base_urls", None)
        _check_forest(document)
    except _NOT_A_FOREST as error:
        raise foreign(Path(MANIFEST), describe(error)) from error
    return document


def _check_forest(document: Mapping[str, Any]) -> None:
    """Refuse what commands, workers and pages take for granted of a forest.

    Raises:
        AttributeError, ConfigError, TypeError, ValueError: it is otherwise.
    """
    if problem := storing_problem([one for one in document.values() if isinstance(one, str)]):
        raise ValueError(f"it {problem}")
    check_slug(document["config_name"], "config name")
    check_slug(document["dataset_split"], "dataset split")
    worker_config = document["worker_config"]
    for settings in (worker_config, worker_config | document["replaced_settings"]):
        if problems := RolloutWorkerConfig.from_dict(settings).problems():
            raise ValueError(problems[0])
    _check_models(document)
    _check_limits(document)
    _check_counts(document)


def _check_models(document: Mapping[str, Any]) -> None:
    entries = document["grown_by"]
    texts = list(document["allowed_models"])
    texts += [one.get(key) for one in entries for key in _OF_AN_ENTRY]
    texts += [name for one in entries for name in answers_of(one)]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("grown_by or allowed_models hold something else than texts")


def _check_limits(document: Mapping[str, Any]) -> None:
    for name in ("max_cost", "price_in", "price_out"):
        if not 0 <= (document[name] or 0) <= MAX_AMOUNT:
            raise ValueError(f"{name} is {document[name]}: from 0 to {MAX_AMOUNT}")
    for name in ("max_requests", "max_tokens_total"):
        if (document[name] or 0) < 0:
            raise ValueError(f"{name} is negative")


def check_tree(document: Mapping[str, Any]) -> None:
    """Refuse a prompt that cannot be shown or sent, and counts that are none.

    Raises:
        AttributeError, TypeError, ValueError: it has them.
    """
    if not is_prompt(document["prompt"]):
        raise ValueError(
            f"the prompt of tree {document['index']} is neither text nor chat messages"
        )
    _check_counts(document)


def _check_counts(document: Mapping[str, Any]) -> None:
    """Refuse counters, failures by kind and nodes by model that are no whole numbers from 0."""
    for name in ("num_trees", *COUNTERS):
        if not 0 <= document.get(name, 0) <= MAX_TOKENS:
            raise ValueError(f"{name} is {document[name]}: from 0 to {MAX_TOKENS}")
    models = document["nodes_by_model"]
    for name, counts in (("failures", document["failures"]), ("nodes_by_model", models)):
        if any(type(count) is not int or not 0 <= count < 2**31 for count in counts.values()):
            raise ValueError(f"{name} are no counts")
    if as_fields(from_fields(models)) != {key: count for key, count in models.items() if count}:
        raise ValueError("nodes_by_model has keys that no model gives")


class NodeOrder:
    """What must be true of the nodes of an archive together, one after the other."""

    def __init__(self) -> None:
        self._last: tuple[int, int, NodePath] | None = None
        self._nodes = self._samples = 0

    def check(self, tree: int, path: NodePath, count: int) -> None:
        """Refuse a node that came before, and a tree of more than pages can bear.

        Raises:
            ValueError: it is one.
        """
        place = (tree, len(path), path)
        if self._last is not None and place <= self._last:
            raise ValueError(f"node {list(path)} of tree {tree} comes twice, or too late")
        if len(path) > MAX_DEPTH:
            raise ValueError(f"tree {tree} has more than {MAX_DEPTH} steps on a path")
        if self._last is None or tree != self._last[0]:
            self._nodes = self._samples = 0
        self._nodes += 1
        self._samples += count
        if self._nodes > MAX_NODES or self._samples > MAX_SAMPLES:
            raise ValueError(
                f"tree {tree} has more than {MAX_NODES} nodes, or more than {MAX_SAMPLES} "
                "samples of them"
            )
        self._last = place


def scorer_document(found: Mapping[str, Any], forest: str) -> Document:
    """Return the document of a scorer that has given no score yet.

    Raises:
        ArithmeticError, KeyError, TypeError, ValueError: it cannot be one.
    """
    name, parameters = found["name"], found["parameters"]
    check_slug(name, "scorer")
    row = {
        "name": name,
        "parameters": json.dumps(parameters, ensure_ascii=False),
        "num_trees": 0,
        "num_nodes": 0,
        "created_at": read_time(found["created_at"]),
    }
    if not isinstance(parameters, dict):
        raise TypeError(f"scorer {name} has no parameters")
    try:
        document = SCORERS.document(row)
    except ValueError as error:
        raise ValueError(f"scorer {name}: {error}") from error
    return {"_id": scorer_id(forest, name), "forest_id": forest, **document}


def read_time(text: str) -> datetime:
    """Return a time in UTC, as the database has it.

    Raises:
        OverflowError, TypeError, ValueError: it is none.
    """
    (found,) = pa.array([datetime.fromisoformat(text)], pa.timestamp("ms")).to_pylist()
    moment: datetime = found
    return moment
