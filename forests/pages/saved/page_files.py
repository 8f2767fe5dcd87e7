"""Pages as files that need no server: rendered as a reader without a login sees them."""

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path

from django.contrib.auth.models import AnonymousUser
from django.contrib.staticfiles import finders
from django.http import QueryDict
from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe
from django_htmx.middleware import HtmxDetails

from forests.pages.page_requests import HtmxRequest
from forests.pages.saved.cleaning import Links, cleaned, title_and_content

GENERATOR = "PRM forests"
"""Name of this program in saved files. Only files with this name are overwritten."""
STYLE = "style.css"
ICON = "icon.svg"
_POLICY = (
    "default-src 'none'; style-src {style}; img-src 'self' file: data:; base-uri 'none'; "
    "form-action 'none'"
)
_WITH_FILES = "'self' file:"


@dataclass(frozen=True, slots=True)
class Saving:
    """What saved pages show. Templates read it."""

    with_notes: bool = False
    """Whether to show what reviewers and labellers noted, without their names."""
    with_source: bool = False
    """Whether to show the source of the config."""
    is_alone: bool = False
    """Whether a page is the only file, so that it links to no other page."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What surrounds the content of a saved page."""

    root: str = ""
    """Relative address of the folder of all pages, such as `../`."""
    style: str = ""
    """The styles, if the file contains them; empty if they are a file beside it."""
    note: str = ""
    """What the pages leave out, in words."""


def saved_request(address: str, query: str = "", saving: Saving = Saving()) -> HtmxRequest:
    """Return the request of a reader without a login for a page that is then saved."""
    request = HtmxRequest()
    request.method = "GET"
    request.path = request.path_info = address
    request.GET = QueryDict(query)
    request.user = AnonymousUser()
    request.htmx = HtmxDetails(request)
    request.saved = saving  # type: ignore[attr-defined]
    return request


def page_file(page: str, links: Links, frame: Frame) -> str:
    """Return a rendered page as a file that runs no scripts and loads only styles and pictures."""
    title, content = title_and_content(page)
    digest = base64.b64encode(hashlib.sha256(frame.style.encode()).digest()).decode()
    context = {
        "title": _safe(title),
        "content": _safe(cleaned(content, links)),
        "frame": frame,
        "style": _safe(frame.style),
        "policy": _safe(_POLICY.format(style=f"'sha256-{digest}'" if frame.style else _WITH_FILES)),
        "style_file": f"{frame.root}{STYLE}",
        "icon_file": f"{frame.root}{ICON}",
        "generator": GENERATOR,
    }
    return render_to_string("saved_page.html", context)


def styles() -> str:
    """Return the styles of all pages."""
    folder = _static("site.css").parent
    # The frame comes first: the others build on it.
    paths = sorted(folder.glob("*.css"), key=lambda path: (path.name != "site.css", path.name))
    return "\n".join(path.read_text("utf-8").strip() for path in paths) + "\n"


def icon() -> bytes:
    return _static("icon.svg").read_bytes()


def _static(name: str) -> Path:
    found = finders.find(f"prm_site/{name}")
    if not isinstance(found, str):
        raise FileNotFoundError(f"the program's own {name} is missing: install it again")
    return Path(found)


def _safe(html: str) -> SafeString:
    return mark_safe(html)  # noqa: S308  rendered by templates of this project
