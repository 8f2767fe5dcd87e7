"""Read what `export_forest` wrote, without Django or a database."""

import json
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import accumulate, repeat
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from common.directories import MANIFEST
from common.text import describe
from experiment_configs.questions import question_of_prompt
from forests.core.model_counts import busiest_first, from_fields
from forests.core.opinions.judged import JudgedTree
from forests.core.prefix import is_prompt
from forests.core.reading import COMPLETE, SPENT, ForestSummary, ReadError, ReadTree
from forests.core.tokens.kept import KeptTokens, unpack
from forests.core.tree import (
    Grade,
    NodePath,
    Scores,
    TreeNode,
    connected,
    parse_path,
)
from forests.transfer.archive_files import (
    ADDED,
    MAX_NUMBERED,
    TransferError,
    check_checksums,
    check_drawn,
    check_rationales,
    check_scores,
    foreign,
    read_manifest_file,
    read_metadata,
)

TREES_PER_READ = 256
"""Most trees that are read at once."""
NODES_PER_READ = 2**13
"""Most nodes that are read at once, unless one part of the table has more; about 6 MB of them."""
_JSON_OF_FOREST = ("worker_config", "nodes_by_model")
_BROKEN = (
    ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError,
)  # fmt: skip

_RANGES = {"count": (1, None), "tokens": (0, None), "numbered_to": (0, MAX_NUMBERED)}
"""Least and greatest values of columns of nodes; None: any."""
_MAY_BE_NULL = (
    "answer", "grade", "voted_answer", "logprob", "seed", "numbered_to", "kept_tokens",
    "refined_steps",
)  # fmt: skip
_OF_A_NODE = (
    "path", "text", "count", "drawn", "terminal", "truncated", "answer", "grade", "voted_answer",
    "tokens", "logprob", "finish_reason", "model", "seed", "numbered_to", "is_thought",
    "kept_tokens",
)  # fmt: skip
"""Columns, in the order of the fields of `TreeNode`."""
_OF_A_TREE = (
    "index", "item", "label", "prompt", "question", "status", "error", "hit_max_nodes",
    "refined_steps", "kept_tokens", *SPENT,
)  # fmt: skip
_BESIDE_VALUES: Mapping[str, Any] = {
    "text": "", "finish_reason": "", "model": "", "seed": None, "numbered_to": 0,
    "kept_tokens": None, "prompt": '""', "question": "",
}  # fmt: skip
"""Columns that no value depends on, each with the value that replaces it if it is left out."""
_GRADES: dict[str | None, Grade | None] = {str(grade): grade for grade in Grade}
_GRADES[None] = None


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
            self._kept_judged: tuple[tuple[int, str] | None, dict[int, JudgedTree]] = (None, {})
        except TransferError as error:
            raise ReadError(str(error)) from error
        except OSError as error:
            raise ReadError(f"{directory} cannot be read: {describe(error)}") from error
        except _BROKEN as error:
            raise ReadError(str(foreign(directory / MANIFEST, describe(error)))) from error

    def trees(
        self, indexes: range, scorers: Sequence[str] = (), *, only_values: bool = False
    ) -> Iterator[ReadTree]:
        """Yield these trees in the order of the dataset, in bounded memory.

        `only_values`: see `forests.core.reading.ForestSource`.

        Raises:
            ReadError: the archive cannot be read.
        """
        left_out = _BESIDE_VALUES if only_values else {}
        while indexes:
            batch = self._nodes.whole_parts(indexes[:TREES_PER_READ], NODES_PER_READ)
            with self._reading():
                found = self._read(batch, scorers, left_out)
            yield from found
            indexes = indexes[len(batch) :]

    def judged(self, index: int, scorer: str) -> JudgedTree:
        """Return what one scorer says of a tree, and why; empty if it says nothing.

        Callers ask for one tree after the other, so the last `TREES_PER_READ` trees are cached.

        Raises:
            ReadError: the archive cannot be read.
        """
        first = index - index % TREES_PER_READ
        if self._kept_judged[0] != (first, scorer):
            with self._reading():
                self._kept_judged = (first, scorer), self._read_judged(first, scorer)
        return self._kept_judged[1].get(index, JudgedTree())

    def count_models(self) -> dict[str, int]:
        """Return how many nodes of the complete trees each model wrote, busiest first.

        Raises:
            ReadError: the archive cannot be read.
        """
        with self._reading():
            return self._count_models()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ReadError(f"{self._directory} cannot be read: {describe(error)}") from error
        except _BROKEN as error:
            raise ReadError(str(foreign(self._directory, describe(error)))) from error

    def _read(
        self, batch: range, scorers: Sequence[str], left_out: Mapping[str, Any]
    ) -> list[ReadTree]:
        trees = _columns(self._trees.read(batch, _OF_A_TREE, left_out), _OF_A_TREE, left_out)
        rows = sorted(zip(*trees, strict=False), key=lambda row: int(row[0]))
        if [row[0] for row in rows] != list(batch):
            raise ValueError(f"trees {batch.start} to {batch.stop - 1} are not all in it")
        nodes = _nodes(self._nodes.read(batch, ("tree", *_OF_A_NODE), left_out), left_out)
        scores = self._read_scores(batch, scorers)
        return [
            _read_tree(
                dict(zip(_OF_A_TREE, row, strict=True)),
                nodes.get(row[0], []),
                {name: scores.get((row[0], name), {}) for name in scorers},
            )
            for row in rows
        ]

    def _read_scores(self, batch: range, scorers: Sequence[str]) -> dict[tuple[int, str], Scores]:
        if not scorers:
            return {}
        table = self._scores.read(batch, ("tree", "scorer", "scores"))
        wanted = pc.is_in(table.column("scorer"), pa.array(scorers))  # type: ignore[attr-defined]
        rows = _columns(table.filter(wanted), ("tree", "scorer", "scores"))
        return {(tree, scorer): _scores(text) for tree, scorer, text in zip(*rows, strict=True)}

    def _read_judged(self, first: int, scorer: str) -> dict[int, JudgedTree]:
        names = ("tree", "scorer", "scores", "rationales", "votes")
        batch = range(first, first + TREES_PER_READ)
        rows = zip(*_columns(self._scores.read(batch, names), names), strict=False)
        return {tree: _judged(*said) for tree, name, *said in rows if name == scorer}

    def _count_models(self) -> dict[str, int]:
        numbers: Counter[str] = Counter()
        names = ("index", "status", "num_nodes", "nodes_by_model")
        number = self.summary.counts["num_trees"]
        for start in range(0, number, TREES_PER_READ):
            batch = range(start, min(start + TREES_PER_READ, number))
            uncounted = set[int]()
            rows = zip(*_columns(self._trees.read(batch, names), names), strict=False)
            for index, status, num_nodes, stored in rows:
                counted = from_fields(_loads(stored)) if status == COMPLETE else {}
                if counted and sum(counted.values()) == num_nodes:
                    numbers.update(counted)
                elif status == COMPLETE:
                    uncounted.add(index)
            if uncounted:
                table = self._nodes.read(batch, ("tree", "model"))
                found = zip(*_columns(table, ("tree", "model")), strict=True)
                numbers.update(model for tree, model in found if tree in uncounted)
        return busiest_first(numbers)


class _Table:
    """A table with the rows of trees. It reads only the parts that have the wanted trees."""

    def __init__(self, path: Path, key: str) -> None:
        self._path = path
        self._key = key
        self._metadata = metadata = read_metadata(path)
        schema = metadata.schema.to_arrow_schema()
        self._names = frozenset(schema.names)
        column = schema.get_field_index(key)
        self._spans = [
            _span(metadata.row_group(number).column(column).statistics)
            for number in range(metadata.num_row_groups)
        ]
        self._rows = [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]
        self._last = list(accumulate((last for _, last in self._spans), max))
        """For each part, the last tree in it or in an earlier part."""
        self._first = [*accumulate((first for first, _ in reversed(self._spans)), min)][::-1]
        """For each part, the first tree in it or in a later part."""

    def whole_parts(self, trees: range, most_rows: int) -> range:
        """Return the first of these trees, up to the end of a part.

        Their parts have at most `most_rows` rows, unless the first part alone has more.
        """
        rows = 0
        for number in self._parts(trees):
            rows += self._rows[number]
            first = self._spans[number][0]
            if rows > most_rows and first > trees.start:
                return range(trees.start, int(first))
        return trees

    def _parts(self, trees: range) -> list[int]:
        """Return the numbers of the parts in which these trees are."""
        among = range(bisect_left(self._last, trees.start), bisect_left(self._first, trees.stop))
        return [
            number
            for number in among
            if self._spans[number][0] < trees.stop and self._spans[number][1] >= trees.start
        ]

    def read(self, trees: range, columns: Iterable[str], left_out: Iterable[str] = ()) -> pa.Table:
        """Return the rows of these trees, with those of the columns that the table has."""
        groups = self._parts(trees)
        names = [name for name in columns if name in self._names and name not in left_out]
        # Parsing the metadata again for each part would take longer than the part.
        file = pq.ParquetFile(self._path, metadata=self._metadata)  # type: ignore[no-untyped-call]
        with file:
            # The parts are small: threads would wait for each other longer than they work.
            table = file.read_row_groups(groups, names, use_threads=False)  # type: ignore[no-untyped-call]
        if all(
            trees.start <= first and last < trees.stop
            for first, last in (self._spans[number] for number in groups)
        ):
            return table
        key = table.column(self._key)
        return table.filter(
            pc.and_(  # type: ignore[attr-defined]
                pc.greater_equal(key, trees.start),  # type: ignore[attr-defined]
                pc.less(key, trees.stop),  # type: ignore[attr-defined]
            )
        )


def _span(statistics: Any) -> tuple[float, float]:
    """Return the first and the last tree of a part; infinities if its statistics are missing."""
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


def _columns(
    table: pa.Table, names: Sequence[str], left_out: Mapping[str, Any] = ADDED
) -> list[Iterable[Any]]:
    """Return the values of columns; a column that is not read has one value for all rows.

    Raises:
        LookupError, ValueError: a column is missing, or lacks a required value.
    """
    found: list[Iterable[Any]] = []
    for name in names:
        if name not in table.schema.names:
            found.append(repeat(left_out[name] if name in left_out else ADDED[name]))
            continue
        column = table.column(name)
        if column.null_count and name not in _MAY_BE_NULL:
            raise ValueError(f"the column {name} has rows without a value")
        found.append(column.to_pylist())
    return found


def _nodes(table: pa.Table, left_out: Mapping[str, Any]) -> dict[int, list[TreeNode]]:
    """Return the nodes by the number of their tree."""
    for name, (low, high) in _RANGES.items():
        if name in table.schema.names and table.column(name).null_count < table.num_rows:
            least, most = pc.min_max(table.column(name)).as_py().values()  # type: ignore[attr-defined]
            if least < low or (high is not None and most > high):
                raise ValueError(f"{name} is {least} to {most}")
    trees, paths, text, count, drawn, terminal, truncated, answer, grade, *rest = _columns(
        table, ("tree", *_OF_A_NODE), left_out
    )
    voted, tokens, logprob, reason, model, seed, numbered_to, is_thought, kept = rest
    paths = list(map(parse_path, paths))
    nodes = map(
        TreeNode,
        paths,
        text,
        count,
        map(dict, map(_drawn, drawn, map(len, paths))),
        terminal,
        truncated,
        answer,
        map(_GRADES.__getitem__, grade),
        voted,
        tokens,
        logprob,
        reason,
        model,
        seed,
        (number or 0 for number in numbered_to),
        is_thought,
        map(_unpacked, kept),
    )
    found: defaultdict[int, list[TreeNode]] = defaultdict(list)
    for tree, node in zip(trees, nodes, strict=False):
        found[tree].append(node)
    return found


def _unpacked(kept: bytes | None) -> KeptTokens | None:
    return unpack(kept) if kept else None


@lru_cache(maxsize=2**12)
def _drawn(text: str, depth: int) -> dict[int, int]:
    """Return the samples of a node at this depth by the depth from which they were drawn.

    The result is cached: copy it before you keep it.
    """
    stored = json.loads(text)
    check_drawn(stored, depth)
    return {int(above): number for above, number in stored.items()}


def _read_tree(
    row: Mapping[str, Any], nodes: list[TreeNode], scores: Mapping[str, Scores]
) -> ReadTree:
    tree, _ = connected(nodes)  # others come from torn writes, and no reader counts them
    prompt = json.loads(row["prompt"])
    if not is_prompt(prompt):
        raise ValueError(f"the prompt of tree {row['index']} is neither text nor chat messages")
    tree.root.kept = _unpacked(row["kept_tokens"])
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


def _loads(stored: Any) -> Any:
    return json.loads(stored) if isinstance(stored, str) else stored


def _scores(text: str) -> Scores:
    scores = json.loads(text)
    check_scores(scores)
    return _by_path(scores)


def _judged(scores: str, rationales: str, votes: str) -> JudgedTree:
    texts, numbers = json.loads(rationales or "{}"), json.loads(votes or "{}")
    check_rationales(texts, numbers)
    return JudgedTree(_scores(scores), _by_path(texts), _by_path(numbers))


def _by_path(values: Mapping[str, Any]) -> dict[NodePath, Any]:
    return {parse_path(key.replace("-", ".")): value for key, value in values.items()}
