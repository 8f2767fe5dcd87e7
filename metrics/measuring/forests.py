"""Evaluation of a forest, and its stored results."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from common.garbage import rare_searches_for_garbage
from forests.core.model_counts import as_fields
from forests.core.naming import tree_id
from forests.models import Forest, TreeStatus
from forests.storage.reader import ForestReader, Opener
from metrics.core.evaluation import Evaluation, EvaluationOptions
from metrics.core.search.value_functions import value_function
from metrics.measuring.item_storage import forget_older_items, store_items
from metrics.measuring.parallel import map_in_processes
from metrics.models import MetricRun, ScorerReport

Stored = TypeVar("Stored", MetricRun, ScorerReport)

TREES_PER_PART = 256
"""Trees that one process sums at once."""


def evaluate_forest(
    reader: ForestReader,
    options: EvaluationOptions,
    report: Callable[[int], None],
    processes: int = 1,
) -> Evaluation:
    """Return the evaluation of all complete trees of a forest; `report` gets the trees done.

    For any number of processes the sums are over the same parts, so the results are identical to
    the last digit.
    """
    evaluation = Evaluation(options)
    num_trees = reader.forest.num_trees
    starts = range(0, num_trees, TREES_PER_PART)
    parts: Iterator[Evaluation]
    if processes == 1:
        parts = (_evaluate_part(reader, options, start) for start in starts)
    else:
        work = partial(_evaluate_opened, reader.opener, options)
        parts = map_in_processes(work, starts, processes)
    for start, part in zip(starts, parts, strict=True):
        evaluation.merge(part)
        report(min(start + TREES_PER_PART, num_trees))
    return evaluation


def _evaluate_opened(opener: Opener, options: EvaluationOptions, start: int) -> Evaluation:
    return _evaluate_part(opener(), options, start)


@rare_searches_for_garbage()
def _evaluate_part(reader: ForestReader, options: EvaluationOptions, start: int) -> Evaluation:
    evaluation = Evaluation(options)
    search_by = value_function(options.values)
    scorer = options.values.scorer
    indexes = range(start, min(start + TREES_PER_PART, reader.forest.num_trees))
    for read in reader.trees(indexes, [scorer] if scorer else [], only_values=True):
        if read.is_complete:
            id_ = tree_id(reader.forest.name, read.index)
            searches = search_by(id_, read.tree, read.scores.get(scorer, {}))
            evaluation.add(id_, read.tree, searches, (read.item, read.label))
        else:
            evaluation.leave_out("failed" if read.status == TreeStatus.FAILED else "not_complete")
    return evaluation


def metric_run(reader: ForestReader, evaluation: Evaluation) -> MetricRun:
    """Return the result as an unsaved document; the same parameters give the same id."""
    forest = reader.forest
    parameters = evaluation.options.as_dict()
    text = json.dumps(parameters, sort_keys=True)
    return MetricRun(
        id=f"{forest.name}/{hashlib.sha256(text.encode()).hexdigest()[:12]}",
        forest_id=forest.name,
        forest_created_at=forest.created_at,
        parameters=parameters,
        rows=[asdict(row) for row in evaluation.rows()],
        distribution=evaluation.distribution.as_dict(),
        nodes_by_model=as_fields(reader.count_models()),
        items_sha256=evaluation.items_sha256,
        num_trees=forest.num_trees,
        num_trees_used=evaluation.trees_used,
        num_uncompared=evaluation.num_uncompared,
        num_ungrouped=evaluation.num_ungrouped,
        left_out=evaluation.left_out,
        forest_cost=forest.cost,
        created_at=_now(),
    )


def save_run(run: MetricRun, evaluation: Evaluation) -> None:
    """Store a run with its results of single items, in place of the earlier one."""
    store_items(run, evaluation.results)
    run.save()
    forget_older_items(run)


def runs_of(forest: Forest) -> list[MetricRun]:
    """Return the stored results of a forest, latest first."""
    return sorted(_current(MetricRun, forest), key=lambda run: run.created_at, reverse=True)


def reports_of(forest: Forest) -> list[ScorerReport]:
    """Return the stored reports of a forest, sorted by scorer and reference."""
    reports = _current(ScorerReport, forest)
    return sorted(reports, key=lambda report: (report.scorer, report.against))


def _now() -> datetime:
    """Return the time as MongoDB stores it, in milliseconds."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def _current(kind: type[Stored], forest: Forest) -> list[Stored]:
    """Return documents of this forest, not those of an earlier forest of the same name."""
    found = kind.objects.filter(forest_id=forest.name).order_by()
    return [one for one in found if one.forest_created_at == forest.created_at]
