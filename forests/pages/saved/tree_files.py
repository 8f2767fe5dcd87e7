"""One tree as a file: all steps, with everything that the site would load on demand."""

from collections.abc import Mapping
from dataclasses import replace

from django.template.loader import render_to_string
from django.urls import Resolver404, get_script_prefix, resolve, reverse

from forests.core.naming import node_anchor
from forests.core.opinions.verdicts import HUMAN
from forests.core.tree import NodePath
from forests.models import Forest
from forests.pages.saved.page_files import Frame, Saving, page_file, saved_request, styles
from forests.pages.tree.query import TreeQuery
from forests.pages.tree.views import tree_context
from forests.progress.reading import read_standing_of
from forests.storage.scores import JudgedTree, read_judged
from forests.storage.trees import StoredTree

STEPS_OF_A_FILE = 20_000
"""About the most steps in a file; the file says how many more there are."""
SECONDS_OF_A_FILE = 60.0
"""Processor time for the Markdown of a file that a command writes."""


def tree_page(
    forest: Forest,
    stored: StoredTree,
    saving: Saving,
    *,
    neighbours: tuple[int | None, int | None] = (None, None),
    steps: int = STEPS_OF_A_FILE,
    seconds: float | None = None,
) -> str:
    """Return the page of a tree with all its steps; its links still lead to the site.

    Args:
        forest: the forest.
        stored: the tree.
        saving: what the page shows.
        neighbours: indexes of the trees before and after it in the copy; None without such a tree.
        steps: about the most steps that it contains.
        seconds: processor time for Markdown, after which steps are raw text; None: the usual.
    """
    request = saved_request(reverse("tree", args=[forest.name, stored.index]), saving=saving)
    judged = _without_notes(read_judged(forest, stored.index), saving)
    query = TreeQuery(saved_steps=steps)
    context = tree_context(request, forest, stored, query, judged=judged, seconds=seconds)
    context |= {
        "standing": read_standing_of(forest),
        "previous": neighbours[0],
        "next": neighbours[1],
    }
    return render_to_string("forests/tree.html", context, request)


def tree_file(
    forest: Forest,
    stored: StoredTree,
    steps: int = STEPS_OF_A_FILE,
    seconds: float | None = None,
) -> str:
    """Return a tree as one HTML file that contains its styles and needs no other file.

    `steps` and `seconds` are those of `tree_page`.
    """
    page = tree_page(forest, stored, Saving(is_alone=True), steps=steps, seconds=seconds)
    address = reverse("tree", args=[forest.name, stored.index])

    def links(href: str) -> str | None:
        return href if href.startswith("#") else _place_of_step(href, address)

    return page_file(page, links, Frame(style=styles()))


def _place_of_step(href: str, address: str) -> str | None:
    """Return the place of a step on the page of its tree, from the address of the step's page."""
    try:
        found = resolve(f"/{(address + href).removeprefix(get_script_prefix())}")
    except Resolver404:
        return None
    path: NodePath | None = found.kwargs.get("path")
    return f"#{node_anchor(path)}" if found.url_name == "node" and path else None


def _without_notes(
    judged: Mapping[str, tuple[str, JudgedTree]], saving: Saving
) -> dict[str, tuple[str, JudgedTree]]:
    """Return what scorers say of a tree, without people's notes unless `saving` wants them."""
    return {
        name: (
            kind,
            replace(said, rationales={}) if kind == HUMAN and not saving.with_notes else said,
        )
        for name, (kind, said) in judged.items()
    }
