"""The format of `export_forest`: a manifest and tables, and the checks before an import.

`manifest.json` holds the forest, its scorers and the checksums of the tables. `trees.parquet` has a
row for each tree, `nodes.parquet` one for each step, parents first, and `scores.parquet` one for
each tree and scorer. Values that follow from a row's place, such as ids, are not written.
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
from forests.core.opinions.verdicts import HUMAN, SCORER_KINDS
from forests.core.prefix import is_prompt
from forests.core.tokens.kept import unpack
from forests.core.tree import NodePath, parse_path
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
"""Most bytes of an unpacked row group, which is read as a whole."""
MAX_MEMORY = 3 * 2**30
"""Most memory that an import may add: the sizes in a table's metadata may be wrong."""
MAX_TOKENS = 2**53
"""Largest counter of a tree: sums over trees stay exact and fit into a document."""
_OF_AN_ENTRY = ("model", "server", "chat_template_sha256", "first_at")

# Fields of a forest that belong to a site, with their values after an import. For example,
# latencies describe the exporting site's own requests.
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
NEVER_TAKEN: Document = {
    "lease_holder": "",
    "lease_expires_at": None,
    "generation": 0,
    "oldest_generation": 0,
    "majority_value": None,
    "disagreement": None,
    "disagreements": [],
}
TREES = Columns(Tree, without=["id", "forest", *NEVER_TAKEN])
NODES = Columns(
    Node, without=["id", "tree", "forest", "parent_id", "depth", "position", "generation"]
)
SCORERS = Columns(Scorer, without=["id", "forest", "changed_at"])
SCHEMAS = {
    "trees": TREES.schema,
    "nodes": pa.schema([("tree", pa.int64()), ("path", pa.string()), *NODES.schema]),
    "scores": pa.schema(
        [
            (name, pa.int64() if name == "tree" else pa.string())
            for name in ("tree", "scorer", "scores", "rationales", "votes")
        ]
    ),
}
_NOT_A_FOREST = (
    ArithmeticError, AttributeError, ConfigError, RecursionError, TypeError, ValueError,
)  # fmt: skip
OF_A_SCORER = ("name", "kind", "parameters", "spent", "num_trees", "num_nodes", "created_at")


MAX_SPENT = 2**53
"""Most requests or tokens of a judge."""


def read_manifest(directory: Path) -> dict[str, Any]:
    """Return the manifest of an exported forest, checked so that a forest can be made of it.

    Raises:
        TransferError: the directory has no manifest, or another version wrote it.
    """
    manifest = read_manifest_file(directory)
    missing = set(FOREST.names) - ADDED.keys() - manifest["forest"].keys()
    require_parts(directory / MANIFEST, missing)
    forest_document(manifest["forest"])
    return manifest


def check_files(directory: Path, manifest: Mapping[str, Any]) -> None:
    """Refuse files that differ from the manifest, or that cannot be read in bounded memory.

    Raises:
        TransferError: a file is refused.
    """
    check_checksums(directory, manifest, SCHEMAS)
    num_rows = {
        name: _checked_rows(directory / f"{name}.parquet", schema)
        for name, schema in SCHEMAS.items()
    }
    # Check this before a loop trusts the manifest's number of trees.
    num_trees = manifest["forest"]["num_trees"]
    if num_rows["trees"] != num_trees:
        raise foreign(directory, f"it does not have {num_trees} trees")
    most_scores = num_trees * len(manifest["scorers"])
    if num_rows["scores"] > most_scores:
        raise foreign(directory, f"it has more than {most_scores} scores of trees")


def _checked_rows(path: Path, schema: pa.Schema) -> int:
    """Return the row count in a table's metadata; refuse a table that cannot be read safely."""
    metadata = read_metadata(path)
    if not _fits(metadata.schema.to_arrow_schema(), schema):
        raise foreign(path, "unexpected columns")
    if (size := largest_row_group(metadata)) > MAX_BYTES_AT_ONCE:
        raise foreign(path, f"a part of it has {size:,} bytes when it is unpacked")
    return int(metadata.num_rows)


def _fits(found: pa.Schema, schema: pa.Schema) -> bool:
    """Return whether a table has these columns. Earlier versions did not write some of them."""
    younger = ADDED.keys() - set(found.names)
    return bool(
        found.equals(pa.schema([column for column in schema if column.name not in younger]))
    )


def forest_document(found: Mapping[str, Any]) -> Document:
    """Return the document of a forest from its part of a manifest, without its name.

    Raises:
        TransferError: it is not valid.
    """
    row = {**FOREST.row_when_missing, **found}
    try:
        for column in FOREST.schema:
            if pa.types.is_timestamp(column.type) and row[column.name] is not None:
                row[column.name] = read_time(row[column.name])
        document = FOREST.document(row)
        # A server from an imported file must not receive this site's keys.
        if "base_urls" in document["worker_config"]:
            document["worker_config"]["base_urls"] = []
        document["replaced_settings"].pop("base_urls", None)
        _check_forest(document)
    except _NOT_A_FOREST as error:
        raise foreign(Path(MANIFEST), describe(error)) from error
    return document


def _check_forest(document: Mapping[str, Any]) -> None:
    """Refuse a forest document that commands, workers or pages cannot use.

    Raises:
        AttributeError, ConfigError, TypeError, ValueError: the document is refused.
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
        raise ValueError("grown_by or allowed_models hold something other than texts")


def _check_limits(document: Mapping[str, Any]) -> None:
    for name in ("max_cost", "price_in", "price_out"):
        if not 0 <= (document[name] or 0) <= MAX_AMOUNT:
            raise ValueError(f"{name} is {document[name]}: from 0 to {MAX_AMOUNT}")
    for name in ("max_requests", "max_tokens_total"):
        if (document[name] or 0) < 0:
            raise ValueError(f"{name} is negative")


def check_tree(document: Mapping[str, Any]) -> None:
    """Refuse a prompt that cannot be shown or sent, and invalid counters.

    Raises:
        AttributeError, TypeError, ValueError: the tree has one of them.
    """
    if not is_prompt(document["prompt"]):
        raise ValueError(
            f"the prompt of tree {document['index']} is neither text nor chat messages"
        )
    if kept := document["kept_tokens"]:
        unpack(kept)
    steps = document["refined_steps"]
    if steps is not None and not (isinstance(steps, list) and all(map(parse_path, steps))):
        raise ValueError(f"refined_steps of tree {document['index']} are not paths of steps")
    _check_counts(document)


def _check_counts(document: Mapping[str, Any]) -> None:
    """Refuse counters, failures by kind and nodes by model that are not whole numbers from 0."""
    for name in ("num_trees", *COUNTERS):
        if not 0 <= document.get(name, 0) <= MAX_TOKENS:
            raise ValueError(f"{name} is {document[name]}: from 0 to {MAX_TOKENS}")
    models = document["nodes_by_model"]
    for name, counts in (("failures", document["failures"]), ("nodes_by_model", models)):
        if any(type(count) is not int or not 0 <= count < 2**31 for count in counts.values()):
            raise ValueError(f"{name} are not counts")
    if as_fields(from_fields(models)) != {key: count for key, count in models.items() if count}:
        raise ValueError("nodes_by_model has keys that no model gives")


class NodeOrder:
    """Checks the order of an archive's nodes, one after the other, and the size of its trees."""

    def __init__(self) -> None:
        self._last: tuple[int, int, NodePath] | None = None
        self._nodes = self._samples = 0

    def check(self, tree: int, path: NodePath, count: int) -> None:
        """Refuse a node out of order, and a tree too large for pages.

        Raises:
            ValueError: the node is refused.
        """
        place = (tree, len(path), path)
        if self._last is not None and place <= self._last:
            raise ValueError(f"node {list(path)} of tree {tree} appears twice, or out of order")
        if len(path) > MAX_DEPTH:
            raise ValueError(f"tree {tree} has more than {MAX_DEPTH} steps on a path")
        if self._last is None or tree != self._last[0]:
            self._nodes = self._samples = 0
        self._nodes += 1
        self._samples += count
        if self._nodes > MAX_NODES or self._samples > MAX_SAMPLES:
            raise ValueError(
                f"tree {tree} has more than {MAX_NODES} nodes, or more than {MAX_SAMPLES} samples"
            )
        self._last = place


def scorer_document(found: Mapping[str, Any], forest: str) -> Document:
    """Return the document of a scorer that has not scored anything yet.

    Raises:
        ArithmeticError, KeyError, TypeError, ValueError: it is not a valid scorer.
    """
    name, parameters = found["name"], found["parameters"]
    kind, spent = found.get("kind", ""), found.get("spent", {})
    check_slug(name, "scorer")
    row = {
        "name": name,
        "kind": kind,
        "parameters": json.dumps(_imported(name, parameters), ensure_ascii=False),
        "spent": json.dumps(spent, ensure_ascii=False),
        "num_trees": found.get("num_trees", 0),
        "num_nodes": found.get("num_nodes", 0),
        "created_at": read_time(found["created_at"]),
    }
    if not isinstance(parameters, dict):
        raise TypeError(f"scorer {name} has no parameters")
    if kind not in ("", *SCORER_KINDS):
        raise ValueError(f"scorer {name} is of the kind {kind!r:.40}")
    if not isinstance(spent, dict) or not all(map(_is_count, spent.values())):
        raise ValueError(f"scorer {name} has spent what are not counts")
    try:
        document = SCORERS.document(row)
    except ValueError as error:
        raise ValueError(f"scorer {name}: {error}") from error
    return {
        "_id": scorer_id(forest, name),
        "forest_id": forest,
        "changed_at": None,
        **document,
        "num_trees": 0,  # an import counts them
        "num_nodes": 0,
    }


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_SPENT


def _imported(name: str, parameters: Any) -> Any:
    """Return the parameters of a scorer; those of people's labels say that it was imported.

    An archive has scores but no single labels, so labels given here must not join this scorer.
    """
    is_of_people = name == HUMAN and isinstance(parameters, dict)
    return {**parameters, "imported": True} if is_of_people else parameters


def read_time(text: str) -> datetime:
    """Return a time in UTC, as the database stores it.

    Raises:
        OverflowError, TypeError, ValueError: the text is not a time.
    """
    (found,) = pa.array([datetime.fromisoformat(text)], pa.timestamp("ms")).to_pylist()
    moment: datetime = found
    return moment
