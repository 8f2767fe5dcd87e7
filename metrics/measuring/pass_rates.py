"""The pass@1 that stored runs measured. Pages that list many forests read it in two queries."""

from collections.abc import Iterable, Sequence
from typing import Any

from forests.models import Forest
from forests.progress.pass_rates import PassRate
from metrics.models import MetricRun

MAX_FORESTS = 32
"""Forests that one query names; pages ask for fewer."""
_MAX_RUNS = 500
"""Most runs to look at, latest first."""


def measured_pass_rates(forests: Sequence[Forest]) -> dict[str, PassRate]:
    """Return the latest pass@1 measured on all current trees of each forest, by name."""
    by_name = {one.name: one for one in forests[:MAX_FORESTS] if one.num_complete}
    if not by_name:
        return {}
    fields = ("forest_id", "forest_created_at", "parameters", "num_trees", "left_out", "created_at")
    runs = MetricRun.objects.filter(forest_id__in=list(by_name)).order_by("-created_at")
    chosen: dict[str, str] = {}
    for run in runs.only(*fields)[:_MAX_RUNS]:
        if is_of_all_trees(run, by_name[run.forest_id]):
            chosen.setdefault(run.forest_id, run.id)
    if not chosen:
        return {}
    found = MetricRun.objects.filter(pk__in=list(chosen.values())).only(
        "forest_id", "rows", "created_at"
    )
    return {run.forest_id: rate for run in found if (rate := _pass_rate(run))}


def is_of_all_trees(run: MetricRun, forest: Forest) -> bool:
    """Return whether a run measured all complete trees that a forest has now."""
    parameters = run.parameters
    is_chosen = "pass_rate" in parameters or "only_majority_wrong" in parameters
    changed_at = (forest.created_at, forest.graded_at, forest.extended_at)
    left_out: dict[str, int] = run.left_out
    complete = run.num_trees - left_out.get("failed", 0) - left_out.get("not_complete", 0)
    return (
        run.forest_created_at == forest.created_at
        and not is_chosen
        and parameters.get("ungraded", "incorrect") == "incorrect"
        and complete == forest.num_complete
        and all(run.created_at >= moment for moment in changed_at if moment)
    )


def _pass_rate(run: MetricRun) -> PassRate | None:
    rows: Iterable[dict[str, Any]] = run.rows
    for row in rows:
        is_wanted = row["procedure"] is None and (row["metric"], row["k"]) == ("pass", 1)
        if is_wanted and row["value"] is not None:
            return PassRate(row["value"], row["low"], row["high"], row["trees"], run.created_at)
    return None
