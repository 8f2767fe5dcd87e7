"""Remove from a page all parts that need the site, so that it can be saved as a file.

It reads the output of this project's templates, in which texts of models and datasets are escaped:
`<` and `>` appear only in tags (docs/decisions/006-sanitising.md).
"""

import re
from collections.abc import Callable, Iterator

Links = Callable[[str], str | None]
"""Returns the target of a page's link in the saved page; None if it has none there."""

_PAGE = re.compile(
    r"<title>(?P<title>.*?)</title>.*?<main\b[^<>]*>(?P<content>.*)</main>", re.DOTALL
)
_TAG = re.compile(r"<(?P<end>/?)(?P<name>[A-Za-z][A-Za-z0-9-]*)(?P<attributes>[^<>]*)>")
_ATTRIBUTE = re.compile(
    r"""(?<!\s)\s++(?P<name>[^\s=/"']++)(?:=(?:"(?P<value>[^"]*+)"|'[^']*+'))?"""
)
_DROPPED = frozenset(
    {"script", "form", "dialog", "noscript", "template", "button", "input", "select", "textarea"}
)
_VOID = frozenset({"br", "hr", "img", "input", "link", "meta", "source", "wbr"})
ONLY_ON_SITE = "data-only-on-site"
"""Attribute of elements that make no sense without the site."""


def title_and_content(page: str) -> tuple[str, str]:
    """Return the title of a rendered page and the inside of its <main>, both as HTML.

    Raises:
        ValueError: it is not a page of this site.
    """
    if (found := _PAGE.search(page)) is None:
        raise ValueError("a page without <title> and <main> cannot be saved")
    return found["title"], found["content"]


def cleaned(content: str, links: Links) -> str:
    """Return HTML without scripts, forms and requests, with new targets for its links.

    A link without a new target becomes plain text; if it leads to a next or previous page, it is
    left out. A picture without a file is left out too.
    """
    return "".join(_Cleaning(links).pieces(content))


class _Cleaning:
    """The state of the cleaning at a place in a page."""

    def __init__(self, links: Links) -> None:
        self.links = links
        self.left_out = ""
        """Name of the element that is being left out."""
        self.depth = 0
        """How many elements of that name are open."""
        self.is_in_picture = False
        self.is_in_dead_link = False

    def pieces(self, content: str) -> Iterator[str]:
        position = 0
        for tag in _TAG.finditer(content):
            if not self.left_out:
                yield content[position : tag.start()]
            position = tag.end()
            yield self._tag(tag, tag["name"].lower())
        yield content[position:]

    def _tag(self, tag: re.Match[str], name: str) -> str:
        if self.left_out:
            if name == self.left_out and not tag["attributes"].endswith("/"):
                self.depth += -1 if tag["end"] else 1
            self.left_out = self.left_out if self.depth else ""
            return ""
        if name == "svg":
            self.is_in_picture = not tag["end"]
        if tag["end"]:
            return self._end_tag(tag, name)
        if name in _DROPPED or ONLY_ON_SITE in tag["attributes"]:
            return self._leave_out(name)
        return self._start_tag(tag, name)

    def _leave_out(self, name: str) -> str:
        if name not in _VOID:
            self.left_out, self.depth = name, 1
        return ""

    def _end_tag(self, tag: re.Match[str], name: str) -> str:
        if name == "a" and self.is_in_dead_link:
            self.is_in_dead_link = False
            return ""
        return tag[0]

    def _start_tag(self, tag: re.Match[str], name: str) -> str:
        kept, is_dead = _attributes(tag["attributes"], self.links)
        if is_dead and name == "img":
            return ""
        if is_dead and name == "a" and not self.is_in_picture:
            if " rel=" in tag["attributes"]:
                return self._leave_out(name)
            self.is_in_dead_link = True
            return ""
        return f"<{tag['name']}{kept}>"


def _attributes(text: str, links: Links) -> tuple[str, bool]:
    """Return the attributes that stay, and whether a link or picture leads nowhere."""
    kept, is_dead = [], False
    for one in _ATTRIBUTE.finditer(text):
        name = one["name"].lower()
        if name.startswith(("hx-", "on", "data-")) or name == "style":
            continue
        if name not in ("href", "src"):
            kept.append(one[0])
        elif (leads := links((one["value"] or "").replace("&amp;", "&"))) is None:
            is_dead = True
        else:
            kept.append(f' {one["name"]}="{leads.replace("&", "&amp;")}"')
    return "".join(kept) + ("/" if text.endswith("/") else ""), is_dead
