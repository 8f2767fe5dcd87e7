"""Read what `export_forest` wrote, without Django or a database."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from common.directories import MANIFEST
from common.text import describe
from experiment_configs.questions import question_of_prompt
from forests.core.prefix import is_prompt
from forests.core.reading import SPENT, ForestSummary, ReadError, ReadTree
from forests.core.tokens.kept import KeptTokens, unpack
from forests.core.tree import Grade, ReasoningTree, Scores, TreeNode, connected, parse_path
from forests.transfer.archive_files import (
    ADDED,
    TransferError,
    check_checksums,
    check_node,
    check_scores,
    foreign,
    read_manifest_file,
    read_metadata,
)

TREES_PER_READ = 32
"""As many as `export_forest` writes into one part of a table."""
_JSON_OF_FOREST = ("worker_config", "nodes_by_model")
_BROKEN = (
    ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError,
)  # fmt: skip


class ArchiveSource:
    """A forest in a directory of Parquet."""

    def __init__(self, directory: Path, *, is_checked: bool = True) -> None:
        """Open an archive.

        `is_checked`: whether the SHA-256 of each file is compared with the manifest, which reads
        all of them.

        Raises:
            ReadError: the directory holds no export, or a damaged one.
        """
        self._directory = directory
        try:
            manifest = read_manifest_file(directory)
            if is_checked:
                check_checksums(directory, manifest, ("trees", "nodes", "scores"))
            self.summary = _summary(manifest)
            self._trees = _Table(directory / "trees.parquet", "index")
            self._nodes = _Table(directory / "nodes.parquet", "tree")
            self._scores = _Table(directory / "scores.parquet", "tree")
        except TransferError as error:
            raise ReadError(str(error)) from error
        except OSError as error:
            raise ReadError(f"{directory} cannot be read: {describe(error)}") from error
        except _BROKEN as error:
            raise ReadError(str(foreign(directory / MANIFEST, describe(error)))) from error

    def trees(self, indexes: range, scorer: str) -> Iterator[ReadTree]:
        """Yield these trees in the order of the dataset, in bounded memory.

        Raises:
            ReadError: the archive cannot be read.
        """
        for start in range(indexes.start, indexes.stop, TREES_PER_READ):
            batch = range(start, min(start + TREES_PER_READ, indexes.stop))
            try:
                found = self._read(batch, scorer)
            except OSError as error:
                raise ReadError(f"{self._directory} cannot be read: {describe(error)}") from error
            except _BROKEN as error:
                raise ReadError(str(foreign(self._directory, describe(error)))) from error
            yield from found

    def _read(self, batch: range, scorer: str) -> list[ReadTree]:
        nodes: defaultdict[int, list[TreeNode]] = defaultdict(list)
        for row in self._nodes.rows(batch):
            nodes[row["tree"]].append(_node(row))
        scores: dict[int, Scores] = {
            row["tree"]: _scores(row)
            for row in (self._scores.rows(batch) if scorer else ())
            if row["scorer"] == scorer
        }
        rows = sorted(self._trees.rows(batch), key=lambda row: int(row["index"]))
        if [row["index"] for row in rows] != list(batch):
            raise ValueError(f"trees {batch.start} to {batch.stop - 1} are not all in it")
        trees = {row["index"]: connected(nodes[row["index"]]) for row in rows}
        if any(orphans for _, orphans in trees.values()):
            raise ValueError("it has steps without their parents")
        return [
            _read_tree(row, trees[row["index"]][0], scores.get(row["index"], {})) for row in rows
        ]


class _Table:
    """A table whose rows belong to trees; those of some trees are read without the others."""

    def __init__(self, path: Path, key: str) -> None:
        self._path = path
        self._key = key
        self._metadata = metadata = read_metadata(path)
        column = metadata.schema.to_arrow_schema().get_field_index(key)
        self._spans = [
            _span(metadata.row_group(number).column(column).statistics)
            for number in range(metadata.num_row_groups)
        ]

    def rows(self, trees: range) -> Iterable[Mapping[str, Any]]:
        """Yield the rows of these trees, part by part of the table."""
        groups = [
            number
            for number, (first, last) in enumerate(self._spans)
            if first < trees.stop and last >= trees.start
        ]
        if not groups:
            return
        # Parsing the metadata again for each part would take longer than the part.
        file = pq.ParquetFile(self._path, metadata=self._metadata)  # type: ignore[no-untyped-call]
        with file:
            for number in groups:
                table = file.read_row_group(number)  # type: ignore[no-untyped-call]
                key = table.column(self._key)
                wanted = pc.and_(  # type: ignore[attr-defined]
                    pc.greater_equal(key, trees.start),  # type: ignore[attr-defined]
                    pc.less(key, trees.stop),  # type: ignore[attr-defined]
                )
                yield from table.filter(wanted).to_pylist()


def _span(statistics: Any) -> tuple[float, float]:
    """Return the first and the last tree of a part of a table; any where it does not say."""
    if statistics is None or not statistics.has_min_max:
        return float("-inf"), float("inf")
    return statistics.min, statistics.max


def _summary(manifest: Mapping[str, Any]) -> ForestSummary:
    forest = {**ADDED, **manifest["forest"]}
    for name in _JSON_OF_FOREST:
        if isinstance(forest[name], str):
            forest[name] = json.loads(forest[name])
    scorers = [str(scorer["name"]) for scorer in manifest["scorers"]]
    return ForestSummary.of(forest["name"], forest, scorers)


def _read_tree(row: Mapping[str, Any], tree: ReasoningTree, scores: Scores) -> ReadTree:
    row = {**ADDED, **row}
    prompt = json.loads(row["prompt"])
    if not is_prompt(prompt):
        raise ValueError(f"the prompt of tree {row['index']} is neither text nor chat messages")
    tree.root.kept = _kept(row)
    return ReadTree(
        index=row["index"],
        item=row["item"],
        label=row["label"],
        prompt=prompt,
        question=row["question"] or question_of_prompt(prompt),
        status=row["status"],
        error=row["error"],
        hit_max_nodes=row["hit_max_nodes"],
        refined_steps=json.loads(row["refined_steps"] or "null"),
        spent={name: row[name] for name in SPENT},
        tree=tree,
        scores=scores,
    )


def _node(row: Mapping[str, Any]) -> TreeNode:
    path = parse_path(row["path"])
    document = {**ADDED, **row, "drawn": json.loads(row["drawn"])}
    check_node(document, len(path))
    return TreeNode(
        path=path,
        text=document["text"],
        count=document["count"],
        drawn={int(depth): number for depth, number in document["drawn"].items()},
        terminal=document["terminal"],
        truncated=document["truncated"],
        answer=document["answer"],
        grade=None if document["grade"] is None else Grade(document["grade"]),
        voted_answer=document["voted_answer"],
        tokens=document["tokens"],
        logprob=document["logprob"],
        finish_reason=document["finish_reason"],
        model=document["model"],
        seed=document["seed"],
        numbered_to=document["numbered_to"] or 0,
        is_thought=document["is_thought"],
        kept=_kept(document),
    )


def _kept(document: Mapping[str, Any]) -> KeptTokens | None:
    packed = document["kept_tokens"]
    return unpack(packed) if packed else None


def _scores(row: Mapping[str, Any]) -> Scores:
    scores = json.loads(row["scores"])
    check_scores(scores)
    return {parse_path(path.replace("-", ".")): score for path, score in scores.items()}
