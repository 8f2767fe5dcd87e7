"""A bundle: what a stranger opens without a server, and what must not be in it."""

import json
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client
from huggingface_hub import RepoCard

from forests.core.naming import tree_id
from forests.core.opinions.judged import JudgedTree
from forests.core.opinions.verdicts import JUDGE, Verdict
from forests.core.tree import parse_path
from forests.models import Forest, TreeStatus
from forests.pages.saved import views as saved_views
from forests.storage.scores import start_scorer, write_judged
from preferences.core.pairing import PairingOptions
from preferences.models import Preference, ReviewState
from preferences.sets.creation import SetParameters, create_preferences
from preferences.sets.reviews import record_review
from tests.browser.showcase import FINISHED, make_showcase
from tests.forests.factories import (
    RIGHT,
    add_tree,
    add_trees,
    duck_tree,
    leaf,
    make_forest,
    step,
    tree_of,
)
from tests.forests.labelling import person, say

pytestmark = pytest.mark.django_db

NAME = "ducks-test-first"
SERVER = "http://gpu1.example:8000/v1"
SECRETS = ("gpu1", "zelda", "olaf", "clear to me", "read it twice", "API_KEY", "Log in")


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
def small(db) -> Forest:
    """Return a forest with everything that must stay on the site."""
    forest = make_forest(
        NAME,
        grown_by=[{"model": "small", "server": SERVER, "first_at": "2026-11-29"}],
        config_source="API_KEY = 'sk-secret'\n",
        stop_reason=f"{SERVER} refused the key",
        worker_message=f"{SERVER} serves another model",
    )
    add_trees(forest, [duck_tree()] * 5)
    failed = {"status": TreeStatus.FAILED, "error": f"{SERVER} said no"}
    add_tree(forest, 5, tree_of(step("0.0", "One step, then nothing.\n")), **failed)
    add_tree(forest, 6, tree_of(), status=TreeStatus.PENDING)
    forest = Forest.objects.get(pk=NAME)
    create_preferences(
        forest, "all", SetParameters(PairingOptions(pairing="all_pairs")), report=lambda _: None
    )
    for pair in Preference.objects.all()[:1]:
        record_review(pair, ReviewState.ACCEPTED, "clear to me", "zelda")
    step_path = parse_path("0.1")
    said = JudgedTree({step_path: 0.0}, {step_path: "It **forgets** the muffins."}, {})
    write_judged(start_scorer(forest, "critic", {}, JUDGE), {tree_id(NAME, 0): said})
    say(forest, 0, step_path, person("olaf"), Verdict.RIGHT, "read it twice", is_blind=True)
    return Forest.objects.get(pk=NAME)


def test_a_bundle_shows_trees_metrics_and_pairs_without_a_server(db, tmp_path):
    make_showcase()
    output = tmp_path / "bundle"
    out, err = run("--forest_name", FINISHED, "--output", output)

    assert out == f"output: {output}\n"
    assert f"open it: {output / 'index.html'}" in err
    pages = pages_of(output)
    assert broken_links(pages) == []
    names = {path.relative_to(output.resolve()).as_posix() for path in pages}
    assert {f"trees/{index}.html" for index in range(4)} | {"index.html", "metrics.html"} < names
    assert [name for name in names if name.startswith("pairs/")]
    pictures = list((output / "pictures").glob("*.svg"))
    assert len(pictures) > 5
    assert len({path.read_bytes() for path in pictures}) == len(pictures)
    for page in pages.values():
        assert not page.tags & {"script", "form", "button", "input", "iframe", "dialog"}
        assert not [name for name in page.names if name.startswith(("hx-", "on", "data-"))]
        assert "style" not in page.names
        assert "default-src 'none'" in page.text
    tree = pages[(output / "trees" / "0.html").resolve()]
    shown = (
        "<svg", "best path", "worst path", "Log-probability", "<math", "95 % interval",
        "The muffins need <strong>four</strong> eggs",
    )  # fmt: skip
    assert [part for part in shown if part not in tree.text] == []
    assert "node-0-0-1" in tree.ids
    large = pages[(output / "trees" / "2.html").resolve()]
    assert len([name for name in large.ids if name.startswith("node-")]) == 510

    manifest = json.loads((output / "manifest.json").read_text())
    files = {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()}
    assert set(manifest["files"]) == files - {"manifest.json"}
    space = RepoCard.load(output / "README.md").data.to_dict()
    assert (space["sdk"], space["app_file"], space["title"]) == ("static", "index.html", FINISHED)


def test_a_bundle_has_no_people_servers_or_source_unless_they_are_asked_for(small, tmp_path):
    run("--forest_name", NAME, "--output", tmp_path / "plain")
    run("--forest_name", NAME, "--with_notes", "--with_source", "--output", tmp_path / "told")
    plain, told = (
        "".join(path.read_text() for path in sorted((tmp_path / name).rglob("*.*")))
        for name in ("plain", "told")
    )
    assert [secret for secret in SECRETS if secret in plain] == []
    assert "It <strong>forgets</strong> the muffins." in plain
    assert "accepted" in plain
    for part in ("clear to me", "read it twice", "API_KEY"):
        assert part in told
    assert "gpu1" not in told


def test_a_large_forest_is_shown_in_part_and_the_bundle_says_so(small, tmp_path):
    output = tmp_path / "part"
    _, err = run(
        "--forest_name", NAME, "--max_trees", 2, "--max_pairs", 1, "--order", "lowest_value",
        "--output", output,
    )  # fmt: skip
    pages = pages_of(output)
    assert broken_links(pages) == []
    trees = {path.stem for path in pages if path.parent.name == "trees"}
    assert trees == {"0", "1"}
    assert "left out: 5 trees; --max_trees sets how many to write" in err
    index = pages[(output / "index.html").resolve()].text
    assert "A copy with 2 trees, by lowest value. Left out: 5 trees, " in index


def test_the_list_of_trees_has_pages(db, tmp_path):
    forest = make_forest(NAME)
    add_trees(forest, [tree_of(leaf("0.0", "18", RIGHT, answer="18"))] * 51)
    run("--forest_name", NAME, "--output", tmp_path / "many")
    pages = pages_of(tmp_path / "many")
    assert broken_links(pages) == []
    assert "trees/list-2.html#trees" in pages[(tmp_path / "many" / "index.html").resolve()].links
    assert "50.html" in pages[(tmp_path / "many" / "trees" / "list-2.html").resolve()].links


def test_only_an_earlier_bundle_is_replaced_and_bad_input_is_one_line(small, tmp_path):
    output = ("--forest_name", NAME, "--output")
    assert "no forest named 'x'" in refused("--forest_name", "x", "--output", tmp_path / "x")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    assert "choose another --output" in refused(*output, tmp_path / "mine", "--overwrite")
    assert [one.name for one in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    run(*output, tmp_path / "bundle", "--max_trees", 1)
    assert "add --overwrite" in refused(*output, tmp_path / "bundle")
    run(*output, tmp_path / "bundle", "--overwrite", "--max_trees", 2)
    assert (tmp_path / "bundle" / "trees" / "1.html").is_file()
    assert "has 7 trees and no tree 9" in refused(*output, tmp_path / "t.html", "--tree", 9)
    assert "--max_trees is for bundles" in refused(
        *output, tmp_path / "t.html", "--tree", 0, "--max_trees", 3
    )
    assert sorted(one.name for one in tmp_path.iterdir()) == ["bundle", "mine"]


def test_one_tree_is_one_file_that_needs_no_other(small, tmp_path):
    output = tmp_path / "tree.html"
    arguments = ("--forest_name", NAME, "--tree", 0, "--output", output)
    run(*arguments)
    page = Page(output)
    assert [link for link in page.links if not link.startswith("#")] == []
    assert {link.removeprefix("#") for link in page.links} <= page.ids
    assert "<style>" in page.text
    assert "style-src &#x27;sha256-" in page.text or "style-src 'sha256-" in page.text
    assert [secret for secret in SECRETS if secret in page.text] == []
    assert "add --overwrite" in refused(*arguments)
    run(*arguments, "--overwrite")
    output.write_text("<h1>Mine</h1>")
    assert "is not a tree that this command wrote" in refused(*arguments, "--overwrite")
    assert output.read_text() == "<h1>Mine</h1>"


def test_a_tree_page_offers_its_tree_as_html_and_json_to_its_readers(small, settings, monkeypatch):
    address = f"/{NAME}/trees/0/"
    visitor, reader = Client(), Client()
    assert visitor.get(f"{address}download/").status_code == 302
    reader.force_login(User.objects.create_superuser("wilhelmina"))
    page = reader.get(address).content.decode()
    assert f'href="{address}download/"' in page
    assert f'href="{address}download/?format=json"' in page
    sent = reader.get(f"{address}download/")
    assert sent["Content-Disposition"] == f'attachment; filename="{NAME}-tree-0.html"'
    assert [secret for secret in (*SECRETS, "wilhelmina") if secret in sent.content.decode()] == []
    data = reader.get(f"{address}download/?format=json")
    assert data["Content-Disposition"] == f'attachment; filename="{NAME}-tree-0.json"'
    assert len(data.json()["steps"]) == 12
    settings.PUBLIC = True
    assert visitor.get(f"{address}download/").status_code == 200
    assert visitor.get(f"/{NAME}/trees/9/download/").status_code == 404
    # The file of a tree that is too large says what it lacks.
    monkeypatch.setattr(saved_views, "MAX_STEPS", 3)
    part = visitor.get(f"{address}download/").content.decode()
    assert "not in this file" in part


def test_the_json_of_a_large_tree_has_all_its_steps_and_texts(small, settings):
    settings.PUBLIC = True
    wide = [step(f"0.{number}", f"{number} {'x' * 3000}") for number in range(900)]
    add_tree(small, 7, tree_of(*wide))
    data: Any = Client().get(f"/{NAME}/trees/7/download/?format=json").json()
    assert len(data["steps"]) == 900
    assert {one["num_characters_missing"] for one in data["steps"]} == {0}
    assert data["steps"][7]["text"] == wide[7].text
