"""Addresses of the pages that tests request, and how to request and read them."""

from html.parser import HTMLParser

from django.test import Client

FOREST = "/ducks-test-first/"
TREE = "/ducks-test-first/trees/0/"
NODE = f"{TREE}nodes/0.0.1/"
PROMPT = f"{TREE}prompt.txt"

PARTS = {
    name: {"HX-Request": "true", "HX-Target": name}
    for name in ("progress", "trees", "steps", "growth")
}
"""Headers with which htmx asks for a part of a page."""
FRAGMENT = {"HX-Request": "true"}


def text_of(client: Client, address: str, **headers: str) -> str:
    response = client.get(address, headers=headers or None)
    assert response.status_code == 200
    html: str = response.content.decode()
    return html


class Steps(HTMLParser):
    """The rows of a tree's page: their nesting, and which are open or not yet loaded."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.parents: dict[str, str] = {}
        self.classes: dict[str, set[str]] = {}
        self.opened: set[str] = set()
        self.unloaded: set[str] = set()
        self._stack: list[str] = []
        begin = html.index("<ol") if "<ol" in html else 0
        self.feed(html[begin:])
        self.close()
        assert self._stack == []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        anchor = attributes.get("id") or ""
        if tag == "li":
            if anchor.startswith("node-"):
                assert anchor not in self.parents, f"{anchor} is there twice"
                self.parents[anchor] = next((one for one in reversed(self._stack) if one), "")
                self.classes[anchor] = set((attributes["class"] or "").split())
            self._stack.append(anchor)
        elif tag == "details" and "class" not in attributes and "open" in attributes:
            self.opened.add(self._stack[-1])
        elif "rest" in (attributes.get("class") or "").split():
            self.unloaded.add(self._stack[-1])

    def handle_endtag(self, tag):
        if tag == "li":
            self._stack.pop()

    @property
    def rows(self) -> set[str]:
        return set(self.parents)

    def of_class(self, name: str) -> set[str]:
        return {anchor for anchor, classes in self.classes.items() if name in classes}
