"""The forests, one forest, one tree."""

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers
from django_htmx.middleware import HtmxDetails

from forests.models import Forest, TreeStatus
from forests.selectors import (
    TreePage,
    list_forests,
    num_pages,
    read_progress,
    read_tree_page,
    read_trees_of_status,
)
from forests.store import read_tree
from forests.tree_rows import tree_rows

_MAX_DIGITS = 10


class HtmxRequest(HttpRequest):
    htmx: HtmxDetails


@require_safe
@vary_on_headers("HX-Request")
def forest_list(request: HtmxRequest) -> HttpResponse:
    """All forests; asked by htmx, only the list."""
    template = "forests/_forests.html" if request.htmx else "forests/forests.html"
    progresses = read_progress(list_forests())
    seconds = min((one.seconds_between_looks for one in progresses), default=15)
    return render(request, template, {"progresses": progresses, "seconds": seconds})


@require_safe
@vary_on_headers("HX-Request")
def forest(request: HtmxRequest, forest_name: str) -> HttpResponse:
    """A forest with one page of its trees; asked by htmx, only its progress."""
    found = _get_forest(forest_name)
    if (jump := request.GET.get("tree")) is not None:
        return _jump(found, jump)
    (progress,) = read_progress([found])
    if request.htmx:
        return render(request, "forests/_progress.html", {"progress": progress, "forest": found})
    status = request.GET.get("status", "")
    context = {
        "forest": found,
        "progress": progress,
        "trees": _tree_page(found, status, request.GET.get("page", "1")),
        "status": status,
        "statuses": TreeStatus.values,
    }
    return render(request, "forests/forest.html", context)


@require_safe
def tree(request: HttpRequest, forest_name: str, index: int) -> HttpResponse:
    """A tree with all its steps; `?raw=1` shows texts as they were written."""
    found = _get_forest(forest_name)
    stored = read_tree(found, index)
    if stored is None:
        raise Http404(f"forest {forest_name!r} has {found.num_trees} trees, none of them {index}")
    context = {
        "forest": found,
        "tree": stored,
        "nodes": tree_rows(stored.tree, all_open="all" in request.GET),
        "is_raw": "raw" in request.GET,
        "previous": index - 1 if index else None,
        "next": index + 1 if index + 1 < found.num_trees else None,
    }
    return render(request, "forests/tree.html", context)


def _get_forest(name: str) -> Forest:
    try:
        return Forest.objects.get(pk=name)
    except Forest.DoesNotExist:
        raise Http404(f"there is no forest named {name!r}") from None


def _jump(found: Forest, text: str) -> HttpResponseRedirect:
    index = _number(text)
    if index is None or index >= found.num_trees:
        raise Http404(f"forest {found.name!r} has {found.num_trees} trees, none of them {text!r}")
    return HttpResponseRedirect(reverse("tree", args=[found.name, index]))


def _tree_page(found: Forest, status: str, page: str) -> TreePage:
    if status:
        if status not in TreeStatus.values:
            raise Http404(f"no status {status!r}: trees are {', '.join(TreeStatus.values)}")
        return read_trees_of_status(found, TreeStatus(status))
    number = _number(page)
    if not number or number > num_pages(found):
        raise Http404(f"no page {page!r}: forest {found.name!r} has {num_pages(found)}")
    return read_tree_page(found, number)


def _number(text: str) -> int | None:
    """Return a whole number that an address may hold, else None."""
    return int(text) if text.isdecimal() and len(text) < _MAX_DIGITS else None
