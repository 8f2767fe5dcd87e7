"""Views of one forest."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from common.text import counted
from forests.models import Forest, TreeStatus
from forests.pages.charts import growth_line, value_bars
from forests.pages.forest_json import forest_data
from forests.pages.json_twin import asks_for_json, json_address, respond
from forests.pages.page_requests import HtmxRequest, get_forest, read_number, wants_part
from forests.pages.tree_columns import USUAL, TreeColumn, read_columns
from forests.pages.tree_list import (
    Order,
    TreeFilter,
    TreeOutcome,
    TreePage,
    num_pages,
    read_filtered,
    read_tree_page,
)
from forests.progress.estimating import estimate_for_page
from forests.progress.pass_rates import PassRate, read_pass_rates
from forests.progress.reading import (
    read_progress_of,
    read_servers,
    read_thoughts,
)
from forests.progress.sampled_trees import read_sampled_trees

PROGRESS_PART = "progress"
TREES_PART = "trees"
"""Ids of the parts of a forest's page that a timer and a filter replace."""


@require_safe
@vary_on_headers("HX-Request", "HX-Target")
def forest(request: HtmxRequest, forest_name: str) -> HttpResponse:
    """Render a forest with some of its trees; for htmx, only its progress or only the trees."""
    found = get_forest(forest_name)
    if (jump := request.GET.get("tree")) is not None:
        return _jump(request, found, jump)
    if wants_part(request, PROGRESS_PART):
        return render(
            request, "forests/_progress.html", {"forest": found} | progress_context(found)
        )
    wanted, columns = _read_filter(request)
    trees = _tree_page(found, wanted, request.GET.get("page", "1"))
    context = trees_context(found, trees, wanted, columns)
    if wants_part(request, TREES_PART):
        return render(request, "forests/_trees.html", context)
    context |= progress_context(found)
    return respond(request, "forests/forest.html", context, lambda: forest_data(request, context))


def trees_context(
    found: Forest, trees: TreePage, wanted: TreeFilter, columns: Sequence[TreeColumn] = USUAL
) -> dict[str, Any]:
    """Return what the list of trees shows."""
    return {
        "forest": found,
        "trees": trees,
        "filter": wanted,
        "statuses": TreeStatus.values,
        "outcomes": list(TreeOutcome),
        "orders": list(Order),
        "columns": columns,
        "shows": {one.name.lower(): one in columns for one in TreeColumn},
        "all_columns": list(TreeColumn),
        "are_chosen": tuple(columns) != USUAL,
    }


def progress_context(found: Forest) -> dict[str, Any]:
    """Return what a forest's page shows above its trees."""
    sampled = read_sampled_trees(found)
    return {
        "progress": read_progress_of(found),
        "pass_rate": _measured(found),
        "sampled": sampled,
        "bars": value_bars(sampled.values),
        "growth": growth_line(
            sampled.completed_at,
            sampled.number,
            found.growth_started_at,
            found.growth_finished_at or datetime.now(UTC),
        ),
        "estimate": estimate_for_page(found),
        "servers": read_servers(found),
        "thoughts": read_thoughts(found),
    }


def _measured(found: Forest) -> PassRate | None:
    """Return the pass@1 that a run measured; without one, the sampled trees tell more."""
    rate = read_pass_rates([found]).get(found.name)
    return rate if rate and rate.measured_at else None


def _jump(request: HtmxRequest, found: Forest, text: str) -> HttpResponseRedirect:
    index = read_number(text)
    if index is None or index >= found.num_trees:
        raise Http404(
            f"forest {found.name!r} has {counted(found.num_trees, 'tree')} and no tree {text!r}"
        )
    address = reverse("tree", args=[found.name, index])
    return HttpResponseRedirect(json_address(address) if asks_for_json(request) else address)


def _read_filter(request: HtmxRequest) -> tuple[TreeFilter, list[TreeColumn]]:
    try:
        return TreeFilter.read(request.GET.dict()), read_columns(request.GET.getlist("show"))
    except ValueError as error:
        raise Http404(str(error)) from None


def _tree_page(found: Forest, wanted: TreeFilter, page: str) -> TreePage:
    if not wanted.is_plain:
        return read_filtered(found, wanted)
    number = read_number(page)
    if not number or number > num_pages(found):
        raise Http404(f"there is no page {page!r}: forest {found.name!r} has {num_pages(found)}")
    return read_tree_page(found, number)
