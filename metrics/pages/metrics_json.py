"""The page of a forest's metrics as JSON."""

from typing import Any

from django.urls import reverse

from forests.core.model_counts import from_fields
from forests.models import Forest
from forests.pages.json_twin import json_address
from metrics.models import MetricRun, ScorerReport
from metrics.tables.run_tables import command_of, left_out, note
from metrics.tables.scorer_tables import command_of_report


def metrics_data(context: dict[str, Any]) -> dict[str, Any]:
    """Return the content of the page, given its template's context; shares are from 0 to 1."""
    forest: Forest = context["forest"]
    return {
        "forest": forest.name,
        "runs": [_run_data(run) for run in context["runs"]],
        "shown": [one["run"].key for one in context["shown"]],
        "items_differ": context["items_differ"],
        "scorers": [_report_data(one["report"]) for one in context["scorers"]],
        "answers": _answers_data(forest, context) if "tree" in context else None,
    }


def _run_data(run: MetricRun) -> dict[str, Any]:
    return {
        "key": run.key,
        "parameters": run.parameters,
        "note": note(run),
        "command": command_of(run),
        "rows": run.rows,
        "distribution": run.distribution,
        "num_trees": run.num_trees,
        "num_trees_used": run.num_trees_used,
        "num_uncompared": run.num_uncompared,
        "num_ungrouped": run.num_ungrouped,
        "left_out": left_out(run),
        "models": from_fields(run.nodes_by_model),
        "forest_cost": run.forest_cost,
        "created_at": run.created_at,
    }


def _report_data(report: ScorerReport) -> dict[str, Any]:
    return {
        "scorer": report.scorer,
        "against": report.against or None,
        "parameters": report.parameters,
        "command": command_of_report(report),
        "quality": report.quality,
        "searches": report.searches,
        "num_trees": report.num_trees,
        "num_trees_used": report.num_trees_used,
        "num_uncompared": report.num_uncompared,
        "num_ungrouped": report.num_ungrouped,
        "models": from_fields(report.nodes_by_model),
        "created_at": report.created_at,
    }


def _answers_data(forest: Forest, context: dict[str, Any]) -> dict[str, Any]:
    index = context["tree"].index
    return {
        "tree": index,
        "page": json_address(reverse("tree", args=[forest.name, index])),
        "label": context["tree"].label,
        "num_uncompared": context["uncompared_samples"],
        "num_ungrouped": context["ungrouped_samples"],
        "answers": [one._asdict() for one in context["answers"]],
        "num_rare_answers": context["rare_answers"],
        "num_rare_samples": context["rare_samples"],
    }
