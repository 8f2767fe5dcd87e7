"""The pictures in the documents show today's pages; `make pictures` takes them again."""

import hashlib
import json
import os
import re
from pathlib import Path

from playwright.sync_api import Page, ViewportSize

from tests.browser.showcase import FINISHED, make_showcase

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
FINGERPRINTS = IMAGES / "pictures.json"
STYLES = sorted((IMAGES.parents[1] / "prm_site" / "static" / "prm_site").glob("*.css"))
WIDTH = 1100
PICTURES = {
    "tree": (f"/{FINISHED}/trees/0/", 1300),
    "forest": (f"/{FINISHED}/", 1100),
    "review": (f"/{FINISHED}/preferences/", 800),
    "labels": (f"/{FINISHED}/labels/", 900),
}
"""Address and height of each picture."""

_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d")


def fingerprint(page: Page) -> str:
    """Return a hash of a page's text and of the styles; pixels would differ between machines."""
    words = _TIME.sub("", page.inner_text("body"))
    styles = b"".join(file.read_bytes() for file in STYLES)
    return hashlib.sha256(words.encode() + styles).hexdigest()


def test_the_pictures_of_the_documents_are_of_todays_pages(reader: Page):
    make_showcase()
    renew = os.environ.get("RENEW_PICTURES") == "1"
    found = {}
    for name, (address, height) in PICTURES.items():
        reader.set_viewport_size(ViewportSize(width=WIDTH, height=height))
        reader.goto(address)
        found[name] = fingerprint(reader)
        if renew:
            reader.screenshot(path=IMAGES / f"{name}.png")
    if renew:
        FINGERPRINTS.write_text(json.dumps(found, indent=2) + "\n")

    assert json.loads(FINGERPRINTS.read_text()) == found, "run `make pictures`"
