"""Judging pairs in a browser."""

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, Page, expect

from preferences.models import Preference, PreferenceSet, Review, ReviewState
from preferences.sets.reviews import apply_reviews, delete_reviews, record_review
from tests.browser.showcase import FINISHED, make_showcase

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _pairs_that_nobody_judged(live_server) -> None:
    make_showcase()
    delete_reviews(FINISHED)
    apply_reviews(PreferenceSet.objects.get(pk=f"{FINISHED}/mine"))


def test_a_pair_is_accepted_without_reload_and_stays_so(reader: Page):
    reader.goto(f"/{FINISHED}/preferences/")
    reader.evaluate("window.isSamePage = true")
    review = reader.locator("#review-0-0")

    review.get_by_label("Note").fill("a clear <b>mistake</b> on the right")
    review.get_by_role("button", name="Accept").click()

    expect(review.get_by_text("accepted")).to_be_visible()
    assert reader.evaluate("window.isSamePage")
    reader.reload()
    expect(reader.locator("#review-0-0").get_by_label("Note")).to_have_value(
        "a clear <b>mistake</b> on the right"
    )
    assert [(one.state, one.reviewer) for one in Review.objects.all()] == [("accepted", "reader")]


def test_a_pair_is_rejected_without_scripts_too(browser: Browser, reader: Page, live_server):
    plain = browser.new_context(
        base_url=live_server.url,
        java_script_enabled=False,
        storage_state=reader.context.storage_state(),
    )
    page = plain.new_page()
    page.goto(f"/{FINISHED}/preferences/?page=2")

    page.get_by_role("button", name="Reject").first.click()

    expect(page.locator(".review").first.get_by_text("rejected")).to_be_visible()
    assert "page=2" in page.url
    plain.close()


def test_pairs_are_judged_by_keys_one_after_the_other(reader: Page):
    reader.goto(f"/{FINISHED}/preferences/")
    pairs = reader.locator("article.pair")
    places = [str(one.get_attribute("id")).removeprefix("pair-") for one in pairs.all()]
    counts = reader.locator("#review-counts")

    reader.keyboard.press("a")  # no pair has the focus yet: the first one is meant
    expect(reader.get_by_text("Pair accepted")).to_be_visible()
    expect(pairs.nth(1)).to_be_focused()
    expect(counts).to_contain_text("Accepted1")
    reader.keyboard.press("r")
    expect(pairs.nth(2)).to_be_focused()
    expect(counts).to_contain_text("Rejected1")
    expect(reader.get_by_text("Pair rejected")).to_be_visible()

    reader.keyboard.press("ArrowUp")
    expect(pairs.nth(1)).to_be_focused()
    reader.keyboard.press("n")
    reader.keyboard.type("a rash decision?")  # in the note, keys only write
    reader.keyboard.press("Escape")
    expect(pairs.nth(1)).to_be_focused()
    reader.keyboard.press("o")
    expect(reader.locator(f"#review-{places[1]} .verdict")).to_contain_text("open")
    expect(counts).to_contain_text("Rejected0")
    expect(pairs.nth(1)).to_be_focused()

    assert {one.state: one.note for one in Review.objects.all()} == {
        "accepted": "", "open": "a rash decision?",
    }  # fmt: skip


def test_keys_turn_pages_and_explain_themselves(reader: Page):
    reader.goto(f"/{FINISHED}/preferences/")
    reader.keyboard.press("ArrowRight")
    reader.wait_for_url("**page=2*")
    reader.keyboard.press("ArrowLeft")
    reader.wait_for_url("**page=1*")
    reader.keyboard.press("?")
    expect(reader.get_by_role("dialog")).to_contain_text("accept, reject the pair")
    reader.keyboard.press("a")  # the pairs behind the dialog ignore it
    reader.keyboard.press("Escape")
    expect(reader.get_by_role("dialog")).to_be_hidden()
    assert not Review.objects.exists()


def test_whoever_was_overtaken_is_told_and_keeps_what_they_wrote(reader: Page):
    reader.goto(f"/{FINISHED}/preferences/")
    pair = Preference.objects.get(pk=f"{FINISHED}/mine/0000000/0")
    record_review(pair, ReviewState.REJECTED, "no: look at the last line", "ada")
    review = reader.locator("#review-0-0")
    review.get_by_label("Note").fill("fine")
    review.get_by_role("button", name="Accept").click()

    expect(review.get_by_role("alert")).to_contain_text("somebody reviewed this pair")
    expect(review).to_contain_text("no: look at the last line")
    expect(review.get_by_label("Note")).to_have_value("fine")
    review.get_by_role("button", name="Accept").click()
    expect(review.locator(".verdict")).to_contain_text("accepted by reader")
    assert [(one.state, one.note) for one in Review.objects.all()] == [("accepted", "fine")]


def test_a_review_that_cannot_be_sent_is_said(reader: Page, watch):
    watch.expected.append("403")
    reader.goto(f"/{FINISHED}/preferences/")
    User.objects.update(is_superuser=False)
    reader.locator("#review-0-0").get_by_role("button", name="Accept").click()
    expect(reader.get_by_text("Not stored")).to_be_visible()
