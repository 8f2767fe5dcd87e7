"""Reading a tree: by mouse, by keyboard, and without scripts."""

from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from forests.core.naming import tree_id
from forests.models import Forest, Node, TreeStatus
from rollouts.growing.fencing import forget_nodes
from tests.browser.showcase import large_tree
from tests.forests.factories import (
    QUESTION,
    RIGHT,
    add_trees,
    duck_tree,
    grow_tree,
    leaf,
    make_forest,
    open_tree,
)
from tests.forests.factories import step as step_of

NAME = "ducks-test-first"
TREE = f"/{NAME}/trees/0/"
FIRST_STEP = "She uses $3 + 4 = 7$ eggs, so **9 eggs** are left.\n"


@pytest.fixture
def forest(live_server) -> Forest:
    return add_trees(make_forest(NAME), [duck_tree(), duck_tree()])


@pytest.fixture
def tree(reader: Page, forest) -> Page:
    reader.goto(TREE)
    return reader


def step(page: Page, name: str) -> Locator:
    return page.locator(f"#node-{name.replace('.', '-')}")


def head(page: Page, name: str) -> Locator:
    return step(page, name).locator("summary").first


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_the_first_step_is_on_the_first_screen(tree: Page, width, height):
    tree.set_viewport_size({"width": width, "height": height})
    tree.reload()
    expect(step(tree, "0.0").locator("> details > .body .text")).to_be_in_viewport(ratio=0.9)
    expect(head(tree, "0.0").locator(".value")).to_be_in_viewport(ratio=1)


def test_a_step_is_closed_and_opened_with_all_below_it(tree: Page):
    expect(step(tree, "0.0.0.1").locator(".markdown")).to_have_text("The answer is 18.")
    head(tree, "0.0").click()
    expect(step(tree, "0.0.0")).to_be_hidden()
    expect(head(tree, "0.0")).to_contain_text("She uses")
    head(tree, "0.0").click()
    expect(step(tree, "0.0.0")).to_be_visible()


def test_all_steps_are_folded_and_unfolded_without_a_reload(tree: Page):
    tree.evaluate("window.isSamePage = true")
    tree.get_by_role("link", name="Collapse all").click()
    expect(step(tree, "0.0.0")).to_be_hidden()
    tree.get_by_role("link", name="Expand all").click()
    expect(step(tree, "0.1.0.1")).to_be_visible()
    assert tree.evaluate("window.isSamePage")


def test_a_tree_is_read_with_the_keyboard_alone(tree: Page):
    press = tree.keyboard.press
    press("ArrowDown")
    expect(head(tree, "0.0")).to_be_focused()
    press("ArrowRight")
    expect(head(tree, "0.0.0")).to_be_focused()
    press("ArrowDown")
    press("ArrowDown")
    expect(head(tree, "0.0.0.1")).to_be_focused()
    press("ArrowLeft")
    press("ArrowLeft")
    expect(head(tree, "0.0.0")).to_be_focused()
    press("ArrowLeft")
    expect(step(tree, "0.0.0.1")).to_be_hidden()
    press("End")
    expect(head(tree, "0.1.1")).to_be_focused()
    press("b")
    expect(head(tree, "0.0.0.0")).to_be_focused()  # noqa: S104  no address
    press("w")
    expect(head(tree, "0.1.0.0")).to_be_focused()
    press("c")
    expect(step(tree, "0.1.0")).to_be_hidden()
    press("]")
    expect(tree).to_have_url(f"/{NAME}/trees/1/")


def test_the_keys_are_explained(tree: Page):
    tree.keyboard.press("?")
    dialog = tree.get_by_role("dialog", name="Keys")
    expect(dialog).to_contain_text("search the steps")
    tree.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_steps_are_searched_without_a_reload(tree: Page):
    tree.evaluate("window.isSamePage = true")
    tree.keyboard.press("/")
    expect(tree.get_by_role("searchbox", name="Find", exact=True)).to_be_focused()
    tree.keyboard.type("boxed")
    tree.keyboard.press("Enter")
    expect(tree.get_by_text("1 step with", exact=False)).to_be_visible()
    expect(step(tree, "0.1")).to_have_count(0)
    expect(tree).to_have_url(f"{TREE}?q=boxed&ends=")
    assert tree.evaluate("window.isSamePage")
    tree.reload()
    expect(step(tree, "0.0.0.1")).to_be_visible()
    tree.get_by_role("link", name="Show all steps").click()
    expect(step(tree, "0.1")).to_be_visible()


def test_the_picture_leads_to_a_step(tree: Page):
    head(tree, "0.1").click()
    tree.locator('.picture a[href="#node-0-1-0"]').click()
    expect(head(tree, "0.1.0")).to_be_focused()


def test_a_link_to_a_step_opens_the_way_there(reader: Page, forest):
    reader.goto(f"{TREE}nodes/0.0.1.0/")
    expect(reader.get_by_role("heading", name="Step 0.0.1.0")).to_be_visible()
    reader.get_by_role("link", name="Show in tree").click()
    expect(head(reader, "0.0.1.0")).to_be_focused()
    expect(head(reader, "0.0.1.0")).to_be_in_viewport()


def test_siblings_are_compared_by_a_key_and_others_are_chosen(reader: Page, forest):
    add_trees(Forest.objects.get(pk=NAME), [large_tree()])
    reader.goto(f"/{NAME}/trees/2/")
    reader.keyboard.press("ArrowDown")
    reader.keyboard.press("s")
    expect(reader).to_have_url(f"/{NAME}/trees/2/nodes/0.0/siblings/")
    expect(reader.locator("del").nth(1)).to_have_text("0")
    expect(reader.get_by_role("columnheader", name="Step")).to_have_count(4)
    reader.get_by_role("checkbox", checked=True).first.uncheck()
    reader.get_by_role("checkbox").nth(8).check()
    reader.get_by_role("button", name="Compare").click()
    expect(reader.get_by_role("columnheader", name="Step 0.9")).to_be_visible()
    reader.get_by_role("link", name="Step 0.0").first.click()
    reader.wait_for_url("**/nodes/0.0/")  # waits for its scripts, which read the next key
    reader.keyboard.press("]")
    reader.wait_for_url("**/nodes/0.1/")
    reader.keyboard.press("s")
    expect(reader.get_by_role("heading", level=1)).to_have_text("Step 0.1 and its siblings")


def test_a_prefix_is_copied_as_the_model_was_given_it(tree: Page):
    tree.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tree.goto(f"{TREE}nodes/0.0/")
    tree.get_by_role("link", name="Copy prefix").first.click()
    expect(tree.get_by_text("Copied", exact=True)).to_be_visible()
    copied = tree.evaluate("navigator.clipboard.readText()")
    assert copied == f"Question: {QUESTION}\nAnswer:{FIRST_STEP}"


def test_a_step_is_sent_to_a_colleague_by_keys(tree: Page):
    tree.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tree.keyboard.press("ArrowDown")
    tree.keyboard.press("l")
    expect(tree.get_by_text("Copied", exact=True)).to_be_visible()
    assert tree.evaluate("navigator.clipboard.readText()").endswith(f"{TREE}nodes/0.0/")
    with tree.expect_download() as download:
        tree.keyboard.press("f")
    assert download.value.suggested_filename == f"{NAME}-tree-0.html"


def test_a_large_tree_loads_what_is_opened(reader: Page, forest):
    add_trees(Forest.objects.get(pk=NAME), [large_tree(ends=8)])
    reader.goto(f"/{NAME}/trees/2/")
    below = step(reader, "0.7.7.2")
    expect(below).to_have_count(0)
    reader.evaluate("window.isSamePage = true")
    for name in ("0.7", "0.7.7"):
        if step(reader, name).locator("> details:not([open])").count():
            head(reader, name).click()
    expect(below).to_be_visible()
    assert reader.evaluate("window.isSamePage")
    reader.goto(f"/{NAME}/trees/2/?open=0.9.9.3#node-0-9-9-3")
    expect(step(reader, "0.9.9.3")).to_be_in_viewport()


def test_a_tree_grows_under_the_eyes_of_its_reader(reader: Page, live_server):
    now = datetime.now(UTC)
    made = make_forest(NAME, growth_started_at=now, worked_at=now)
    growing = {"status": TreeStatus.GROWING, "lease_expires_at": now + timedelta(minutes=5)}
    forest = add_trees(made, [open_tree()], **growing)
    reader.goto(TREE)
    expect(reader.get_by_text("A worker is growing this tree.")).to_be_visible()
    reader.keyboard.press("ArrowDown")
    reader.keyboard.press("ArrowLeft")
    reader.evaluate("window.isSamePage = true")

    below = step_of("0.0.0", "Then 16 - 7 = 9.\n")
    grow_tree(forest, 0, below, step_of("0.2", "Let me think.\n"))
    expect(step(reader, "0.2")).to_be_visible()
    expect(step(reader, "0.0.0")).to_be_hidden()
    expect(head(reader, "0.0")).to_contain_text("no result yet")
    expect(head(reader, "0.0")).to_be_focused()
    grow_tree(forest, 0, leaf("0.0.0.0", "#### 18", RIGHT), status=TreeStatus.COMPLETE)  # noqa: S104
    expect(head(reader, "0.0")).to_contain_text("1 of 1 correct")
    expect(reader.locator("#growth")).to_contain_text("complete")
    expect(reader.locator("#growth")).not_to_have_attribute("hx-get", "")
    reader.keyboard.press("ArrowRight")
    expect(step(reader, "0.0.0.0")).to_be_visible()  # noqa: S104
    expect(reader.locator(".picture circle")).to_have_count(5)
    order = [one.get_attribute("id") for one in reader.locator(".steps.root > li").all()]
    assert order == ["node-0-0", "node-0-1", "node-0-2"]
    assert reader.evaluate("window.isSamePage")


def test_a_tree_that_is_emptied_under_the_eyes_of_its_reader_shows_no_old_step(
    reader: Page, live_server
):
    now = datetime.now(UTC)
    made = make_forest(NAME, growth_started_at=now, worked_at=now)
    growing = {"status": TreeStatus.GROWING, "lease_expires_at": now + timedelta(minutes=5)}
    forest = add_trees(made, [open_tree()], **growing)
    grow_tree(forest, 0, step_of("0.0.0", "Then 16 - 7 = 9.\n"), step_of("0.2", "Hm.\n"))
    reader.goto(TREE)
    expect(step(reader, "0.0.0")).to_be_visible()
    head(reader, "0.0").focus()
    reader.evaluate("window.isSamePage = true")

    tree = tree_id(NAME, 0)
    Node.objects.filter(tree_id=tree).delete()
    begin, let = "Begin with the price.\n", "Let $x$ be the price.\n"
    grow_tree(forest, 0, step_of("0.0", begin), step_of("0.1", let))

    expect(step(reader, "0.0")).to_contain_text("Begin with the price.")
    expect(step(reader, "0.0")).not_to_contain_text("First, count the eggs.")
    expect(step(reader, "0.0.0")).to_have_count(0)
    expect(step(reader, "0.2")).to_have_count(0)
    expect(step(reader, "0.1")).to_be_visible()

    forget_nodes([(tree, 0)], {}, also_held=True)
    expect(reader.locator(".steps.root")).to_have_count(0)
    assert reader.evaluate("window.isSamePage")


def test_a_tree_is_read_without_scripts(browser: Browser, reader: Page, forest, live_server):
    plain = browser.new_context(
        base_url=live_server.url,
        java_script_enabled=False,
        storage_state=reader.context.storage_state(),
    )
    page = plain.new_page()
    page.goto(TREE)
    head(page, "0.0").click()
    expect(step(page, "0.0.0")).to_be_hidden()
    page.get_by_role("searchbox", name="Find", exact=True).fill("boxed")
    page.get_by_role("button", name="Show").click()
    expect(step(page, "0.1")).to_have_count(0)
    expect(page.get_by_role("button", name="Keys")).to_be_hidden()
    plain.close()
