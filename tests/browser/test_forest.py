"""What a reader does on the pages, in a real browser."""

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from forests.models import Forest, TreeStatus
from forests.storage.trees import collection
from tests.forests.factories import (
    add_activity,
    add_tree,
    add_trees,
    duck_tree,
    make_forest,
    open_tree,
)

NAME = "ducks-test-first"
FOREST = f"/{NAME}/"
TREE = f"/{NAME}/trees/0/"


@pytest.fixture
def forest(live_server) -> Forest:
    return add_trees(make_forest(NAME), [duck_tree()])


@pytest.fixture
def growing(live_server) -> Forest:
    now = datetime.now(UTC)
    forest = add_trees(make_forest(NAME, growth_started_at=now, worked_at=now), [duck_tree()])
    add_tree(forest, 1, open_tree(), status=TreeStatus.GROWING)
    add_activity(forest, now - timedelta(minutes=1), trees=1, nodes=60, tokens=600)
    return Forest.objects.get(pk=NAME)


def test_a_reader_logs_in_and_out(page: Page, forest):
    User.objects.create_user("guest", password="secret-guest")
    page.goto(TREE)
    page.get_by_label("User name").fill("guest")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("do not match")
    page.get_by_label("User name").fill("guest")
    page.get_by_label("Password").fill("secret-guest")
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(f"{TREE}")
    page.get_by_text("guest", exact=True).click()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()


def test_the_list_leads_to_a_forest_and_the_forest_to_a_tree(reader: Page, forest):
    reader.goto("/")
    reader.get_by_role("link", name=NAME).click()
    expect(reader.get_by_role("heading", level=1)).to_have_text(NAME)
    reader.get_by_role("row").get_by_role("link", name="0", exact=True).click()
    expect(reader).to_have_url(TREE)


def grow(forest: Forest) -> None:
    """Do what a worker does when the last tree is complete."""
    collection(Forest).update_one(
        {"_id": forest.name}, {"$inc": {"num_complete": 1, "num_nodes": 1000}}
    )


@pytest.mark.parametrize("address", ["/", FOREST])
def test_progress_comes_without_a_reload(reader: Page, growing, address):
    reader.goto(address)
    expect(reader.locator(".badge", has_text="growing").first).to_be_visible()
    reader.evaluate("window.isSamePage = true")
    grow(growing)
    expect(reader.locator(".badge", has_text="finished").first).to_be_visible()
    expect(reader.get_by_text("2 of 2").first).to_be_visible()
    assert reader.evaluate("window.isSamePage")


def test_forests_chosen_for_a_comparison_stay_chosen_while_one_grows(reader: Page, growing):
    add_trees(make_forest("ducks-test-second"), [duck_tree()])
    reader.goto("/")
    for name in (NAME, "ducks-test-second"):
        reader.get_by_role("checkbox", name=f"Compare {name}").check()
    grow(growing)
    expect(reader.locator(".badge", has_text="finished")).to_have_count(2)
    reader.get_by_role("button", name="Compare selected").click()
    expect(reader.get_by_role("heading", level=1)).to_have_text("Compare forests")
    assert "forest=ducks-test-second&forest=ducks-test-first" in reader.url


def test_progress_asked_after_a_logout_leads_to_the_login(reader: Page, growing, watch):
    watch.expected.append("401")
    reader.goto(FOREST)
    reader.context.clear_cookies()
    expect(reader.get_by_role("heading", name="Log in")).to_be_visible()
    expect(reader).to_have_url(f"/login/?next={FOREST}")


def test_the_keys_of_the_frame_lead_to_the_search_and_close_the_menu(reader: Page, forest):
    reader.goto(FOREST)
    reader.keyboard.press("/")
    reader.keyboard.type("muffins")
    reader.keyboard.press("Enter")
    expect(reader.get_by_role("heading", level=1)).to_have_text("Search for muffins")
    reader.get_by_role("link", name="Tree 0 of").click()
    expect(reader).to_have_url(TREE)
    reader.get_by_role("navigation", name="Forest").get_by_role("link", name="Config").click()
    expect(reader.get_by_role("heading", level=1)).to_have_text("Config")
    menu = reader.get_by_role("link", name="Change password")
    reader.get_by_text("reader", exact=True).click()
    expect(menu).to_be_visible()
    reader.keyboard.press("Escape")
    expect(menu).to_be_hidden()
