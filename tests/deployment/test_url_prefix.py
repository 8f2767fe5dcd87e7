"""The site under a path, as a real process serves it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urljoin

import httpx
import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import User
from django.urls import reverse

from prm_site.configuration.url_prefix import under_prefix
from prm_site.services.processes import free_port
from rollouts.workers.jobs import grow_slice
from tests.deployment.test_running import process
from tests.openai_server import OpenAIServer
from tests.rollouts.forests import seeded
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

ADDRESS = re.compile(
    r"""(?:href|src|action|formaction|hx-get|hx-post|data-[a-z-]*url)=["']([^"']+)["']"""
)


@contextmanager
def site(*options: str, **variables: str) -> Iterator[str]:
    port = free_port(0)
    words = ["-m", "granian", "--interface", "wsgi", "--port", str(port), *options]
    with process(*words, "prm_site.wsgi:application", **variables):
        address = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(f"{address}/healthz") or answers(f"{address}/prm/healthz"))
        yield address


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def log_in(browser: httpx.Client, address: str) -> None:
    page = browser.get(f"{address}/prm/login/")
    (token,) = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
    browser.post(
        f"{address}/prm/login/",
        data={"username": "ada", "password": "rather-long-0", "csrfmiddlewaretoken": token},
        headers={"Referer": str(page.url)},
    )


@pytest.mark.parametrize("options", [(), ("--url-path-prefix", "/prm")])
def test_every_address_of_the_site_is_below_its_prefix(
    model_server: OpenAIServer, options: tuple[str, ...]
):
    user = User.objects.create_superuser("ada")
    user.password = PBKDF2PasswordHasher().encode("rather-long-0", "salt")  # not the tests' hasher
    user.save()
    forest = seeded(2)
    grow_slice(forest.name, 0, 2)

    client = httpx.Client(follow_redirects=True, timeout=30)
    with site(*options, PRM_URL_PREFIX="/prm/") as address, client as browser:
        refused = browser.get(f"{address}/prm/", follow_redirects=False)
        assert refused.headers["Location"] == "/prm/login/?next=/prm/"

        log_in(browser, address)

        assert {cookie.path for cookie in browser.cookies.jar} == {"/prm/"}
        seen: set[str] = set()
        tree = reverse("tree", args=[forest.name, 0])
        for path in ("/", forest.get_absolute_url(), tree, "/admin/", "/login/password/"):
            page = browser.get(f"{address}/prm{path}")
            assert (page.status_code, page.history) == (200, [])
            seen |= {urljoin(f"/prm{path}", one) for one in ADDRESS.findall(page.text)}
        local = {one for one in seen if not one.startswith(("http", "mailto:"))}
        assert {one for one in local if not one.startswith("/prm/")} <= {"/prm"}
        files = {one for one in local if "/static/" in one}
        assert {one.rpartition(".")[2] for one in files} >= {"css", "js"}
        for file in files:
            assert browser.get(f"{address}{file}").status_code == 200
        fragments = {one for one in local if one.startswith(f"/prm{tree}")}
        assert any(one.endswith("/details/") for one in fragments)
        for fragment in fragments:
            assert browser.get(f"{address}{fragment}").status_code == 200


@pytest.mark.parametrize(
    ("script_name", "path", "seen"),
    [
        ("", "/prm/a/", ("/prm", "/a/")),
        ("", "/prm", ("/prm", "/")),
        ("", "/prm/prm/", ("/prm", "/prm/")),
        ("", "/prmx/", ("", "/prmx/")),
        ("", "/healthz", ("", "/healthz")),
        ("/prm", "/prm/", ("/prm", "/prm/")),
    ],
)
def test_the_prefix_is_taken_off_once(script_name: str, path: str, seen: tuple[str, str]):
    asked: list[tuple[str, str]] = []

    def application(environ, start_response):
        asked.append((environ["SCRIPT_NAME"], environ["PATH_INFO"]))
        return []

    serve = under_prefix(application, "/prm")
    serve({"SCRIPT_NAME": script_name, "PATH_INFO": path}, lambda *_: None)

    assert asked == [seen]
