"""Nothing that a model or a dataset wrote runs, loads anything, or disguises anything.

The browser has the site's own Content-Security-Policy. It is a failure too if only this policy
stops a text: our markup must have made the text inert before.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.admin.utils import quote
from playwright.sync_api import Page, expect

from forests.core.tree import ReasoningTree
from forests.markup.latex import _CLASS_OF_STYLE
from forests.models import Forest, TreeStatus
from preferences.core.pairing import PairingOptions
from preferences.models import Preference, PreferenceSet, ReviewState
from preferences.sets.creation import SetParameters, create_preferences
from preferences.sets.reviews import record_review
from rollouts.protocol.responses import MAX_MODEL
from tests.browser.xss import BIDI, CORPUS, LONG
from tests.forests.factories import (
    RIGHT,
    WRONG,
    add_tree,
    add_trees,
    leaf,
    make_forest,
    step,
    tree_of,
)
from tests.forests.markup.test_markup import ALLOWED_ATTRIBUTES, ALLOWED_TAGS

CALM = "calm words"
NAME = "hostile-test-trees"

_PARTS = """() => {
  const found = new Set();
  const look = (root) => {
    for (const element of root.querySelectorAll("*")) {
      const name = element.namespaceURI.split("/").pop() + ":" + element.localName;
      found.add(name);
      for (const {name: attribute, value} of element.attributes) {
        found.add(`${name} ${attribute}`);
        if (/^(href|src|action|xlink:href|hx-get)$/.test(attribute) && !/^[/#?]/.test(value))
          found.add(`${name} ${attribute}=${value}`);
        if (attribute === "class")
          for (const one of element.classList)  // htmx marks for a moment what it has put there
            if (!one.startsWith("htmx-")) found.add(`${name} class=${one}`);
      }
    }
  };
  look(document);
  // Read again, as when htmx puts a fragment into a page: nothing may be read as anything else.
  look(new DOMParser().parseFromString(document.documentElement.outerHTML, "text/html"));
  return [...found];
}"""
"""Returns the elements of a page, with their attributes, classes and foreign addresses."""

_UNFOLD = """async () => {
  // Of what asks the server when it is opened, one of each kind.
  const asks = document.querySelector("details:has(> [hx-get])");
  for (const details of document.querySelectorAll("details"))
    details.open = details === asks || !details.querySelector(":scope > [hx-get]");
  const pause = () => new Promise((resolve) => setTimeout(resolve, 10));
  do await pause(); while (document.querySelector(".htmx-request"));
}"""
"""Opens the folded parts, and ends when all their requests have been answered."""

_OF_MARKUP = (
    {f"{space}:{tag}" for space in ("xhtml", "MathML") for tag in ALLOWED_TAGS}
    | {f"MathML:{tag} class={name}" for tag in ALLOWED_TAGS for name in _CLASS_OF_STYLE.values()}
    | {
        f"{space}:{tag} {attribute}"
        for space in ("xhtml", "MathML")
        for tag in ALLOWED_TAGS
        for attribute in ALLOWED_ATTRIBUTES
    }
    | {f"xhtml:{tag} class={name}" for tag, name in (
        ("div", "markdown"), ("pre", "raw"), ("p", "note"), ("code", "formula"),
    )}
)  # fmt: skip


def hostile_tree(text: str) -> ReasoningTree:
    return tree_of(
        step("0.0", text, model=text[:MAX_MODEL], finish_reason="stop"),
        leaf("0.0.0", f"{text} right", RIGHT, answer=text, model=text[:MAX_MODEL]),
        leaf("0.0.1", f"wrong {text}", WRONG, answer=f"not {text}", truncated=True),
        step("0.1", f"x {text}", model=text[:MAX_MODEL]),
        leaf("0.1.0", f"{text}\n#### 1", WRONG, answer=text),
    )


def add_hostile_tree(forest: Forest, text: str, index: int) -> None:
    """Add a tree that failed, with as many hostile fields as a tree can have."""
    add_tree(
        forest, index, hostile_tree(text), status=TreeStatus.FAILED, item=text, label=text,
        error=text, prompt=[{"role": text, "content": text}],
    )  # fmt: skip


def hostile_forest(name: str, text: str, **fields: Any) -> Forest:
    hostile: dict[str, Any] = dict.fromkeys(
        ("config_source", "config_git_commit", "config_git_branch", "dataset_split",
         "dataset_source", "dataset_licence", "backend_message"), text,
    )  # fmt: skip
    key = text.replace("\x00", "")  # MongoDB refuses a null in a name
    return make_forest(
        name,
        **hostile,
        failures={key: 1},
        **fields,
        worker_config={"api": "completions", "model": text, key: [text]},
    )


@pytest.fixture
def parts_of(reader: Page) -> Callable[[str], set[str]]:
    """Open a page with everything unfolded, and return its parts, as `_PARTS` names them."""

    def parts_of(address: str) -> set[str]:
        reader.goto(address)
        reader.evaluate(_UNFOLD)
        parts: list[str] = reader.evaluate(_PARTS)
        return set(parts)

    return parts_of


@pytest.fixture
def names() -> Iterator[str]:
    """Names of forests: one for the calm words, and one for each text."""
    return (f"hostile-test-{number}" for number in range(len(CORPUS) + 1))


@pytest.mark.slow
def test_nothing_in_a_forest_runs(reader: Page, parts_of, names, watch):
    make_forest("calm-test-first")
    hostile_forest(next(names), CALM)
    calm = parts_of("/") | parts_of("/hostile-test-0/") | parts_of("/hostile-test-0/config/")
    calm |= parts_of("/search/?q=hostile") | {"xhtml:nav class=pages", "xhtml:a rel"}
    for what, text in CORPUS.items():
        forest = hostile_forest(next(names), text)
        parts = parts_of(forest.get_absolute_url())
        parts |= parts_of(f"{forest.get_absolute_url()}config/")
        assert parts - calm - _OF_MARKUP == set(), what
    for address in ("/", "/?page=2", "/search/?q=hostile"):
        assert parts_of(address) - calm == set()
    reader.wait_for_timeout(500)
    assert watch.problems == []


@pytest.mark.slow
def test_nothing_in_a_tree_runs(reader: Page, parts_of, watch):
    forest = make_forest(NAME)
    for index, text in enumerate((CALM, *CORPUS.values())):
        add_hostile_tree(forest, text, index)
    calm = parts_of(f"/{NAME}/trees/0/")
    for index, what in enumerate(CORPUS, start=1):
        assert parts_of(f"/{NAME}/trees/{index}/") - calm - _OF_MARKUP == set(), what
    reader.wait_for_timeout(500)
    assert watch.problems == []


def test_nothing_about_a_step_runs(reader: Page, parts_of, watch):
    """A page of a step has the texts of all steps before it: one page for each ten texts."""
    forest = make_forest(NAME)
    texts = list(CORPUS.values())
    groups = [[CALM] * 10, *(texts[start : start + 10] for start in range(0, len(texts), 10))]
    for index, group in enumerate(groups):
        steps = [step("0" + ".0" * (depth + 1), text) for depth, text in enumerate(group)]
        steps[-1] = leaf("0" + ".0" * len(group), group[-1], WRONG, answer=group[0])
        chat = [{"role": group[0], "content": "".join(group)}]
        add_tree(forest, index, tree_of(*steps), label=group[1], prompt=chat)

    def parts(index: int) -> set[Any]:
        name = "0" + ".0" * len(groups[index])
        return set(parts_of(f"/{NAME}/trees/{index}/nodes/{name}/"))

    calm = parts(0)
    for index in range(1, len(groups)):
        assert parts(index) - calm - _OF_MARKUP == set(), index
    reader.wait_for_timeout(500)
    assert watch.problems == []


@pytest.mark.slow
def test_nothing_that_is_searched_for_runs(reader: Page, parts_of, watch):
    forest = make_forest(NAME)
    for index, text in enumerate((CALM, *CORPUS.values())):
        add_hostile_tree(forest, text, index)

    def found(place, text):
        return parts_of(f"/{NAME}/{place}?{urlencode({'q': text})}")

    calm = found("", CALM), found("trees/0/", CALM)
    assert "xhtml:mark" in calm[1]
    for index, (what, text) in enumerate(CORPUS.items(), start=1):
        # By turns, a list of trees and a tree itself: both mark hits in the same way.
        place = f"trees/{index}/" if index % 2 else ""
        assert found(place, text) - calm[index % 2] - _OF_MARKUP == set(), what
    reader.wait_for_timeout(500)
    assert watch.problems == []


def test_what_is_not_there_is_named_without_running_it(reader: Page, parts_of, watch):
    watch.expected.append("404")
    make_forest(NAME)
    calm = parts_of("/nothing/at/all/")
    text = CORPUS["script after every end"]
    for place, name in (("", "status"), ("", "sort"), ("", "page"), ("preferences/", "set")):
        parts = parts_of(f"/{NAME}/{place}?{urlencode({name: text})}")
        assert parts - calm == set(), name
    assert watch.problems == []


def test_nothing_in_a_tree_as_it_was_written_runs(reader: Page, parts_of, watch):
    forest = make_forest(NAME)
    for index, texts in enumerate(([CALM] * len(CORPUS), CORPUS.values())):
        steps = [step(f"0.{position}", text) for position, text in enumerate(texts)]
        add_tree(forest, index, tree_of(*steps), prompt="\n".join(texts))
    calm = parts_of(f"/{NAME}/trees/0/?raw=1")
    assert parts_of(f"/{NAME}/trees/1/?raw=1") - calm == set()
    reader.wait_for_timeout(500)
    assert watch.problems == []


def test_nothing_in_a_list_of_trees_runs(reader: Page, parts_of, watch):
    calm_forest, forest = make_forest("calm-test-first"), make_forest(NAME)
    for number in range(2 * len(CORPUS)):
        add_hostile_tree(calm_forest, CALM, number)
    for index, text in enumerate(2 * list(CORPUS.values())):
        add_hostile_tree(forest, text, index)
    for query in ("?page=2", "?page=3", "?status=failed"):
        calm = parts_of(f"/calm-test-first/{query}")
        assert parts_of(f"/{NAME}/{query}") - calm == set(), query
    reader.wait_for_timeout(500)
    assert watch.problems == []


def test_nothing_in_a_table_of_answers_runs(reader: Page, parts_of, watch):
    calm_forest, forest = make_forest("calm-test-first"), make_forest(NAME)
    texts = list(CORPUS.values())
    for name, answers in ((calm_forest, [CALM] * 15), (forest, texts)):
        for index, first in enumerate(range(0, len(answers), 15)):
            leaves = [
                leaf(f"0.{position}", text, WRONG, answer=f"{position} {text}")
                for position, text in enumerate(answers[first : first + 15])
            ]
            add_tree(name, index, tree_of(*leaves), item=leaves[0].text, label=leaves[-1].text)
    calm = parts_of("/calm-test-first/metrics/?tree=0")
    for index in range(-(-len(texts) // 15)):
        assert parts_of(f"/{NAME}/metrics/?tree={index}") - calm == set(), index
    reader.wait_for_timeout(500)
    assert watch.problems == []


def test_nothing_in_the_note_of_a_review_runs(reader: Page, parts_of, watch, settings):
    forest = add_trees(make_forest(NAME), [hostile_tree(CALM)] * len(CORPUS))
    create_preferences(forest, "mine", SetParameters(PairingOptions()), report=lambda _: None)
    pairs = list(Preference.objects.all())[: len(CORPUS) + 10]
    for pair, text in zip(pairs, [CALM] * 10 + list(CORPUS.values()), strict=True):
        record_review(pair, ReviewState.ACCEPTED, text, f"name of {text}"[:150])
    settings.PUBLIC = True
    address = f"/{NAME}/preferences/?review=accepted"
    calm = parts_of(address)
    assert "calm words" in reader.content()
    for _ in range(2):  # once as a reviewer, then as a visitor who only reads
        for page in range(2, -(-len(pairs) // 10) + 1):
            assert parts_of(f"{address}&page={page}") - calm - {"xhtml:a rel"} == set(), page
        reader.context.clear_cookies()
        calm |= parts_of(address)
    reader.wait_for_timeout(500)
    assert watch.problems == []


def test_nothing_in_the_admin_runs(reader: Page, parts_of, watch):
    def parts(name: str, text: str) -> set[Any]:
        add_hostile_tree(hostile_forest(name, text), text, 0)
        keys = {"forest": name, "tree": f"{name}/0000000", "node": f"{name}/0000000/0.0.0"}
        addresses = [f"/admin/forests/{model}/{quote(key)}/change/" for model, key in keys.items()]
        lists = [f"/admin/forests/{model}/" for model in keys]
        return set().union(*map(parts_of, (*addresses, *lists)))

    calm = parts("calm-test-first", CALM)
    assert parts(NAME, "\n".join(CORPUS.values())) - calm == set()
    reader.wait_for_timeout(500)
    assert watch.problems == []


def test_nothing_in_a_pair_runs(reader: Page, parts_of, watch):
    parameters = SetParameters(PairingOptions())

    def pairs_of(name: str, texts: Iterable[str]) -> PreferenceSet:
        forest = make_forest(name)
        for index, text in enumerate(texts):
            add_tree(forest, index, hostile_tree(text), prompt=text, item=text, label=text)
        forest.refresh_from_db()
        return create_preferences(forest, "mine", parameters, report=lambda _: None)

    pairs_of("calm-test-first", [CALM] * 30)
    made = pairs_of(NAME, CORPUS.values())
    calm = parts_of("/calm-test-first/preferences/?page=2")
    for page in range(1, -(-made.num_pairs // 10) + 1):
        parts = parts_of(f"/{NAME}/preferences/?page={page}")
        assert parts - calm - _OF_MARKUP == set(), page
    reader.wait_for_timeout(500)
    assert watch.problems == []


_EXPOSED = """() => {
  const exposed = [];
  const isApart = (element) => {
    const style = getComputedStyle(element);
    return style.unicodeBidi !== "normal" || !["inline", "contents"].includes(style.display);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    if (!/[\u05d0-\u05ea]/.test(walker.currentNode.data)) continue;
    let around = walker.currentNode.parentElement;
    while (!isApart(around)) around = around.parentElement;
    if (/[0-9A-Za-z]/.test(around.textContent)) exposed.push(around.outerHTML.slice(0, 300));
  }
  return exposed;
}"""
"""Returns the elements in which text from right to left is beside words of the site.

The direction of a text has no effect outside an element that is isolated or not inline.
"""


def test_text_from_right_to_left_moves_nothing_beside_it(reader: Page):
    other = BIDI[::-1]
    tree = tree_of(
        step("0.0", BIDI, model=BIDI),
        leaf("0.0.0", BIDI, RIGHT, answer=BIDI, model=BIDI),
        leaf("0.0.1", other, WRONG, answer=other, truncated=True),
    )
    fields: dict[str, Any] = {"item": BIDI, "label": BIDI}
    forest = hostile_forest("hostile-test-0", BIDI)
    add_tree(forest, 0, tree, prompt=BIDI, **fields)
    chat = [{"role": BIDI, "content": BIDI}]
    add_tree(
        make_forest(NAME), 0, tree, status=TreeStatus.FAILED, prompt=chat, error=BIDI, **fields
    )
    forest.refresh_from_db()
    create_preferences(forest, "mine", SetParameters(PairingOptions()), report=lambda _: None)
    own = f"/{forest.name}/"
    query = urlencode({"q": BIDI[2:4]})
    for address in (
        "/", own, f"{own}?{query}", f"{own}trees/0/", f"{own}trees/0/?raw=1",
        f"{own}trees/0/?{query}", f"{own}trees/0/nodes/0.0.0/", f"{own}preferences/",
        f"{own}metrics/", f"/{NAME}/", f"/{NAME}/trees/0/", f"/{NAME}/trees/0/nodes/0.0.0/",
    ):  # fmt: skip
        reader.goto(address)
        reader.evaluate(_UNFOLD)
        assert reader.evaluate(_EXPOSED) == [], address


@pytest.mark.parametrize("what", LONG)
def test_a_very_long_line_does_not_stop_a_page(reader: Page, watch, what):
    forest = hostile_forest("hostile-test-0", LONG[what])
    add_hostile_tree(forest, LONG[what], 0)
    own = f"/{forest.name}/"
    for address in ("/", own, f"{own}trees/0/"):
        began = time.monotonic()
        reader.goto(address)
        assert reader.get_by_role("heading", level=1).is_visible()
        assert reader.evaluate("document.documentElement.scrollWidth <= innerWidth"), address
        assert time.monotonic() - began < 10, address
    rest = reader.get_by_role("link", name=re.compile("more characters"))
    number = rest.count()
    rest.first.click()
    expect(rest).to_have_count(number - 1)
    assert reader.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert watch.problems == []
