"""The page that compares a step with others after the same prefix."""

import re
from typing import Any

from django.http import Http404, HttpResponse
from django.views.decorators.http import require_safe

from forests.core.naming import node_anchor
from forests.core.tree import NodePath, format_path, parse_path
from forests.pages.json_twin import respond
from forests.pages.page_requests import HtmxRequest, get_forest
from forests.pages.siblings.choosing import MAX_COMPARED, compared
from forests.pages.siblings.columns import columns_of
from forests.pages.tree.query import NODE_PATH
from forests.pages.tree.tree_json import siblings_data
from forests.pages.tree.views import get_node, get_tree, listed, read_query, reading_of


@require_safe
def siblings(request: HtmxRequest, forest_name: str, index: int, path: NodePath) -> HttpResponse:
    """Render a step beside its siblings, those of `?with=` or the nearest."""
    forest = get_forest(forest_name)
    stored = get_tree(forest, index)
    reading = reading_of(forest, stored, read_query(request))
    get_node(reading, path)
    if not path:
        raise Http404("the root has no siblings")
    others = [one.path for one in stored.tree.children(path[:-1])]
    try:
        chosen = compared(path, others, _wanted(request))
    except ValueError as error:
        raise Http404(str(error)) from None
    columns = columns_of(reading, chosen)
    context: dict[str, Any] = {
        "forest": forest,
        "tree": stored,
        "index": index,
        "path": path,
        "name": format_path(path),
        "anchor": node_anchor(path),
        "columns": columns,
        "are_judged": any(one.row.judgements for one in columns),
        "siblings": listed(reading, others, others.index(path)),
        "num_siblings": len(others),
        "chosen": {format_path(one) for one in chosen},
        "max_compared": MAX_COMPARED,
    }
    template = "forests/siblings.html"
    return respond(request, template, context, lambda: siblings_data(request, context))


def _wanted(request: HtmxRequest) -> list[NodePath]:
    """Return the steps that the request names.

    Raises:
        ValueError: one of them is not the path of a step.
    """
    names = request.GET.getlist("with")
    for name in names:
        if not re.fullmatch(NODE_PATH, name):
            raise ValueError(f"no step is named {name[:40]!r}: paths look like 0.2.1")
    return [parse_path(name) for name in names]
