"""Writing of datasets: into a temporary directory, which is moved into place when complete."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from common.directories import MANIFEST, Output, OutputError, checksums, written_aside
from common.garbage import rare_searches_for_garbage
from common.plugins import Registry
from common.text import describe
from forests.core.tokens.branches import TokenRatio
from forests.core.values import Estimator, Ungraded
from forests.models import Forest
from forests.storage.reader import ForestReader
from preferences.core.consensus import Coverage
from preferences.core.splits import split_of
from preferences.core.statistics import EvidenceStatistics, PairStatistics
from preferences.core.value_sources import ValueSource
from preferences.export.card import CARD, PICTURE, dataset_card, forest_facts
from preferences.export.containers import CONTAINERS, Batch, Container
from preferences.export.dataset_rows import (
    Reviewed,
    Solutions,
    TreeItems,
    iter_pair_items,
    iter_tree_items,
    iter_unstored_items,
)
from preferences.export.filters import Filters
from preferences.export.formats.base import Format, Item, Row, RowOptions, Thoughts
from preferences.export.formats.chat_pairs import CHAT_PAIR_FORMATS
from preferences.export.formats.critiques import CRITIQUE_FORMATS
from preferences.export.formats.first_errors import PROCESSBENCH
from preferences.export.formats.left_out import words_of
from preferences.export.formats.pairs import PAIR_FORMATS
from preferences.export.formats.prm800k import PRM800K
from preferences.export.formats.prompts import FormatError
from preferences.export.formats.steps import STEP_FORMATS
from preferences.export.formats.thought_marks import with_thoughts
from preferences.export.formats.traces import TRACE_FORMATS
from preferences.export.margins_picture import margins_picture
from preferences.export.trainers import trainers_of
from preferences.models import PreferenceSet
from preferences.sets.unstored import UnstoredSet


def _problem(name: str, loaded: object) -> str:
    if not isinstance(loaded, Format):
        return "is not a Format"
    return "" if loaded.name == name else f"names itself {loaded.name!r}"


OUR_FORMATS = (
    *PAIR_FORMATS,
    *CHAT_PAIR_FORMATS,
    *STEP_FORMATS,
    PRM800K,
    PROCESSBENCH,
    *CRITIQUE_FORMATS,
    *TRACE_FORMATS,
)
FORMATS: Registry[Format] = Registry(
    "prm.formats",
    "export format",
    {one.name: one for one in OUR_FORMATS},
    _problem,
)
"""All formats by name: built-in ones, and those of plugins (docs/extending.md)."""
ROWS_PER_WRITE = 1000


class ExportError(OutputError):
    """There are no rows to write. The message gives the reasons on one line."""


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """What to write, and where."""

    reader: ForestReader
    format: Format
    containers: tuple[str, ...]
    output: Path
    pairs: PreferenceSet | UnstoredSet | None
    """For formats of pairs: a set of the database, or pairs that are made while they are read. None
    for formats that read the trees."""
    options: RowOptions
    estimator: Estimator
    ungraded: Ungraded
    scorer: str = ""
    """For formats of steps: the scorer whose scores are the values; empty for graded leaves."""
    agree: tuple[str, ...] = ()
    """For formats of steps: other sources that must give the same label: `ValueSource.agree`."""
    is_progress: bool = False
    """For formats of steps: whether the values are the progress of steps."""
    test_fraction: float = 0.0
    split_seed: int = 0
    reviewed: Reviewed = "all"
    """Which pairs to write, by their reviews."""
    solutions: Solutions = "all"
    """For formats of steps: which solutions to write."""
    thoughts: Thoughts | None = None
    """Whether to keep thoughts in texts; None: the default of the format."""
    filters: Filters = field(default_factory=Filters)
    filter_words: Mapping[str, Any] = field(default_factory=dict)
    """The filter options as given, for the manifest."""
    repository: str = ""
    """The dataset's name on the hub, for the code on its card; empty if it is not uploaded."""

    @property
    def forest(self) -> Forest:
        return self.reader.forest

    @property
    def preference_set(self) -> PreferenceSet | None:
        """The facts of the set of pairs; None for formats that read the trees."""
        return self.pairs.record if isinstance(self.pairs, UnstoredSet) else self.pairs

    @property
    def is_chat(self) -> bool:
        return bool(self.forest.worker_config.get("api") == "chat")

    @property
    def source(self) -> ValueSource:
        return ValueSource(
            estimator=self.estimator,
            ungraded=self.ungraded,
            scorer=self.scorer,
            agree=self.agree,
            is_progress=self.is_progress,
        )

    @property
    def handling(self) -> Thoughts:
        """Whether to keep thoughts in texts."""
        return self.thoughts or self.format.thoughts

    @property
    def schema(self) -> pa.Schema:
        return self.format.schema(self.is_chat, self.options)

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters that determine the rows, apart from the preference set."""
        given: dict[str, Any] = {
            "test_fraction": self.test_fraction,
            "split_seed": self.split_seed,
            "thoughts": self.handling,
        }
        if self.format.default_threshold is not None:
            given["label_threshold"] = self.options.label_threshold
        if self.format.source == "pairs":
            given["reviewed"] = self.reviewed
        if self.format.has_critiques:
            given |= {"critique": self.options.critique, "critic": self.options.critic}
        if self.format.source == "trees":
            given |= {**self.source.as_dict(), "solutions": self.solutions}
        return given | dict(self.filter_words)


Report = Callable[[int], None]
"""Called with the number of rows written."""


def output_of(directory: Path, *, overwrite: bool) -> Output:
    """Return the output of a dataset, which may replace a dataset of any format."""
    return Output(directory, frozenset(FORMATS), overwrite)


def export(request: ExportRequest, *, overwrite: bool, report: Report) -> dict[str, Any]:
    """Write the dataset and return its manifest.

    Raises:
        OutputError: the output exists, another export writes there, or there are no rows.
        FormatError: the format cannot represent the forest's prompts.
        OSError: the disk is full, or the directory is not writable; nothing is left behind.
    """
    with written_aside(output_of(request.output, overwrite=overwrite)) as directory:
        written = _write_rows(request, directory, report)
        rows, left_out, statistics = written.rows, written.left_out, written.statistics
        if not rows:
            reasons = ", ".join(f"{count} {words_of(reason)}" for reason, count in left_out.items())
            raise ExportError(f"there are no rows to write{f' ({reasons})' if reasons else ''}")
        manifest = _manifest(request, written)
        if request.format.source == "pairs":
            manifest["statistics"] = {split: statistics[split].as_dict() for split in rows}
            (directory / PICTURE).write_bytes(margins_picture(manifest["statistics"]))
        files = {split: _card_container(request).pattern.format(split=split) for split in rows}
        for path, text in request.format.besides(_files_to_train_on(request, rows)).items():
            (directory / path).write_text(text, encoding="utf-8")
        card = dataset_card(
            manifest, request.schema, request.format, files, repository=request.repository
        )
        (directory / CARD).write_text(card, encoding="utf-8")
        manifest["files"] = checksums(directory)
        text = json.dumps(manifest, ensure_ascii=False, indent=2)
        (directory / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return manifest


@dataclass(frozen=True, slots=True)
class _Written:
    rows: dict[str, int]
    """By split."""
    left_out: dict[str, int]
    """By reason."""
    statistics: Mapping[str, PairStatistics]
    """By split."""
    evidence: EvidenceStatistics
    num_thoughts: int
    num_inside_thoughts: int
    coverage: Coverage
    ratio: TokenRatio
    """Token ratio of the written solutions; empty for formats without tokens."""


@rare_searches_for_garbage()
def _write_rows(request: ExportRequest, directory: Path, report: Report) -> _Written:
    """Write all rows."""
    left_out: Counter[str] = Counter()
    coverage, ratio = Coverage(), TokenRatio()
    statistics: defaultdict[str, PairStatistics] = defaultdict(PairStatistics)
    evidence = EvidenceStatistics()
    num_thoughts = num_inside = 0
    with ExitStack() as stack:
        containers = [
            kind(directory, request.schema)
            for name, kind in CONTAINERS.items()
            if name in request.containers
        ]
        for container in containers:
            stack.callback(container.files.close)
        sink = _Sink(containers, request.schema, report)
        for prompt, item in request.filters.apply(partial(_items, request, coverage), left_out):
            split = split_of(prompt, request.test_fraction, request.split_seed)
            num_thoughts += item.num_thoughts
            num_inside += item.num_inside_thoughts
            for pair in item.pairs:
                statistics[split].add(pair)
            _add_evidence(evidence, request, item)
            for row in _rows(request, item, left_out):
                sink.add(split, row)
                if request.format.needs_tokens:
                    ratio.add_tree(item.tree)
        sink.flush()
        if sink.counts:
            for container in containers:
                container.close()
    rows = dict(sorted(sink.counts.items(), reverse=True))
    return _Written(
        rows, dict(+left_out), statistics, evidence, num_thoughts, num_inside, coverage, ratio
    )


def _add_evidence(evidence: EvidenceStatistics, request: ExportRequest, item: Item) -> None:
    """Add the evidence of the pairs, or of the steps that may be labelled."""
    for pair in item.pairs:
        evidence.add_pair(pair)
    if request.format.source == "trees":
        labelled = item.values if item.annotation is None else item.annotation.steps
        values = (item.values[path] for path in labelled if path)
        evidence.add_steps(values, request.options.is_good)


def _rows(request: ExportRequest, item: Item, left_out: Counter[str]) -> Iterator[Row]:
    """Yield the rows of one tree.

    Raises:
        FormatError: the format cannot represent the tree, or its plugin fails.
    """
    if not (package := FORMATS.package(request.format.name)):
        yield from request.format.rows(item, request.options, left_out)
        return
    try:
        for row in request.format.rows(item, request.options, left_out):
            pa.Table.from_pylist([row], schema=request.schema)
            yield row
    except FormatError:
        raise
    except Exception as error:  # code of a plugin may raise anything
        raise FormatError(f"the format of {package} failed: {describe(error)}") from error


def _items(
    request: ExportRequest, coverage: Coverage, left_out: Counter[str]
) -> Iterator[tuple[Any, Item]]:
    for prompt, item in _stored_items(request, coverage, left_out):
        if request.format.needs_tokens:
            yield prompt, item
            continue
        yield prompt, with_thoughts(item, request.handling, left_out)


def _stored_items(
    request: ExportRequest, coverage: Coverage, left_out: Counter[str]
) -> Iterator[tuple[Any, Item]]:
    if request.format.source == "trees":
        choice = TreeItems(
            request.options.is_good,
            request.solutions,
            request.filters.trees,
            request.options.critic,
            coverage,
        )
        return iter_tree_items(request.reader, request.source, left_out, choice)
    if request.pairs is None:
        raise ExportError(f"format {request.format.name} needs a preference set")
    needs_trees, wanted = request.format.needs_trees, request.filters.trees
    if isinstance(request.pairs, UnstoredSet):
        return iter_unstored_items(request.pairs, left_out, wanted, needs_trees=needs_trees)
    return iter_pair_items(
        request.forest,
        request.pairs,
        request.reviewed,
        left_out,
        wanted,
        needs_trees=needs_trees,
    )


class _Sink:
    """Collects rows by split and passes them to every container in batches."""

    def __init__(self, containers: Sequence[Container], schema: pa.Schema, report: Report) -> None:
        self.containers = containers
        self.schema = schema
        self.report = report
        self.waiting: defaultdict[str, list[Row]] = defaultdict(list)
        self.counts: Counter[str] = Counter()

    def add(self, split: str, row: Row) -> None:
        rows = self.waiting[split]
        rows.append(row)
        if len(rows) >= ROWS_PER_WRITE:
            self._write(split)

    def flush(self) -> None:
        for split in list(self.waiting):
            self._write(split)

    def _write(self, split: str) -> None:
        if rows := self.waiting.pop(split, []):
            batch = Batch(rows, pa.Table.from_pylist(rows, schema=self.schema))
            for container in self.containers:
                container.write(split, batch)
            self.counts[split] += len(rows)
            self.report(self.counts.total())


def _card_container(request: ExportRequest) -> type[Container]:
    return next(kind for name, kind in CONTAINERS.items() if name in request.containers)


def _files_to_train_on(request: ExportRequest, splits: Iterable[str]) -> dict[str, str]:
    """Return the files of the first container that the trainers of the format read, by split."""
    readable = request.format.containers or tuple(CONTAINERS)
    name = next(one for one in readable if one in request.containers)
    return {split: CONTAINERS[name].pattern.format(split=split) for split in splits}


def _package(used: Format) -> dict[str, str]:
    """Return the plugin of a format, as a field of the manifest; empty for a built-in format."""
    package = FORMATS.package(used.name)
    return {"format_package": package} if package else {}


def _manifest(request: ExportRequest, written: _Written) -> dict[str, Any]:
    forest, chosen = request.forest, request.preference_set
    names = (
        "name", "parameters", "num_pairs", "num_accepted", "num_rejected", "num_trees_used",
        "num_trees_incomplete", "dropped",
    )  # fmt: skip
    return {
        "format": request.format.name,
        **_package(request.format),
        "trainers": trainers_of(request.format),
        "columns": request.schema.names,
        "containers": [name for name in CONTAINERS if name in request.containers],
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "forest": forest_facts(forest),
        "models": request.reader.count_models(),
        "preference_set": {name: getattr(chosen, name) for name in names} if chosen else None,
        "parameters": request.parameters,
        "rows": written.rows,
        "thoughts": written.num_thoughts,
        "pairs_inside_thoughts": written.num_inside_thoughts,
        "left_out": written.left_out,
        "evidence": written.evidence.as_dict(),
        **({"tree_token_ratio": written.ratio.value} if written.ratio.total else {}),
        **({"consensus": written.coverage.as_dict()} if written.coverage.steps else {}),
    }
