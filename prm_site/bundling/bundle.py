"""A forest as a folder of HTML pages that needs no server.

Its pages are those of the site, as readers without a login see them. A link becomes plain text if
the bundle does not have its page.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.template.loader import render_to_string
from django.urls import get_script_prefix, resolve, reverse
from huggingface_hub import SpaceCardData

from common.directories import MANIFEST, Output, checksums, written_aside
from common.text import counted
from forests.models import Forest
from forests.pages.config_views import config
from forests.pages.forest_views import progress_context, trees_context
from forests.pages.saved.page_files import (
    ICON,
    STYLE,
    Frame,
    Saving,
    icon,
    page_file,
    saved_request,
    styles,
)
from forests.pages.saved.tree_files import SECONDS_OF_A_FILE, tree_page
from forests.pages.tree_list import (
    TREES_PER_PAGE,
    Order,
    TreeFilter,
    TreePage,
    first_trees,
    read_rows,
)
from forests.storage.trees import read_tree
from metrics.pages.views import metrics
from preferences.models import PAIRS_PER_PAGE, PreferenceSet
from preferences.pages.pair_list import num_pages
from preferences.pages.views import preferences
from preferences.sets.storage import sets_of
from prm_site.bundling.addresses import (
    CONFIG,
    METRICS,
    Contents,
    absolute,
    list_file,
    pairs_file,
    relative,
    tree_file,
)

FORMAT = "prm_site bundle"
"""Names a bundle in its manifest."""
CARD = "README.md"

Report = Callable[[int], None]
"""Called with the number of trees written."""


@dataclass(frozen=True, kw_only=True)
class BundleRequest:
    """The content of a bundle, and its limits."""

    forest: Forest
    max_trees: int
    max_pairs: int
    """Most pairs of each preference set, rounded up to whole pages of the site."""
    order: Order = Order.DATASET
    """Which trees come first."""
    saving: Saving = field(default_factory=Saving)


def output_of(directory: Path, *, overwrite: bool) -> Output:
    return Output(directory, frozenset({FORMAT}), overwrite)


def write_bundle(
    request: BundleRequest, output: Output, report: Report = lambda _: None
) -> dict[str, Any]:
    """Write a bundle and return its manifest.

    Raises:
        OutputError: the output holds files that may not be replaced, or another command writes
            there.
        OSError: the disk is full, or the directory cannot be written; nothing is left behind.
    """
    with written_aside(output) as directory:
        bundle = _Bundle(request, directory)
        bundle.write(report)
        manifest = {
            "format": FORMAT,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "forest": request.forest.name,
            "order": str(request.order),
            "with_notes": request.saving.with_notes,
            "with_source": request.saving.with_source,
            "trees": len(bundle.trees),
            "left_out": bundle.left_out,
            "files": checksums(directory),
        }
        text = json.dumps(manifest, ensure_ascii=False, indent=2)
        (directory / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return manifest


class _Bundle:
    def __init__(self, request: BundleRequest, directory: Path) -> None:
        self.request, self.forest, self.directory = request, request.forest, directory
        self.trees = first_trees(self.forest, request.order, request.max_trees)
        self.sets = sets_of(self.forest)
        self.contents = Contents(
            self.forest.name,
            frozenset(self.trees),
            max(1, -(-len(self.trees) // TREES_PER_PAGE)),
            {one.name: self._num_pages(one) for one in self.sets},
        )
        self.left_out = self._count_left_out()
        self.note = _note(self.left_out, len(self.trees), request.order)
        self.pictures: dict[str, str] = {}
        """Addresses of the pictures on the pages, by file."""

    def write(self, report: Report) -> None:
        self._write_text(STYLE, styles())
        self._write_bytes(ICON, icon())
        for file, address, page in self._pages(report):
            self._write_text(file, self._saved(file, address, page))
        for file, address in self.pictures.items():
            self._write_bytes(file, _view(address, self.request.saving))
        self._write_text(CARD, self._card())

    def _pages(self, report: Report) -> Iterator[tuple[str, str, str]]:
        """Yield the file, the address and the HTML of each page of the site."""
        name = self.forest.name
        for number in range(1, self.contents.num_lists + 1):
            yield list_file(number), reverse("forest", args=[name]), self._list(number)
        for number, index in enumerate(self.trees):
            if (page := self._tree(number)) is not None:
                yield tree_file(index), reverse("tree", args=[name, index]), page
            report(number + 1)
        address = reverse("metrics", args=[name])
        query = f"tree={min(self.trees)}" if self.trees else ""
        saving = self.request.saving
        found = metrics(saved_request(address, query, saving), name)
        yield METRICS, address, found.content.decode()
        address = reverse("config", args=[name])
        found = config(saved_request(address, saving=saving), name)
        yield CONFIG, address, found.content.decode()
        address = reverse("preferences", args=[name])
        for one in self.sets:
            for page_number in range(1, self.contents.pages_of_sets[one.name] + 1):
                wanted = saved_request(address, f"set={one.name}&page={page_number}", saving)
                found = preferences(wanted, name)
                yield pairs_file(one.name, page_number), address, found.content.decode()

    def _list(self, number: int) -> str:
        start = (number - 1) * TREES_PER_PAGE
        rows = read_rows(self.forest, self.trees[start : start + TREES_PER_PAGE])
        page = TreePage(rows, number=number, num_pages=self.contents.num_lists)
        context = trees_context(self.forest, page, TreeFilter()) | progress_context(self.forest)
        address = reverse("forest", args=[self.forest.name])
        request = saved_request(address, saving=self.request.saving)
        return render_to_string("forests/forest.html", context, request)

    def _tree(self, number: int) -> str | None:
        """Return the page of a tree; None if it was deleted meanwhile."""
        stored = read_tree(self.forest, self.trees[number])
        if stored is None:
            return None
        before = self.trees[number - 1] if number else None
        after = self.trees[number + 1] if number + 1 < len(self.trees) else None
        return tree_page(
            self.forest,
            stored,
            self.request.saving,
            neighbours=(before, after),
            seconds=SECONDS_OF_A_FILE,
        )

    def _saved(self, file: str, address: str, page: str) -> str:
        def links(href: str) -> str | None:
            if href.startswith("#"):
                return href
            target = absolute(href, address)
            if (found := self.contents.leads(target)) is None:
                return None
            leads, place = found
            if leads.endswith(".svg"):
                self.pictures[leads] = target
            return relative(leads, file) + (f"#{place}" if place else "")

        root = "../" * file.count("/")
        return page_file(page, links, Frame(root=root, note=self.note))

    def _num_pages(self, one: PreferenceSet) -> int:
        wanted = -(-self.request.max_pairs // PAIRS_PER_PAGE)
        return min(wanted, num_pages(one))

    def _count_left_out(self) -> dict[str, int]:
        shown = sum(
            min(one.num_pairs, self.contents.pages_of_sets[one.name] * PAIRS_PER_PAGE)
            for one in self.sets
        )
        found = {
            "trees": self.forest.num_trees - len(self.trees),
            "pairs": sum(one.num_pairs for one in self.sets) - shown,
        }
        return {name: number for name, number in found.items() if number > 0}

    def _card(self) -> str:
        forest = self.forest
        data = SpaceCardData(
            title=forest.name,
            sdk="static",
            app_file="index.html",
            license=forest.dataset_licence or None,
            tags=["process-reward-model", "reasoning", "prm-forests"],
            emoji="🌲",
            colorFrom="green",
            colorTo="blue",
            pinned=False,
        )
        words = (
            f"# {forest.name}\n\nTrees of reasoning steps with Monte Carlo values. Open "
            "`index.html` in a browser, or upload this folder as a static Space.\n\n"
        )
        return f"---\n{data.to_yaml()}\n---\n\n{words}{self.note}\n"

    def _write_text(self, file: str, text: str) -> None:
        self._write_bytes(file, text.encode("utf-8", "replace"))

    def _write_bytes(self, file: str, content: bytes) -> None:
        path = self.directory / file
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)


def _view(address: str, saving: Saving) -> bytes:
    """Return what the site answers to a request for an address."""
    path, _, query = address.partition("?")
    found = resolve(f"/{path.removeprefix(get_script_prefix())}")
    return bytes(found.func(saved_request(path, query, saving), **found.kwargs).content)


def _note(left_out: dict[str, int], num_trees: int, order: Order) -> str:
    """Return the note on each page: what the bundle shows and what it leaves out."""
    trees = counted(num_trees, "tree")
    shown = f"{trees}, by {order}" if "trees" in left_out else f"all {trees}"
    missing = ", ".join(counted(number, what[:-1]) for what, number in left_out.items())
    more = f" Left out: {missing}." if missing else ""
    return f"A copy with {shown}.{more} Made on {datetime.now(UTC):%Y-%m-%d}."
