"""People label steps in a browser, by keys."""

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from forests.models import TreeLabels
from forests.storage.scores import read_scores
from tests.browser.showcase import FINISHED, make_showcase

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _opinions(live_server) -> None:
    make_showcase()


def mine() -> dict[str, dict[str, str]]:
    reader = str(User.objects.get(username="reader").pk)
    return {one.tree_id[-1]: one.verdicts for one in TreeLabels.objects.filter(person=reader)}


def test_the_largest_disagreements_are_read_and_labelled_by_keys_alone(reader: Page):
    reader.goto(f"/{FINISHED}/labels/")
    cards = reader.locator("article.card")
    first = cards.nth(0)
    place = str(first.get_attribute("id")).removeprefix("step-")

    reader.keyboard.press("ArrowDown")
    expect(first).to_be_focused()
    reader.keyboard.press("w")
    expect(first.get_by_text("The step forgets them")).to_be_visible()
    reader.keyboard.press("1")
    expect(reader.get_by_text("Labelled right")).to_be_visible()
    expect(cards.nth(1)).to_be_focused()
    reader.keyboard.press("n")
    reader.keyboard.type("1 and 2 are only words here")
    reader.keyboard.press("Escape")
    expect(cards.nth(1)).to_be_focused()
    reader.keyboard.press("3")
    expect(reader.get_by_text("Labelled wrong")).to_be_visible()

    expect(first.locator(".verdict")).to_contain_text("reader right")
    assert sum(map(len, mine().values())) == 2
    reader.locator(f"#step-{place}").focus()
    reader.keyboard.press("0")
    expect(reader.get_by_text("Label taken back")).to_be_visible()
    expect(first.locator(".verdict")).not_to_contain_text("reader")


def tab_to(page: Page, words: str) -> None:
    """Press the Tab key until the element with these words has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == words:
            return
    raise AssertionError(f"no {words!r} within 60 tabs")


def test_from_a_forest_to_three_labels_and_a_file_for_a_colleague_by_keys_alone(
    reader: Page, browser, tmp_path
):
    reader.context.grant_permissions(["clipboard-read", "clipboard-write"])
    press = reader.keyboard.press
    reader.goto(f"/{FINISHED}/")
    tab_to(reader, "Labels")
    press("Enter")
    reader.wait_for_url("**/labels/")  # waits for its scripts, which read the next key
    press("w")
    expect(reader.get_by_text("The step forgets them").first).to_be_visible()
    for number, (key, verdict) in enumerate([("1", "right"), ("3", "wrong"), ("2", "neutral")]):
        press(key)
        card = reader.locator("article.card").nth(number)
        expect(card.locator(".verdict")).to_contain_text(f"reader {verdict}")
        expect(reader.locator("article.card").nth(min(number + 1, 2))).to_be_focused()
    assert sum(map(len, mine().values())) == 3

    press("l")
    expect(reader.get_by_text("Copied", exact=True)).to_be_visible()
    link = reader.evaluate("navigator.clipboard.readText()")
    place = str(reader.locator("article.card").nth(2).get_attribute("id")).split("-")
    assert link.endswith(f"/{FINISHED}/trees/{place[1]}/nodes/{'.'.join(place[2:])}/")
    with reader.expect_download() as download:
        press("f")
    file = tmp_path / "tree.html"
    download.value.save_as(file)

    colleague = browser.new_context(offline=True)
    page = colleague.new_page()
    page.goto(file.as_uri())
    tab_to(page, "Largest disagreement")
    page.keyboard.press("Enter")
    disputed = page.locator(".step.disputed").first
    expect(disputed.locator("summary").first).to_contain_text("human")
    more = disputed.locator(".more").first
    more.locator("summary").first.focus()
    page.keyboard.press("Enter")
    expect(more).to_contain_text("The step forgets them.")
    colleague.close()


def test_a_step_is_labelled_on_the_page_of_its_tree(reader: Page):
    reader.goto(f"/{FINISHED}/trees/0/")

    reader.keyboard.press("d")
    expect(reader.locator("#node-0-0 > details > summary")).to_be_focused()
    reader.keyboard.press("1")

    expect(reader.locator("#scores-node-0-0")).to_contain_text("human right")
    expect(reader.get_by_text("Labelled right")).to_be_visible()
    assert mine() == {"0": {"0-0": "right"}}
    reader.keyboard.press("0")
    expect(reader.locator("#scores-node-0-0")).not_to_contain_text("human")
    assert mine() == {"0": {}}


def test_where_people_disagree_an_operator_decides(reader: Page):
    reader.goto(f"/{FINISHED}/labels/?queue=divided")
    card = reader.locator("article.card")
    expect(card).to_have_count(1)
    expect(card.locator(".verdict")).to_contain_text("ada right")

    reader.keyboard.press("ArrowDown")
    reader.keyboard.press("d")
    reader.keyboard.press("3")

    expect(card.locator(".verdict")).to_contain_text("decided wrong")
    reader.reload()
    expect(reader.get_by_text("People do not disagree on a step")).to_be_visible()
    forest = TreeLabels.objects.filter(person="").get().forest
    assert 0.0 in read_scores(forest, "human", [1])[1].values()


def test_without_scripts_a_label_is_a_form(reader: Page, browser, live_server):
    plain = browser.new_context(
        base_url=live_server.url,
        java_script_enabled=False,
        storage_state=reader.context.storage_state(),
    )
    page = plain.new_page()
    page.goto(f"/{FINISHED}/labels/?queue=solutions")

    page.get_by_role("button", name="Neutral").first.click()

    expect(page.get_by_role("heading", level=1)).to_contain_text("Step 0")
    assert [set(one.values()) for one in mine().values()] == [{"neutral"}]
    plain.close()
