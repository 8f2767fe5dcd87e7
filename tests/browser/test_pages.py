"""Every page in light, in dark and on a phone: takes pictures, and finds no problem."""

import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, NoReturn

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.test import Client
from playwright.sync_api import Page, ViewportSize, expect

from forests.progress.states import ForestState
from tests.browser.showcase import ADMIN_PAGES, PAGES, make_showcase
from tests.browser.tools import SCREENSHOTS, checker, node
from tests.forests.factories import make_forest

WIDE, PHONE = ViewportSize(width=1200, height=900), ViewportSize(width=390, height=844)
LOOKS: dict[str, tuple[Literal["light", "dark"], ViewportSize]] = {
    "light": ("light", WIDE),
    "dark": ("dark", WIDE),
    "phone": ("light", PHONE),
}

_UNFOLD = """() => {
  for (const one of document.querySelectorAll("details:not(:has(> [hx-get]))")) one.open = true;
}"""
"""Opens all folded parts, except those that would load something."""


@pytest.fixture
def showcase(live_server) -> None:
    make_showcase(ends=1)


PORTIONS = 4
"""Number of tests that share the pages: making the showcase takes longer than viewing a page."""


@pytest.fixture
def look(page: Page) -> Callable[[str, str], None]:
    """Look at a page in every way, first as it comes and then unfolded."""
    axe = checker("axe-core/axe.min.js").read_text()

    def look(name: str, address: str) -> None:
        page.goto(address)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        for kind in LOOKS:
            take_look(page, kind)
            take_picture(page, f"{name}-{kind}")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (name, kind)
        page.evaluate(_UNFOLD)
        page.evaluate(axe)
        for kind in LOOKS:
            take_look(page, kind)
            assert problems_of(page) == [], (name, kind)

    return look


def take_look(page: Page, kind: str) -> None:
    scheme, size = LOOKS[kind]
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size(size)


def take_picture(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def problems_of(page: Page) -> list[tuple[str, str, str]]:
    """Return each accessibility problem: rule, element, what is wrong."""
    found: dict[str, Any] = page.evaluate("axe.run({resultTypes: ['violations']})")
    return [
        (rule["id"], node["html"][:200], node["failureSummary"])
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


@pytest.mark.slow
@pytest.mark.parametrize("portion", range(PORTIONS))
def test_pages_look_well_and_can_be_read_by_everyone(reader: Page, showcase, look, watch, portion):
    for name, address in list(PAGES.items())[portion::PORTIONS]:
        look(name, address)
        assert watch.problems == [], name


@pytest.mark.slow
def test_the_admin_works_with_the_policy_of_the_site(reader: Page, showcase, watch):
    for name, address in ADMIN_PAGES.items():
        reader.goto(address)
        expect(reader.get_by_role("heading", level=1).first).to_be_visible()
        for kind in LOOKS:
            take_look(reader, kind)
            take_picture(reader, f"{name}-{kind}")
        assert watch.problems == [], name


def test_a_page_that_is_not_there_looks_well(reader: Page, look, watch):
    watch.expected.append("404")
    look("not-found", "/nothing/at/all/")


def test_the_login_looks_well(page: Page, live_server, look):
    look("login", "/login/")


def test_a_site_without_forests_looks_well(reader: Page, look):
    look("forests-empty", "/")


@pytest.mark.parametrize(
    ("name", "error"),
    [("failed", RuntimeError("no database")), ("not-allowed", PermissionDenied())],
)
def test_a_page_that_cannot_be_shown_looks_well(
    reader: Page, look, watch, monkeypatch, name, error
):
    def refuse(*_: object) -> NoReturn:
        raise error

    monkeypatch.setattr("forests.pages.overview.list_views.read_forests", refuse)
    watch.expected += ["500", "403"]
    look(name, "/")


def html_errors(folder: Path) -> list[tuple[str, int, str]]:
    """Return what the HTML checker finds in a folder: page, rule, and line with message."""
    command = checker("html-validate/bin/html-validate.mjs")
    settings = Path(__file__).with_name("htmlvalidate.json")
    result = subprocess.run(
        [node(), command, "--config", settings, "--formatter", "json", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout, result.stderr
    return [
        (
            Path(report["filePath"]).stem,
            message["ruleId"],
            f"{message['line']}: {message['message']}",
        )
        for report in json.loads(result.stdout)
        for message in report["messages"]
    ]


def test_every_page_is_valid_html(live_server, showcase, client: Client, tmp_path):
    visitor = client.get("/login/").content
    client.force_login(User.objects.create_superuser("reader"))
    for name, address in PAGES.items():
        (tmp_path / f"{name}.html").write_bytes(client.get(address).content)
    (tmp_path / "login.html").write_bytes(visitor)
    assert html_errors(tmp_path) == []


NOW = datetime.now(UTC)
FACTS: dict[str, dict[str, Any]] = {
    "seeding": {"is_seeded": False},
    "empty": {},
    "regrading": {"num_trees": 6, "is_graded": False},
    "pending": {"num_trees": 6},
    "growing": {"num_trees": 6, "growth_started_at": NOW},
    "waiting for the server": {
        "num_trees": 6, "growth_started_at": NOW,
        "backend_message": "http://127.0.0.1:8080/v1 does not answer: connection refused",
    },
    "paused": {"num_trees": 6, "is_paused": True},
    "limit spent": {"num_trees": 6, "max_requests": 50, "requests": 50},
    "stopped by an error": {"num_trees": 6, "stop_reason": "401: look at OPENAI_API_KEY"},
    "no worker": {"num_trees": 6, "growth_started_at": NOW},
    "finished": {"num_trees": 6, "num_complete": 6},
    "finished with failures": {"num_trees": 6, "num_complete": 4, "num_failed": 2},
}  # fmt: skip
NOBODY_WORKS = {"pending", "stopped by an error", "no worker"}


def test_the_badge_of_each_state_looks_well_and_failures_are_not_green(reader: Page, look):
    assert set(FACTS) == set(ForestState)
    for number, (state, facts) in enumerate(FACTS.items()):
        worked_at = None if state in NOBODY_WORKS else datetime.now(UTC) + timedelta(minutes=5)
        make_forest(f"ducks-test-{number}", worked_at=worked_at, **facts)

    look("forests-in-each-state", "/")

    badges = reader.locator(".badge")
    assert badges.all_inner_texts() == list(reversed(FACTS))
    colours = dict(
        badges.evaluate_all("all => all.map(e => [e.innerText, getComputedStyle(e).color])")
    )
    green = {state for state, colour in colours.items() if colour == colours["finished"]}
    assert green == {"finished"}
