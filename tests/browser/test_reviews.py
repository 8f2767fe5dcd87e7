"""Judging pairs in a browser."""

import pytest
from playwright.sync_api import Browser, Page, expect

from preferences.models import Review
from tests.browser.showcase import FINISHED, make_showcase

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_pair_is_accepted_without_reload_and_stays_so(reader: Page):
    make_showcase()
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
    make_showcase()
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
