"""The search over forests and trees."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from forests.markup.rendering import one_line
from forests.models import Forest
from forests.pages.json_twin import json_address, path_or_none, respond
from forests.pages.overview.finding import Findings, TreeHit, find
from forests.pages.page_requests import get_forest
from forests.pages.tree.selection import phrase_pattern

_MAX_ITEM_LENGTH = 110


@require_safe
def search(request: HttpRequest) -> HttpResponse:
    """Render the forests and trees that `?q=` names; `?forest=` searches the trees of one."""
    name = request.GET.get("forest", "")
    forest = get_forest(name) if name else None
    found = find(request.GET.get("q", ""), forest)
    context = {
        "found": found,
        "searched": found.phrase,
        "forest": forest,
        "pattern": phrase_pattern(found.phrase),
        "trees": [(one, _address(one)) for one in found.trees],
    }
    return respond(request, "forests/search.html", context, lambda: _data(found))


def _address(hit: TreeHit) -> str:
    if hit.path:
        return reverse("node", args=[hit.forest, hit.index, hit.path])
    return reverse("tree", args=[hit.forest, hit.index])


def _data(found: Findings) -> dict[str, Any]:
    """Return what the page shows as JSON types."""
    items = found.items_read
    return {
        "q": found.phrase,
        "forest": found.forest and found.forest.name,
        "forests": [_forest_data(one) for one in found.forests],
        "num_forests": found.num_forests,
        "forests_looked_at": found.num_read,
        "trees": [
            {
                "forest": one.forest,
                "index": one.index,
                "status": one.status,
                "item_preview": one_line(one.item, _MAX_ITEM_LENGTH),
                "step": path_or_none(one.path),
                "page": json_address(_address(one)),
            }
            for one in found.trees
        ],
        "items_looked_at": {"first": items.start, "last": items.stop - 1} if items else None,
    }


def _forest_data(forest: Forest) -> dict[str, Any]:
    return {
        "name": forest.name,
        "dataset_source": forest.dataset_source,
        "num_trees": forest.num_trees,
        "page": json_address(forest.get_absolute_url()),
    }
