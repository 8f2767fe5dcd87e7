"""Evaluate a forest, and keep the result."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime

from forests.models import Forest, TreeStatus
from forests.store import iter_trees
from metrics.core.evaluation import Evaluation, EvaluationOptions
from metrics.core.value_functions import value_function
from metrics.models import MetricRun


def evaluate_forest(
    forest: Forest, options: EvaluationOptions, report: Callable[[int], None]
) -> Evaluation:
    """Search every complete tree of a forest in one pass; `report` is told the trees done."""
    evaluation = Evaluation(options)
    search_by = value_function(options.values)
    for done, stored in enumerate(iter_trees(forest), start=1):
        if stored.status == TreeStatus.COMPLETE:
            searches = search_by(stored.id, stored.tree)
            evaluation.add(stored.tree, searches)
        else:
            evaluation.leave_out("failed" if stored.status == TreeStatus.FAILED else "not_complete")
        report(done)
    return evaluation


def metric_run(forest: Forest, evaluation: Evaluation) -> MetricRun:
    """Return the result as a document, not saved yet; the same parameters give the same id."""
    parameters = evaluation.options.as_dict()
    text = json.dumps(parameters, sort_keys=True)
    return MetricRun(
        id=f"{forest.name}/{hashlib.sha256(text.encode()).hexdigest()[:12]}",
        forest_id=forest.name,
        forest_created_at=forest.created_at,
        parameters=parameters,
        rows=[asdict(row) for row in evaluation.rows()],
        distribution=evaluation.distribution.as_dict(),
        num_trees=forest.num_trees,
        num_trees_used=evaluation.trees_used,
        left_out=evaluation.left_out,
        created_at=datetime.now(UTC),
    )


def runs_of(forest: Forest) -> list[MetricRun]:
    """Return the stored results of a forest, the latest first."""
    runs = MetricRun.objects.filter(forest_id=forest.name).order_by()
    current = [run for run in runs if run.forest_created_at == forest.created_at]
    return sorted(current, key=lambda run: run.created_at, reverse=True)
