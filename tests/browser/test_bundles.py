"""A bundle opens from a disk, without a network, and nothing that others wrote runs in it."""

from pathlib import Path

from django.core.management import call_command
from playwright.sync_api import Browser, expect

from tests.browser.test_pages import html_errors, problems_of
from tests.browser.test_xss import _OF_MARKUP, _PARTS, CALM, add_hostile_tree, hostile_forest
from tests.browser.tools import checker
from tests.browser.watching import Watch
from tests.browser.xss import CORPUS

NAME = "hostile-test-bundle"
_UNFOLD = "() => { for (const one of document.querySelectorAll('details')) one.open = true; }"


def test_a_bundle_of_hostile_texts_opens_without_a_server(db, browser: Browser, tmp_path: Path):
    forest = hostile_forest(NAME, "\n\n".join(CORPUS.values()))
    for index, text in enumerate((CALM, *CORPUS.values())):
        add_hostile_tree(forest, text, index)
    bundle, alone = tmp_path / "bundle", tmp_path / "tree.html"
    options = {"forest_name": NAME, "max_trees": len(CORPUS) + 1, "with_source": True}
    call_command("bundle_forest", output=bundle, **options)
    call_command("bundle_forest", forest_name=NAME, tree=1, output=alone)

    context = browser.new_context(offline=True, viewport={"width": 1200, "height": 900})
    watch = Watch(context, f"file://{tmp_path}")
    page = context.new_page()
    watch.no_other_page(page)

    def parts_of(file: Path) -> set[str]:
        page.goto(file.as_uri())
        page.evaluate(_UNFOLD)
        return set(page.evaluate(_PARTS))

    def is_own(part: str) -> bool:
        """Return whether an address leads to a page or a file of the bundle."""
        address = part.partition("=")[2]
        return address.endswith((".html", ".svg", ".css")) or ".html#" in address

    calm = parts_of(bundle / "trees" / "0.html")
    for index, what in enumerate(CORPUS, start=1):
        found = parts_of(bundle / "trees" / f"{index}.html") - calm - _OF_MARKUP
        assert {part for part in found if not is_own(part)} == set(), what
    for file in (bundle / "index.html", bundle / "metrics.html", alone):
        found = parts_of(file)
        assert not any(":script" in part or part.endswith(" style") for part in found)

    page.goto((bundle / "index.html").as_uri())
    page.get_by_role("link", name="0", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Tree 0")
    page.get_by_role("link", name="Best path").click()
    assert "#node-" in page.url
    roundness = "getComputedStyle(document.querySelector('.badge')).borderTopLeftRadius"
    assert page.evaluate(roundness) != "0px"  # the styles are loaded
    assert watch.problems == []
    axe = checker("axe-core/axe.min.js").read_text()  # loads styles, which pages must not
    for file in (bundle / "index.html", bundle / "trees" / "0.html", alone):
        page.goto(file.as_uri())
        page.evaluate(axe)
        assert problems_of(page) == [], file.name
    context.close()
    assert html_errors(bundle) + html_errors(alone) == []
