"""Views of one tree, of one step, and of the parts of both that are loaded on demand."""

from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.text import slugify
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from common.text import counted
from forests.core.certainty.evidence import known_interval
from forests.core.counting import count_tree
from forests.core.naming import node_anchor
from forests.core.prefix import as_plain_text, prefix_of
from forests.core.thoughts import count_thoughts
from forests.core.tree import NodePath, TreeNode, format_path
from forests.models import Forest
from forests.pages.json_twin import asks_for_json, json_address, respond
from forests.pages.labels.permissions import may_label
from forests.pages.page_requests import (
    HtmxRequest,
    get_forest,
    may_operate,
    read_number,
    wants_part,
)
from forests.pages.tree.more_rollouts import more_rollouts
from forests.pages.tree.picture import picture_of
from forests.pages.tree.query import QueryError, TreeQuery
from forests.pages.tree.rows import TreeReading, TreeRow, mean_logprob, tone_of
from forests.pages.tree.selection import LeafKind
from forests.pages.tree.token_view import TokenView
from forests.pages.tree.tree_json import node_data, tree_data
from forests.progress.reading import read_standing_of
from forests.progress.states import Standing
from forests.storage.scores import JudgedTree, judgements_at, read_judged, read_judgements
from forests.storage.trees import StoredTree, read_growth, read_path, read_prompt, read_tree

STEPS_PART = "steps"
"""Id of the part of a tree's page that a search replaces."""
GROWTH_PART = "growth"
"""Id of the part that a timer replaces while the tree grows; a script adds the new steps."""
MAX_LISTED = 200
"""Most children, and most siblings, that the page of a step lists."""


@require_safe
@vary_on_headers("HX-Request", "HX-Target")
def tree(request: HtmxRequest, forest_name: str, index: int) -> HttpResponse:
    """Render a tree with its steps; for htmx, only the steps, or the steps and how it grows."""
    forest = get_forest(forest_name)
    if wants_part(request, GROWTH_PART) and _has_seen(request, forest, index):
        return HttpResponse(status=HTTPStatus.NO_CONTENT)
    stored = get_tree(forest, index)
    query = read_query(request)
    if asks_for_json(request):
        query = replace(query, is_raw=True)  # JSON has the texts as written: render nothing
    context = tree_context(request, forest, stored, query, judged=read_judged(forest, index))
    if wants_part(request, STEPS_PART):
        return render(request, "forests/_steps.html", context)
    context["standing"] = read_standing_of(forest)
    context["seen"] = _seen(
        stored.growth_mark, is_held=stored.is_held, standing=context["standing"]
    )
    if wants_part(request, GROWTH_PART):
        return render(request, "forests/_growing.html", context)
    return respond(request, "forests/tree.html", context, lambda: tree_data(request, context))


def _has_seen(request: HtmxRequest, forest: Forest, index: int) -> bool:
    """Return whether a tree has not changed since the page that sent this request was made."""
    if (growth := read_growth(forest, index)) is None:
        return False
    mark, is_held = growth
    seen = _seen(mark, is_held=is_held, standing=read_standing_of(forest))
    return request.GET.get("seen") == seen


def _seen(mark: str, *, is_held: bool, standing: Standing) -> str:
    return f"{mark}-{'held' if is_held else 'free'}-{slugify(standing.state)}"


def tree_context(
    request: HtmxRequest,
    forest: Forest,
    stored: StoredTree,
    query: TreeQuery,
    *,
    judged: Mapping[str, tuple[str, JudgedTree]],
    seconds: float | None = None,
) -> dict[str, Any]:
    """Return what the page of a tree shows, without the state of its forest.

    `judged` and `seconds` are those of `TreeReading`.
    """
    index = stored.index
    reading = TreeReading(stored.tree, query, forest.estimator, judged, seconds)
    rows = reading.rows()
    anchors = {row.anchor for row in rows if isinstance(row, TreeRow)}
    return {
        "forest": forest,
        "tree": stored,
        "query": query,
        "reading": reading,
        "rows": rows,
        "root": reading.shares[()],
        "uncompared": count_tree(stored.tree)["num_uncompared"],
        "num_nodes": len(stored.tree) - 1,
        "max_depth": max(node.depth for node in stored.tree),
        "thoughts": count_thoughts(stored.tree),
        "kinds": list(LeafKind),
        "best": _way_to(reading, reading.best, anchors),
        "worst": _way_to(reading, reading.worst, anchors),
        "disputed": _way_to(reading, reading.disputed[:1], anchors),
        "may_label": may_label(request.user),
        "picture": picture_of(reading, anchors) if len(stored.tree) > 1 else None,
        "previous": index - 1 if index else None,
        "next": index + 1 if index + 1 < forest.num_trees else None,
    }


@require_safe
def node(request: HtmxRequest, forest_name: str, index: int, path: NodePath) -> HttpResponse:
    """Render a step with its prefix, path, siblings and children."""
    forest = get_forest(forest_name)
    stored = get_tree(forest, index)
    reading = reading_of(forest, stored, read_query(request))
    found = get_node(reading, path)
    parent = path[:-1]
    siblings = [one.path for one in stored.tree.children(parent)] if path else []
    children = [one.path for one in stored.tree.children(path)]
    steps = stored.tree.steps_text(path)
    prefix = prefix_of(stored.prompt, steps, forest.worker_config.get("api", ""))
    place = siblings.index(path) if path else 0
    context: dict[str, Any] = {
        "forest": forest,
        "tree": stored,
        "query": reading.query,
        "node": found,
        "index": index,
        "path": path,
        "name": format_path(path),
        "anchor": node_anchor(path),
        "share": reading.shares[path],
        "interval": known_interval(reading.shares[path]),
        "tone": tone_of(reading.shares[path].value),
        "mean_logprob": mean_logprob(found),
        "prefix": prefix,
        "steps": steps,
        "is_on_best": path in reading.on_best,
        "is_on_worst": path in reading.on_worst,
        "ancestors": [reading.row(path[:depth], with_text=False) for depth in range(1, len(path))],
        "siblings": listed(reading, siblings, place),
        "num_siblings": len(siblings),
        "children": listed(reading, children, 0),
        "num_children": len(children),
        "previous": siblings[place - 1] if place else None,
        "next": siblings[place + 1] if place + 1 < len(siblings) else None,
    }
    context["judgements"] = judgements_at(reading.judged, path)
    if may_operate(request):
        context["more"] = more_rollouts(forest, stored, path)
    if path:
        context["token_view"] = TokenView.of(found, stored.tree.children(parent))
    return respond(request, "forests/node.html", context, lambda: node_data(request, context))


@require_safe
def node_inside(request: HtmxRequest, forest_name: str, index: int, path: NodePath) -> HttpResponse:
    """Render the inside of a closed row of a large tree: its text and the steps below."""
    if not request.htmx:
        return _to_node(request, forest_name, index, path)
    forest = get_forest(forest_name)
    stored = get_tree(forest, index)
    reading = reading_of(forest, stored, read_query(request))
    get_node(reading, path)
    context = {
        "tree": stored,
        "rows": reading.rows_below(path),
        "row": reading.row(path, with_text=True),
        "query": reading.query,
    }
    return render(request, "forests/_inside.html", context)


@require_safe
def node_steps(request: HtmxRequest, forest_name: str, index: int, path: NodePath) -> HttpResponse:
    """Render the children of a step from position `?from=` up to `?to=`."""
    if not request.htmx:
        return _to_node(request, forest_name, index, path)
    start = read_number(request.GET.get("from", ""))
    stop = read_number(request.GET.get("to", ""))
    if start is None or stop is None or start >= stop:
        raise Http404("give the positions of the steps to list, such as ?from=100&to=200")
    forest = get_forest(forest_name)
    stored = get_tree(forest, index)
    reading = reading_of(forest, stored, read_query(request))
    get_node(reading, path)
    rows = reading.rows_below(path, start=start, stop=stop)
    context = {"tree": stored, "rows": rows, "query": reading.query}
    return render(request, "forests/_rows.html", context)


@require_safe
def node_text(request: HtmxRequest, forest_name: str, index: int, path: NodePath) -> HttpResponse:
    """Render the whole text of a long step."""
    if not request.htmx:
        return _to_node(request, forest_name, index, path)
    found = _get_path(get_forest(forest_name), index, path)[-1]
    context = {"node": found, "query": read_query(request)}
    return render(request, "forests/_text.html", context)


@require_safe
def node_details(
    request: HtmxRequest, forest_name: str, index: int, path: NodePath
) -> HttpResponse:
    """Render how a step was sampled."""
    if not request.htmx:
        return _to_node(request, forest_name, index, path)
    forest = get_forest(forest_name)
    found = _get_path(forest, index, path)[-1]
    context = {
        "forest": forest,
        "index": index,
        "path": path,
        "node": found,
        "mean_logprob": mean_logprob(found),
        "judgements": read_judgements(forest, index, path),
    }
    return render(request, "forests/_details.html", context)


@require_safe
def node_tokens(request: HtmxRequest, forest_name: str, index: int, path: NodePath) -> HttpResponse:
    """Render the tokens of a step with their probabilities."""
    if not request.htmx:
        return _to_node(request, forest_name, index, path)
    tree = get_tree(get_forest(forest_name), index).tree
    if path not in tree.nodes:
        raise Http404(_no_node(path))
    view = TokenView.of(tree.nodes[path], tree.children(path[:-1]))
    return render(request, "forests/_tokens.html", {"view": view})


@require_safe
def prompt_text(_request: HtmxRequest, forest_name: str, index: int) -> HttpResponse:
    """Return the root prompt as plain text; for a chat, the JSON of its messages."""
    return _plain_text(get_forest(forest_name), index, ())


@require_safe
def prefix_text(
    _request: HtmxRequest, forest_name: str, index: int, path: NodePath
) -> HttpResponse:
    """Return a node's prefix as plain text, exactly as the model got it."""
    return _plain_text(get_forest(forest_name), index, path)


def _plain_text(forest: Forest, index: int, path: NodePath) -> HttpResponse:
    prompt = read_prompt(forest, index)
    if prompt is None:
        raise Http404(_no_tree(forest, index))
    steps = "".join(step.text for step in _get_path(forest, index, path)) if path else ""
    text = as_plain_text(prefix_of(prompt, steps, forest.worker_config.get("api", "")))
    return HttpResponse(text.encode("utf-8", "replace"), content_type="text/plain; charset=utf-8")


def _to_node(
    request: HtmxRequest, forest_name: str, index: int, path: NodePath
) -> HttpResponseRedirect:
    """Redirect to the page of a step, for a part of a page that was requested without htmx."""
    address = reverse("node", args=[forest_name, index, path])
    return HttpResponseRedirect(json_address(address) if asks_for_json(request) else address)


def _way_to(reading: TreeReading, path: list[NodePath], anchors: set[str]) -> str:
    """Return the URL of a path's end, relative to the tree's page; empty without a path."""
    if not path:
        return ""
    anchor = node_anchor(path[-1])
    return f"#{anchor}" if anchor in anchors else f"{reading.query.leads_to(path[-1])}#{anchor}"


def listed(reading: TreeReading, paths: list[NodePath], place: int) -> list[TreeRow]:
    """Return the rows of the nodes around a position, at most `MAX_LISTED`."""
    start = max(0, min(place - MAX_LISTED // 2, len(paths) - MAX_LISTED))
    return [reading.row(path, with_text=False) for path in paths[start : start + MAX_LISTED]]


def reading_of(forest: Forest, stored: StoredTree, query: TreeQuery) -> TreeReading:
    """Return a tree with its values and all that scorers say of it."""
    return TreeReading(stored.tree, query, forest.estimator, read_judged(forest, stored.index))


def read_query(request: HtmxRequest) -> TreeQuery:
    """Return how a request wants to see a tree.

    Raises:
        Http404: a parameter is invalid.
    """
    try:
        return TreeQuery.read(request.GET)
    except QueryError as error:
        raise Http404(str(error)) from None


def get_tree(forest: Forest, index: int) -> StoredTree:
    """Return a tree.

    Raises:
        Http404: the forest has no such tree.
    """
    if (stored := read_tree(forest, index)) is None:
        raise Http404(_no_tree(forest, index))
    return stored


def get_node(reading: TreeReading, path: NodePath) -> TreeNode:
    """Return a node of a tree.

    Raises:
        Http404: the tree has no such node.
    """
    if (found := reading.tree.nodes.get(path)) is None:
        raise Http404(_no_node(path))
    return found


def _get_path(forest: Forest, index: int, path: NodePath) -> list[TreeNode]:
    if not (found := read_path(forest, index, path)):
        raise Http404(_no_node(path))
    return found


def _no_tree(forest: Forest, index: int) -> str:
    return f"forest {forest.name!r} has {counted(forest.num_trees, 'tree')} and no tree {index}"


def _no_node(path: NodePath) -> str:
    return f"the tree has no step {format_path(path)}"
