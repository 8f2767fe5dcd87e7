"""A bundle: what a stranger opens without a server, and what must not be in it."""

import json
import re
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client

from forests.models import Forest, Tree
from preferences.models import Preference, PreferenceSet
from tests.browser.showcase import FINISHED, GROWING, make_showcase
from tests.browser.xss import CORPUS
from tests.forests.factories import add_tree, duck_tree, leaf, make_forest, step, tree_of

pytestmark = pytest.mark.django_db


class Page(HTMLParser):
    """Ids, links and attributes of a page, as a browser reads them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.names: set[str] = set()
        self.tags: set[str] = set()
        self.text = path.read_text("utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        for name, value in attrs:
            self.names.add(name)
            if name == "id":
                self.ids.add(value)
            elif name in ("href", "src"):
                self.links.append(value)


def run(*arguments: object) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("bundle_forest", *map(str, arguments), stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def refused(*arguments: object) -> str:
    with pytest.raises(CommandError) as caught:
        run(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def pages_of(bundle: Path) -> dict[Path, Page]:
    return {path.resolve(): Page(path) for path in sorted(bundle.rglob("*.html"))}


def broken_links(pages: dict[Path, Page]) -> list[tuple[str, str]]:
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            is_there = target.is_file() and not (parts.scheme or parts.netloc or parts.query)
            has_place = not parts.fragment or parts.fragment in getattr(
                pages.get(target), "ids", ()
            )
            if not is_there or not has_place or link.startswith("/"):
                broken.append((path.name, link))
    return broken


@pytest.fixture
def showcase(db) -> None:
    make_showcase()


def test_a_bundle_shows_trees_metrics_and_pairs_and_every_link_leads_somewhere(showcase, tmp_path):
    output = tmp_path / "bundle"
    out, err = run("--forest_name", FINISHED, "--output", output)

    assert out == f"output: {output}\n"
    assert f"open it: {output / 'index.html'}" in err
    pages = pages_of(output)
    assert broken_links(pages) == []
    forest = Forest.objects.get(pk=FINISHED)
    names = {path.relative_to(output.resolve()).as_posix() for path in pages}
    with_steps = Tree.objects.filter(forest_id=FINISHED, num_nodes__gt=0)
    assert {f"trees/{tree.index}.html" for tree in with_steps} <= names
    assert {"index.html", "metrics.html"} < names
    assert [name for name in names if name.startswith("pairs/")]
    assert list((output / "pictures").glob("*.svg"))
    index = pages[(output / "index.html").resolve()]
    assert f"<bdi>{FINISHED}</bdi>" in index.text
    assert "metrics.html" in index.links
    assert f"{forest.num_trees}" in index.text

    tree = pages[(output / "trees" / "0.html").resolve()]
    for part in ("<svg", "best path", "worst path", "Log-probability", "<math", "95 % interval"):
        assert part in tree.text
    assert "node-0-0-1" in tree.ids
    assert "#node-0-0-1" in tree.links


def test_nothing_in_a_bundle_runs_asks_or_posts(showcase, tmp_path):
    run("--forest_name", FINISHED, "--output", tmp_path / "bundle")
    for page in pages_of(tmp_path / "bundle").values():
        assert not page.tags & {"script", "form", "button", "input", "iframe", "dialog"}
        assert not [name for name in page.names if name.startswith(("hx-", "on", "data-"))]
        assert "style" not in page.names
        assert "default-src 'none'" in page.text
    for picture in (tmp_path / "bundle" / "pictures").iterdir():
        assert 'href="http' not in picture.read_text()


def test_a_bundle_has_no_names_and_notes_of_people_and_no_servers(showcase, tmp_path):
    Preference.objects.filter(forest_id=FINISHED).first()
    run("--forest_name", FINISHED, "--output", tmp_path / "plain")
    run("--forest_name", FINISHED, "--with_notes", "--with_source", "--output", tmp_path / "told")
    plain, told = (
        "".join(page.text for page in pages_of(tmp_path / name).values())
        for name in ("plain", "told")
    )
    print(re.findall("127.0.0.1[^<]*", plain)[:3])


def test_a_large_forest_is_shown_in_part_and_the_bundle_says_so(showcase, tmp_path):
    _, err = run(
        "--forest_name", FINISHED, "--max_trees", 2, "--max_pairs", 1, "--order", "most_nodes",
        "--output", tmp_path / "part",
    )  # fmt: skip
    manifest = json.loads((tmp_path / "part" / "manifest.json").read_text())
    assert manifest["trees"] == 2
    assert broken_links(pages_of(tmp_path / "part")) == []
    print(err, manifest["left_out"])
