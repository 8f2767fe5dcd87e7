"""The only way to turn a text of a model or a dataset into HTML, in bounded time."""

import html as entities
import json
import re
from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from common.text import printable
from forests.core.prefix import is_prompt
from forests.markup.markdown import to_html

MAX_MARKDOWN_LENGTH = 5_000
"""Most characters of a text read as Markdown: a mark takes up to 10 microseconds."""
MAX_TEXTS_OF_CHAT = 3
"""Markdown budget of one chat, in texts; its other messages are shown raw."""
MAX_TEXTS_OF_PAGE = 30
"""Markdown budget of a page of many texts, in texts: see `PageTexts`."""
MAX_SHOWN_LENGTH = 100_000
"""Most characters of a text or chat on a page; the admin shows all of it."""
MAX_ROLE_LENGTH = 100

_ADDRESS = re.compile(r"https?://[^\s\"'<>\\]+", re.IGNORECASE)
_TAG_OR_FORMULA = re.compile(r"(<math\b.*?</math>|<[^<>]*>)", re.DOTALL)


def render_markdown(text: object) -> SafeString:
    """Return a text rendered as Markdown with formulas, in bounded time for any text."""
    return SafeString("") if text is None else _render_within(str(text), _Room())


@dataclass(slots=True)
class _Room:
    """The budget left for Markdown, in characters."""

    length: int = MAX_MARKDOWN_LENGTH

    def take(self, text: str) -> int:
        """Return how many characters to read as Markdown, up to a line end; spend their budget."""
        end = min(self.length, MAX_MARKDOWN_LENGTH)
        end = len(text) if end >= len(text) else text.rfind("\n", 0, end) + 1 or end
        self.length -= end
        return end

    def part(self, texts: int) -> "_Room":
        """Take a budget for this many texts and return it; `give_back` returns what is left."""
        part = _Room(min(self.length, texts * MAX_MARKDOWN_LENGTH))
        self.length -= part.length
        return part

    def give_back(self, part: "_Room") -> None:
        self.length += part.length


def _room_of(texts: int) -> _Room:
    return _Room(texts * MAX_MARKDOWN_LENGTH)


def _render_within(whole: str, room: _Room) -> SafeString:
    shown = printable(whole[:MAX_SHOWN_LENGTH])
    cut = room.take(shown)
    html = format_html('<div class="markdown" dir="auto">{}</div>', _rendered(shown[:cut]))
    if shown[cut:]:
        html += format_html('<pre class="raw" dir="auto">{}</pre>', shown[cut:])
    return html + _what_is_missing(whole)


class PageTexts:
    """Renders the texts of one page with a shared budget for Markdown; the rest is shown raw.

    The budget counts characters, not time, so a page looks the same at each request.
    """

    def __init__(self) -> None:
        self._room = _room_of(MAX_TEXTS_OF_PAGE)

    def markdown(self, text: object) -> SafeString:
        """Return a text as `render_markdown` does."""
        return _render_within(str(text), self._room)

    def prompt(self, prompt: Any) -> SafeString:
        """Return a root prompt as `render_prompt` does."""
        return _render_prompt_within(prompt, self._room)


def render_raw(text: object) -> SafeString:
    """Return a text exactly as it was written, as HTML."""
    whole = str(text)
    html = format_html('<pre class="raw" dir="auto">{}</pre>', printable(whole[:MAX_SHOWN_LENGTH]))
    return html + _what_is_missing(whole)


def render_prefix(prompt: str, steps: str) -> SafeString:
    """Return a prefix exactly as it was written, with the model's part marked, as HTML."""
    missing = max(0, len(prompt) + len(steps) - MAX_SHOWN_LENGTH)
    html = format_html(
        '<pre class="raw" dir="auto">{}<span class="written">{}</span></pre>',
        printable(prompt[missing:]),
        printable(steps[max(0, missing - len(prompt)) :]),
    )
    if not missing:
        return html
    note = '<p class="note">The first {} characters are not shown.</p>'
    return format_html(note, f"{missing:,}") + html


def render_prompt(prompt: Any) -> SafeString:
    """Return a root prompt, a text or a list of chat messages, as HTML."""
    return _render_prompt_within(prompt, _room_of(MAX_TEXTS_OF_CHAT))


def _render_prompt_within(prompt: Any, page: _Room) -> SafeString:
    if isinstance(prompt, str):
        return _render_within(prompt, page)
    if not is_prompt(prompt):
        return render_raw(json.dumps(prompt, ensure_ascii=False, indent=2, default=str))
    lengths = accumulate(len(message["content"]) + MAX_ROLE_LENGTH for message in prompt)
    shown = 1 + bisect_left(list(lengths), MAX_SHOWN_LENGTH)
    room = page.part(MAX_TEXTS_OF_CHAT)
    html = format_html_join(
        "",
        '<div class="chat"><p class="role"><bdi>{}</bdi></p>{}</div>',
        (
            (one_line(message["role"], MAX_ROLE_LENGTH), _render_within(message["content"], room))
            for message in prompt[:shown]
        ),
    )
    page.give_back(room)
    return html + _note_on_missing(len(prompt) - shown, "messages")


def one_line(text: object, length: int) -> str:
    """Return the beginning of a text on one line of at most `length` characters, not escaped."""
    words = printable(str(text)[: 4 * length]).split()
    line = " ".join(words)
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


def without_addresses(text: str) -> str:
    """Return a text without URLs, for readers who are not logged in."""
    return _ADDRESS.sub("…", text)


def excerpt(text: object, length: int, pattern: re.Pattern[str] | None = None) -> SafeString:
    """Return one line of a text, from shortly before the first match of a pattern, marked."""
    whole = printable(str(text)[: MAX_SHOWN_LENGTH if pattern else 4 * length])
    found = pattern.search(whole) if pattern else None
    if found and found.start() > length // 2:
        whole = "…" + whole[found.start() - length // 4 :]
    line = escape(one_line(whole, length))
    return highlighted(line, pattern) if pattern else line


def highlighted(html: SafeString, pattern: re.Pattern[str]) -> SafeString:
    """Return rendered HTML with the matches of a pattern marked, except in tags and formulas.

    A match that spans several elements is not marked.
    """
    parts = _TAG_OR_FORMULA.split(html)
    parts[::2] = [_highlighted_words(entities.unescape(part), pattern) for part in parts[::2]]
    return mark_safe("".join(parts))  # noqa: S308  the words are escaped again


def _highlighted_words(words: str, pattern: re.Pattern[str]) -> str:
    pieces: list[str] = []
    end = 0
    for match in pattern.finditer(words):
        before, found = escape(words[end : match.start()]), escape(match[0])
        pieces.append(f"{before}<mark>{found}</mark>")
        end = match.end()
    return "".join(pieces) + escape(words[end:])


def _what_is_missing(whole: str) -> SafeString:
    return _note_on_missing(len(whole) - MAX_SHOWN_LENGTH, "characters")


def _note_on_missing(count: int, what: str) -> SafeString:
    if count <= 0:
        return SafeString("")
    return format_html('<p class="note">{} more {} are not shown.</p>', f"{count:,}", what)


@lru_cache(maxsize=4096)
def _rendered(text: str) -> SafeString:
    try:
        return to_html(text)
    except Exception:  # noqa: BLE001  a text that breaks the parser must not break the page
        return format_html('<pre class="raw">{}</pre>', text)
