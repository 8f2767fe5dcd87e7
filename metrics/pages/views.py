"""View of a forest's metrics: pictures and tables of runs and scorers, answers to one item."""

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from common.text import counted
from forests.core.counting import count_tree
from forests.core.estimators import caution_of_samples
from forests.core.voting import num_ungrouped
from forests.models import Forest
from forests.pages.json_twin import respond
from forests.pages.page_requests import get_forest, read_number
from forests.storage.trees import StoredTree, read_tree
from metrics.core.statistics.distributions import answer_shares
from metrics.measuring.forests import reports_of
from metrics.models import MetricRun, ScorerReport
from metrics.pages.metrics_json import metrics_data
from metrics.pages.pictures import MAX_LINES, histogram_run
from metrics.pages.shown_runs import ShownRuns
from metrics.tables.comparing import difference_of_items
from metrics.tables.run_tables import command_of, left_out, note
from metrics.tables.scorer_tables import command_of_report
from metrics.tables.wide_tables import (
    accuracy_table,
    depth_table,
    gain_table,
    histogram_table,
    qualities_table,
    searches_of_report,
    token_table,
)

MAX_ANSWERS = 20
"""Most answers of a tree that are listed; rarer ones are only counted."""


@require_safe
def metrics(request: HttpRequest, forest_name: str) -> HttpResponse:
    """Render the stored results of a forest; `?tree=3` shows the answers to that item.

    `?run=` names the runs that are shown; `answer`, `procedure` and `aggregation` choose numbers.
    """
    forest = get_forest(forest_name)
    shown = ShownRuns.read(forest, request.GET)
    runs = [run for _, run in shown.named]
    with_values = [(name, run) for name, run in shown.named if run.distribution]
    reports = reports_of(forest)
    context: dict[str, Any] = {
        "forest": forest,
        "runs": shown.runs,
        "choices": shown.choices,
        "filter": shown.filter,
        "query": shown.query.urlencode(),
        "shown": [_shown(name, run) for name, run in shown.named],
        "caution": caution_of_samples(forest.strategy, forest.refined_for),
        "items_differ": difference_of_items(runs) if len(runs) > 1 else "",
        "accuracies": accuracy_table([*shown.baselines, *shown.searches]),
        "tokens": token_table(shown.searches),
        "num_undrawn": max(0, sum(one.has_result for one in shown.searches) - MAX_LINES),
        "depths": depth_table(with_values) if with_values else None,
        "histogram": histogram_table(with_values) if with_values else None,
        "histogram_of": histogram_run(with_values)[0] if with_values else "",
        "qualities": qualities_table(reports) if reports else None,
        "scorers": [_judged(report, shown) for report in reports],
        **_answers(forest, request.GET.get("tree", "0")),
    }
    return respond(request, "metrics/metrics.html", context, lambda: metrics_data(context))


def _judged(report: ScorerReport, shown: ShownRuns) -> dict[str, Any]:
    searches, baselines = searches_of_report(report, shown.filter.matches)
    return {
        "report": report,
        "command": command_of_report(report),
        "accuracies": accuracy_table([*baselines, *searches]),
        "gains": gain_table(searches) if shown.filter.has_gains else None,
    }


def _shown(name: str, run: MetricRun) -> dict[str, Any]:
    return {
        "name": name,
        "run": run,
        "note": note(run),
        "command": command_of(run),
        "left_out": left_out(run),
    }


def _answers(forest: Forest, text: str) -> dict[str, Any]:
    """Return the page's context for one tree; empty if the forest has no trees."""
    index = read_number(text)
    if index is None:
        raise Http404(f"{text!r} is not the number of a tree")
    if not forest.num_trees and not index:
        return {}
    stored = _tree(forest, index)
    shares = answer_shares(stored.tree)
    rare = shares[MAX_ANSWERS:]
    return {
        "tree": stored,
        "uncompared_samples": count_tree(stored.tree)["num_uncompared"],
        "ungrouped_samples": num_ungrouped(stored.tree),
        "answers": shares[:MAX_ANSWERS],
        "rare_answers": len(rare),
        "rare_samples": sum(one.samples for one in rare),
    }


def _tree(forest: Forest, index: int) -> StoredTree:
    stored = read_tree(forest, index)
    if stored is None:
        raise Http404(
            f"forest {forest.name!r} has {counted(forest.num_trees, 'tree')} and no tree {index}"
        )
    return stored
