"""Views of a forest's metrics: tables and plots."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from common.text import counted
from forests.core.counting import count_tree
from forests.core.naming import scorer_id
from forests.core.voting import num_ungrouped
from forests.models import Forest
from forests.pages.json_twin import respond
from forests.pages.page_requests import get_forest, read_number
from forests.storage.trees import StoredTree, read_tree
from metrics.core.statistics.distributions import answer_shares
from metrics.measuring.forests import reports_of, runs_of
from metrics.models import MetricRun, ScorerReport
from metrics.pages.metrics_json import metrics_data
from metrics.tables.comparing import compared_table, difference_of_items, name_run
from metrics.tables.run_tables import (
    baseline_table,
    command_of,
    depth_table,
    histogram_table,
    left_out,
    note,
    search_table,
)
from metrics.tables.scorer_tables import command_of_report, comparison_table, quality_table

MAX_COMPARED = 4
"""Number of latest runs that are compared by default."""
MAX_ANSWERS = 20
"""Most answers of a tree that are listed; rarer ones are only counted."""

_PICTURES = {
    "accuracy": ("accuracy_by_beams", "rows"),
    "tokens": ("accuracy_by_tokens", "rows"),
    "values": ("value_histogram", "distribution"),
    "depths": ("value_by_depth", "distribution"),
}
"""Function that draws a picture, and the field of a run that it draws."""
_SCORER_PICTURES = {
    "roc": ("roc", "quality"),
    "calibration": ("calibration", "quality"),
    "accuracy": ("accuracy_by_values", "searches"),
}
"""The same for a report on a scorer."""


@require_safe
def metrics(request: HttpRequest, forest_name: str) -> HttpResponse:
    """Render all stored results, latest first; `?tree=3` shows the answers to that item.

    The page compares the runs that `?run=` names, or the latest ones.
    """
    forest = get_forest(forest_name)
    runs = runs_of(forest)
    compared = _compared(runs, request.GET.getlist("run"))
    context: dict[str, Any] = {
        "forest": forest,
        "shown": [_shown(run) for run in runs],
        "choices": [(run, name_run(run, runs), run in compared) for run in runs],
        "comparison": compared_table(compared) if len(compared) > 1 else None,
        "items_differ": difference_of_items(compared) if len(compared) > 1 else "",
        "scorers": [_judged(report) for report in reports_of(forest)],
        **_answers(forest, request.GET.get("tree", "0")),
    }
    return respond(request, "metrics/metrics.html", context, lambda: metrics_data(context))


@require_safe
def run_picture(_: HttpRequest, forest_name: str, key: str, picture: str) -> HttpResponse:
    run = get_object_or_404(MetricRun, pk=f"{forest_name}/{key}")
    if picture not in _PICTURES:
        raise Http404(f"there is no picture {picture!r}: use {', '.join(_PICTURES)}")
    drawn_by, field = _PICTURES[picture]
    if not getattr(run, field):
        raise Http404("this run has no node values: run beam_search again")
    return _svg(getattr(_plots(), drawn_by)(getattr(run, field)))


@require_safe
def scorer_picture(_: HttpRequest, forest_name: str, scorer: str, picture: str) -> HttpResponse:
    report = get_object_or_404(ScorerReport, pk=scorer_id(forest_name, scorer))
    if picture not in _SCORER_PICTURES:
        raise Http404(f"there is no picture {picture!r}: use {', '.join(_SCORER_PICTURES)}")
    drawn_by, field = _SCORER_PICTURES[picture]
    return _svg(getattr(_plots(), drawn_by)(getattr(report, field)))


@require_safe
def answers_picture(_: HttpRequest, forest_name: str, index: int) -> HttpResponse:
    forest = get_forest(forest_name)
    return _svg(_plots().answers(answer_shares(_tree(forest, index).tree)[:MAX_ANSWERS]))


def _compared(runs: Sequence[MetricRun], keys: Sequence[str]) -> list[MetricRun]:
    if not keys:
        return list(runs[:MAX_COMPARED])
    by_key = {run.key: run for run in runs}
    return [by_key[key] for key in dict.fromkeys(keys) if key in by_key]


def _judged(report: ScorerReport) -> dict[str, Any]:
    return {
        "report": report,
        "command": command_of_report(report),
        "quality": quality_table(report.quality),
        "searches": comparison_table(report.searches),
    }


def _shown(run: MetricRun) -> dict[str, Any]:
    return {
        "run": run,
        "note": note(run),
        "command": command_of(run),
        "left_out": left_out(run),
        "searches": search_table(run.rows),
        "baselines": baseline_table(run.rows),
        "histogram": histogram_table(run.distribution) if run.distribution else None,
        "depths": depth_table(run.distribution) if run.distribution else None,
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


def _plots() -> Any:
    # Loaded late: matplotlib takes half a second and 30 MiB, in every command and worker.
    return import_module("metrics.pages.plots")


def _svg(picture: bytes) -> HttpResponse:
    # A picture contains its own style and loads nothing else.
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    headers = {"Content-Security-Policy": policy}
    return HttpResponse(picture, content_type="image/svg+xml", headers=headers)
