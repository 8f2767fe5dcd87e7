"""The watch of the browser tests notices all that these tests look for."""

import pytest
from playwright.sync_api import Browser

from tests.browser.watching import Watch

_WRITE = "markup => { document.open(); document.write(markup); document.close(); }"


@pytest.mark.parametrize(
    ("markup", "seen"),
    [
        ("<script>alert('ran')</script>", "dialog: ran"),
        ("<script>throw new Error('thrown')</script>", "exception: thrown"),
        ("<script>open('about:blank#x')</script>", "opened about:blank#x"),
        ("<img src=http://elsewhere.example/p.png>", "asked for http://elsewhere.example/p.png"),
        ("<img src=http://192.0.2.1/p.png>", "asked for http://192.0.2.1/p.png"),
        ("<script src=//elsewhere.example/a.js></script>", "asked for http://elsewhere.example/"),
        ("<link rel=stylesheet href=//elsewhere.example/s.css>", "asked for http://elsewhere"),
        ("<iframe src=http://elsewhere.example/></iframe>", "asked for http://elsewhere.example/"),
        (
            "<meta http-equiv=Content-Security-Policy content=\"img-src 'none'\">"
            "<img src=http://elsewhere.example/p.png>",
            "Content Security Policy",
        ),
    ],
)
def test_it_sees_what_a_page_must_not_do_and_lets_nothing_out(
    browser: Browser, live_server, markup: str, seen: str
):
    context = browser.new_context(base_url=live_server.url)
    watch = Watch(context, live_server.url)
    page = context.new_page()
    watch.no_other_page(page)
    finished: list[str] = []
    page.on("requestfinished", lambda request: finished.append(request.url))
    page.goto("/static/nothing")  # HTML of the server itself, which has no policy

    page.evaluate(_WRITE, markup)
    page.wait_for_timeout(500)

    assert [one for one in watch.problems if seen in one]
    assert [url for url in finished if not url.startswith(live_server.url)] == []
    context.close()
