"""The file in a bundle of each page of the site."""

import hashlib
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from posixpath import relpath
from urllib.parse import SplitResult, parse_qs, urljoin, urlsplit

from django.urls import Resolver404, ResolverMatch, get_script_prefix, resolve

from forests.core.naming import node_anchor

INDEX = "index.html"
METRICS = "metrics.html"
CONFIG = "config.html"


def list_file(page: int) -> str:
    """Return the file of a page of the list of trees; page 1 is the index of the bundle."""
    return INDEX if page == 1 else f"trees/list-{page}.html"


def tree_file(index: int) -> str:
    return f"trees/{index}.html"


def pairs_file(set_name: str, page: int) -> str:
    return f"pairs/{set_name}-{page}.html"


@dataclass(frozen=True, slots=True)
class Contents:
    """The pages in a bundle."""

    forest: str
    trees: AbstractSet[int]
    num_lists: int
    pages_of_sets: Mapping[str, int]
    """Pages of each preference set; the latest set is the first."""

    def leads(self, address: str) -> tuple[str, str] | None:
        """Return the file that shows an address of the site, and the anchor in that file.

        Every picture of the forest has a file, named after its address. Returns None if the bundle
        has no such page.
        """
        parts = urlsplit(address)
        if parts.scheme or parts.netloc:
            return None
        try:
            found = resolve(f"/{parts.path.removeprefix(get_script_prefix())}")
        except Resolver404:
            return None
        if found.kwargs.get("forest_name") != self.forest:
            return None
        if parts.path.endswith(".svg"):
            return _picture_file(parts, self.forest), ""
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        file, place = self._page(found, query)
        return (file, parts.fragment or place) if file else None

    def _page(self, found: ResolverMatch, query: Mapping[str, str]) -> tuple[str, str]:
        """Return the file of a page and the anchor in it; the file is empty if there is none."""
        index: int = found.kwargs.get("index", -1)
        match found.url_name:
            case "forest" if set(query) <= {"page"}:
                page = int(query.get("page", 1))
                return (list_file(page) if page <= self.num_lists else ""), ""
            case "tree" if index in self.trees and set(query) <= {"open"}:
                return tree_file(index), ""
            case "node" if index in self.trees and not query:
                return tree_file(index), node_anchor(found.kwargs["path"])
            case "metrics" | "config" if not query:
                return (METRICS if found.url_name == "metrics" else CONFIG), ""
            case "preferences" if set(query) <= {"set", "page"} and self.pages_of_sets:
                name = query.get("set", next(iter(self.pages_of_sets)))
                page = int(query.get("page", 1))
                is_there = page <= self.pages_of_sets.get(name, 0)
                return (pairs_file(name, page) if is_there else ""), ""
        return "", ""


def relative(file: str, beside: str) -> str:
    """Return the address of a file of a bundle, relative to the file `beside`."""
    return relpath(file, start=f"./{beside}/..")


def absolute(href: str, page: str) -> str:
    return urljoin(page, href)


def _picture_file(address: SplitResult, forest: str) -> str:
    """Return the file of a picture. Its name depends on the query, because the picture does."""
    name = address.path.rpartition(f"/{forest}/")[2].replace("/", "-")
    if address.query:
        digest = hashlib.sha256(address.query.encode()).hexdigest()[:12]
        name = f"{name.removesuffix('.svg')}-{digest}.svg"
    return f"pictures/{name}"
