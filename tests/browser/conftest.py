"""A real browser on the site."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.db import DEFAULT_DB_ALIAS, connections
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.browser.tools import chromium
from tests.browser.watching import ONLY_THIS_MACHINE, Watch

_ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    ONLY_THIS_MACHINE,
]  # fmt: skip


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium, for all tests of this package.

    The scope is not the session, because Playwright keeps an event loop running in the thread.
    Tests of other packages could then start no event loop, and Django would refuse them the
    database.
    """
    path = chromium()
    # Django would make another connection for the event loop. That connection would keep its client
    # even after a test outside the loop has closed the client.
    connection = connections[DEFAULT_DB_ALIAS]
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        connections[DEFAULT_DB_ALIAS] = connection
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        browser = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser, live_server) -> Iterator[BrowserContext]:
    context = browser.new_context(
        base_url=live_server.url,
        viewport={"width": 1200, "height": 900},
        reduced_motion="reduce",
        service_workers="block",
    )
    context.set_default_timeout(30_000)
    yield context
    context.close()


@pytest.fixture
def watch(context: BrowserContext, live_server) -> Iterator[Watch]:
    """What the pages did that they must never do. The test fails if there is anything."""
    watch = Watch(context, live_server.url)
    yield watch
    assert watch.problems == []


@pytest.fixture
def page(context: BrowserContext, watch: Watch) -> Page:
    """An empty tab, not logged in."""
    page = context.new_page()
    watch.no_other_page(page)
    return page


@pytest.fixture
def reader(context: BrowserContext, page: Page, live_server) -> Page:
    """A tab in which a member of the staff is logged in."""
    client = Client()
    client.force_login(User.objects.create_superuser("reader", password="secret-reader"))
    session = client.cookies["sessionid"].value
    context.add_cookies([{"name": "sessionid", "value": session, "url": live_server.url}])
    return page
