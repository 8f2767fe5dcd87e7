"""Reading the thoughts of a reasoning model, and hostile texts in them."""

import time

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_tree import head, step
from tests.browser.xss import CORPUS
from tests.forests.factories import RIGHT, add_trees, leaf, make_forest, tree_of
from tests.forests.pages.tree.test_thoughts import LONG, thinking_tree, thought

TREE = "/ducks-test-first/trees/0/"


@pytest.fixture
def tree(reader: Page, live_server) -> Page:
    add_trees(make_forest(), [thinking_tree(f"{LONG}The last word.")])
    reader.goto(TREE)
    return reader


def test_a_thought_is_opened_by_the_mouse_and_stays_apart_from_the_answer(tree: Page, watch):
    folded = step(tree, "0.0").locator("details.thought").first
    expect(folded).to_contain_text("thought, 1,234 tokens")
    expect(folded.locator(".markdown")).to_have_count(0)
    expect(step(tree, "0.0.0")).to_be_visible()
    folded.locator("summary").click()
    expect(folded.locator(".markdown strong").first).to_have_text("Wait.")
    expect(step(tree, "0.0.0")).to_be_visible()
    folded.locator("summary").click()
    expect(folded.locator(".markdown").first).to_be_hidden()
    assert watch.problems == []


def test_a_thought_is_opened_by_the_keyboard(tree: Page):
    tree.keyboard.press("ArrowDown")
    expect(head(tree, "0.0")).to_be_focused()
    tree.keyboard.press("Tab")
    folded = step(tree, "0.0").locator("details.thought").first
    expect(folded.locator("summary")).to_be_focused()
    tree.keyboard.press("Enter")
    expect(folded.locator(".markdown strong").first).to_be_visible()


def test_all_thoughts_are_shown_and_folded_by_a_key(tree: Page):
    expect(tree.get_by_text("I am lost", exact=True)).to_have_count(1)  # the closed row's preview
    tree.keyboard.press("t")
    expect(step(tree, "0.1.0").locator(".markdown")).to_have_text("I am lost")
    tree.keyboard.press("t")
    expect(step(tree, "0.1.0").locator("details.thought")).to_be_visible()
    expect(tree.locator("details.thought .markdown")).to_have_count(0)


def test_many_large_thoughts_open_at_once(reader: Page, live_server):
    nodes = []
    for number in range(60):
        nodes.append(thought(f"0.{number}", f"{number} {LONG}", tokens=30_000))
        nodes.append(leaf(f"0.{number}.0", "\\boxed{18}", RIGHT, answer="18"))
    add_trees(make_forest(), [tree_of(*nodes)])
    began = time.monotonic()
    reader.goto(TREE)
    expect(step(reader, "0.59").locator("details.thought")).to_be_visible()
    assert time.monotonic() - began < 20


def test_nothing_in_a_thought_runs(reader: Page, live_server, watch):
    nodes = [thought(f"0.{number}", text) for number, text in enumerate(CORPUS.values())]
    add_trees(make_forest(), [tree_of(*nodes)])
    for address in (TREE, f"{TREE}?raw=1"):
        reader.goto(address)
        opened = reader.locator(".thought > summary")
        count = opened.count()
        assert count > len(CORPUS) - 3  # blank texts are not shown
        reader.evaluate("for (const one of document.querySelectorAll('.thought')) one.open = true")
        expect(reader.get_by_role("link", name="Read this thought")).to_have_count(0)
        assert not reader.locator(".step :is(script, iframe, img, object, embed, style)").count()
    reader.goto(f"{TREE}?thoughts=1")
    reader.wait_for_timeout(500)
    assert watch.problems == []
