"""The frame of all pages: tabs, breadcrumb, account, and pages of errors."""

import re

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied

from tests.forests.addresses import FOREST, NODE, TREE, text_of

pytestmark = pytest.mark.django_db

TABS = {
    FOREST: "Trees", TREE: "Trees", NODE: "Trees", f"{FOREST}metrics/": "Metrics",
    f"{FOREST}preferences/": "Preferences", f"{FOREST}labels/": "Labels",
    f"{FOREST}config/": "Config",
}  # fmt: skip


@pytest.mark.parametrize(("address", "tab"), TABS.items())
def test_every_page_of_a_forest_has_all_tabs_and_a_breadcrumb_that_ends_with_it(
    reader, forest, address, tab
):
    html = text_of(reader, address)
    tabs = html.partition('<nav aria-label="Forest">')[2].partition("</nav>")[0]
    links = re.findall(r'<a href="([^"]+)"( aria-current="\w+")?>(\w+)</a>', tabs)
    assert [name for *_, name in links] == ["Trees", "Metrics", "Preferences", "Labels", "Config"]
    assert [name for _, current, name in links if current] == [tab]
    assert all(reader.get(href).status_code == 200 for href, *_ in links)
    breadcrumb = html.partition('class="breadcrumb">')[2].partition("</nav>")[0].strip()
    assert re.search(r'\u203a <span aria-current="page">.+</span>$', breadcrumb)


def test_the_menu_of_the_account_has_what_its_role_may_see(client, settings):
    settings.PUBLIC = True
    assert 'href="/login/">Log in</a>' in text_of(client, "/")
    client.force_login(User.objects.create_user("anna"))
    html = text_of(client, "/")
    assert 'href="/login/password/">Change password</a>' in html
    assert "/admin/" not in html
    client.force_login(User.objects.create_superuser("staff"))
    assert 'href="/admin/queue/">Queue</a>' in text_of(client, "/")


def test_pages_that_are_not_there_or_not_allowed_say_what_helps(reader, forest, monkeypatch):
    html = reader.get("/no/such/page/").content.decode()
    assert "There is no page at this address." in html
    assert 'role="search"' in html
    assert "There is no forest named" in reader.get("/nothing/").content.decode()

    def refuse(*_: object) -> None:
        raise PermissionDenied

    monkeypatch.setattr("forests.pages.forest_views.progress_context", refuse)
    response = reader.get(FOREST)
    assert response.status_code == 403
    assert "An administrator can grant the permission" in response.content.decode()


def test_a_form_that_is_out_of_date_says_so_in_the_frame(reader):
    reader.handler.enforce_csrf_checks = True
    response = reader.post("/logout/")
    assert response.status_code == 403
    assert "nothing was changed" in response.content.decode()


def test_an_error_of_the_site_is_shown_without_the_database(reader, forest, monkeypatch, reads):
    reader.raise_request_exception = False

    def fail(*_: object) -> None:
        reads.clear()
        raise RuntimeError("of a test")

    monkeypatch.setattr("forests.pages.forest_views.progress_context", fail)
    response = reader.get(FOREST)
    assert response.status_code == 500
    html = response.content.decode()
    assert "That is an error of the site, not yours." in html
    assert '<header class="site">' in html
    assert reads == []
