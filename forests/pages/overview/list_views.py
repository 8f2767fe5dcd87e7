"""The view of the list of forests."""

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from forests.pages.forest_json import progress_data
from forests.pages.json_twin import json_address, respond
from forests.pages.overview.forest_list import (
    ForestFilter,
    ForestOrder,
    ForestPage,
    ListedForest,
    read_forests,
)
from forests.pages.page_requests import FilterError, HtmxRequest
from forests.progress.states import ForestState


@require_safe
@vary_on_headers("HX-Request")
def forest_list(request: HtmxRequest) -> HttpResponse:
    """Render the forests that the URL asks for; for htmx, only the list."""
    try:
        wanted = ForestFilter.read(request.GET.dict())
    except FilterError as error:
        raise Http404(str(error)) from None
    page = read_forests(wanted)
    template = "forests/_forests.html" if request.htmx else "forests/forests.html"
    context = {
        "page": page,
        "filter": wanted,
        "states": list(ForestState),
        "orders": list(ForestOrder),
    }
    return respond(request, template, context, lambda: _data(request, page))


def _data(request: HttpRequest, page: ForestPage) -> dict[str, Any]:
    kept = {name: request.GET.get(name) for name in ("q", "state", "sort", "group")}
    return {
        "forests": [_row_data(request, one) for one in page.rows],
        "num_forests": page.num_forests,
        "num_matches": page.num_matches,
        "looked_at": page.num_read,
        "next": json_address(request.path, **kept, page=page.next) if page.next else None,
    }


def _row_data(request: HttpRequest, row: ListedForest) -> dict[str, Any]:
    rate = row.pass_rate
    return {
        **progress_data(request, row.progress),
        "dataset_source": row.forest.dataset_source,
        "models_asked": row.models_asked,
        "pass_at_1": rate
        and {
            "value": rate.value,
            "low": rate.low,
            "high": rate.high,
            "trees": rate.trees,
            "measured_at": rate.measured_at,
        },
    }
