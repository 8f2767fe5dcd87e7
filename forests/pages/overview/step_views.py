"""The page that finds a text in the steps of a forest."""

from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from forests.models import Forest
from forests.pages.json_twin import json_address, respond
from forests.pages.overview.step_search import (
    TREES_PER_PAGE,
    FoundSteps,
    FoundTree,
    StepSearch,
    StepSearchError,
    search_steps,
)
from forests.pages.page_requests import HtmxRequest, get_forest, read_number, wants_part
from forests.pages.tree.selection import phrase_pattern
from forests.pages.tree.step_texts import MAX_STEP_LENGTH

MORE_PART = "more-steps"
"""Id of the part of the page that the next results replace."""
MAX_PARTS = 40
"""Most parts that a page asks for by itself, about half a minute of reading."""


@require_safe
@vary_on_headers("HX-Request", "HX-Target")
def steps(request: HtmxRequest, forest_name: str) -> HttpResponse:
    """Render the steps that contain a text; for htmx, only the results and where to continue."""
    forest = get_forest(forest_name)
    try:
        wanted = StepSearch.read(request.GET)
    except StepSearchError as error:
        raise Http404(str(error)) from None
    found = search_steps(forest, wanted) if wanted.phrase else None
    part = (read_number(request.GET.get("part", "0")) or 0) + 1
    num_before = read_number(request.GET.get("listed", "0")) or 0
    num_listed = num_before + (len(found.trees) if found else 0)
    context = {
        "forest": forest,
        "wanted": wanted,
        "found": found,
        "pattern": phrase_pattern(wanted.phrase),
        "num_listed": num_listed,
        "part": part,
        "continues": num_listed < TREES_PER_PAGE and part < MAX_PARTS,
        "more_part": MORE_PART,
    }
    if wants_part(request, MORE_PART):
        return render(request, "forests/_found_steps.html", context)
    return respond(
        request, "forests/found_steps.html", context, lambda: _data(forest, wanted, found)
    )


def _data(forest: Forest, wanted: StepSearch, found: FoundSteps | None) -> dict[str, Any]:
    """Return what the page shows, from what its template gets."""
    address = reverse("steps", args=[forest.name])
    next_start = found.next_start if found else None
    return {
        "trees": [_tree_data(forest, wanted, one) for one in (found.trees if found else ())],
        "looked_at": {"first": found.looked_at.start, "last": found.last_looked_at}
        if found and found.looked_at
        else None,
        "num_nodes": found.num_nodes if found else 0,
        "next": None
        if next_start is None
        else json_address(address, q=wanted.phrase, **{"from": next_start}),
    }


def _tree_data(forest: Forest, wanted: StepSearch, tree: FoundTree) -> dict[str, Any]:
    address = reverse("tree", args=[forest.name, tree.index])
    return {
        "index": tree.index,
        "num_steps": tree.num_steps,
        "page": json_address(address, q=wanted.phrase),
        "steps": [
            {
                "path": step.name,
                "text": step.text[:MAX_STEP_LENGTH],
                "num_characters_missing": max(0, len(step.text) - MAX_STEP_LENGTH),
                "grade": step.grade,
            }
            for step in tree.steps
        ],
    }
