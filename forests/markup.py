"""The one way in which a text of a model or a dataset becomes HTML.

Formulas are taken out before Markdown reads the text and put back as MathML after bleach has
cleaned its output, under marks that nobody who wrote the text can guess. So neither undoes the
other, and nothing of the text itself reaches the page unclean.
"""

import json
import re
import secrets
from functools import lru_cache
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from markdownify.templatetags.markdownify import markdownify

from forests.formulas import TOKEN, as_source, formula_of, to_mathml

MAX_MARKDOWN_LENGTH = 5_000
"""Characters read as Markdown, whose cost is not linear in all texts; the rest is shown raw."""
MAX_SHOWN_LENGTH = 100_000
"""Characters of one text on a page; the admin has the whole of it."""

# Control characters as their pictures: browsers and XML drop or refuse them.
_VISIBLE = {code: 0x2400 + code for code in range(32) if code not in (9, 10, 13)} | {127: 0x2421}
_MARKED = re.compile(r"[\\`*_#<>&|~$=+\-\n\t]|^ {4}|^\d+[.)]")


def clean(text: object) -> str:
    """Return a text that can be encoded and drawn: no lone surrogates, no control characters."""
    whole = str(text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return whole.translate(_VISIBLE)


def render_markdown(text: object) -> SafeString:
    """Return a text as Markdown with formulas, in bounded time whatever it holds."""
    if text is None:
        return SafeString("")
    whole = str(text)
    shown = clean(whole[:MAX_SHOWN_LENGTH])
    cut = _cut_point(shown)
    html = format_html('<div class="markdown" dir="auto">{}</div>', _rendered(shown[:cut]))
    if shown[cut:]:
        html += format_html('<pre class="raw" dir="auto">{}</pre>', shown[cut:])
    return html + _what_is_missing(whole)


def render_raw(text: object) -> SafeString:
    """Return a text character by character as it was written."""
    whole = str(text)
    html = format_html('<pre class="raw" dir="auto">{}</pre>', clean(whole[:MAX_SHOWN_LENGTH]))
    return html + _what_is_missing(whole)


def render_prompt(prompt: Any) -> SafeString:
    """Return a root prompt: a text, or a list of chat messages with their roles."""
    if isinstance(prompt, str):
        return render_markdown(prompt)
    if not (isinstance(prompt, list) and all(_is_message(message) for message in prompt)):
        return render_raw(json.dumps(prompt, ensure_ascii=False, indent=2, default=str))
    return format_html_join(
        "",
        '<div class="chat"><p class="role"><bdi>{}</bdi></p>{}</div>',
        ((clean(m["role"]), render_markdown(m["content"])) for m in prompt),
    )


def one_line(text: object, length: int) -> str:
    """Return the beginning of a text on one line, not marked as safe."""
    words = clean(str(text)[: 4 * length]).split()
    line = " ".join(words)
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


def _is_message(message: object) -> bool:
    return isinstance(message, dict) and all(
        isinstance(message.get(key), str) for key in ("role", "content")
    )


def _cut_point(text: str) -> int:
    """Return where to stop reading Markdown: at a line's end where there is one."""
    if len(text) <= MAX_MARKDOWN_LENGTH:
        return len(text)
    return text.rfind("\n", 0, MAX_MARKDOWN_LENGTH) + 1 or MAX_MARKDOWN_LENGTH


def _what_is_missing(whole: str) -> SafeString:
    missing = len(whole) - MAX_SHOWN_LENGTH
    if missing <= 0:
        return SafeString("")
    return format_html('<p class="note">{} more characters are not shown.</p>', f"{missing:,}")


@lru_cache(maxsize=2048)
def _rendered(text: str) -> SafeString:
    stripped = text.strip()
    if not _MARKED.search(stripped):
        return format_html("<p>{}</p>", stripped) if stripped else SafeString("")
    try:
        return _rendered_markdown(text)
    except Exception:  # noqa: BLE001  a text that the parser fails on must not hide its page
        return format_html('<pre class="raw">{}</pre>', text)


def _rendered_markdown(text: str) -> SafeString:
    mark = f"M{secrets.token_hex(8)}N"
    formulas: list[str] = []

    def take_out(match: re.Match[str]) -> str:
        if (formula := formula_of(match)) is None:
            return _escaped(match)
        mathml = to_mathml(formula[0], display=formula[1])
        formulas.append(as_source(match[0]) if mathml is None else mathml)
        return f"{mark}{len(formulas) - 1}E"

    html = markdownify(TOKEN.sub(take_out, text))  # type: ignore[no-untyped-call]  # no types
    put_back = re.compile(f"{mark}([0-9]+)E")
    html = put_back.sub(lambda match: formulas[int(match[1])], html)
    return mark_safe(html)  # noqa: S308  cleaned by bleach, then MathML by an allow-list


def _escaped(match: re.Match[str]) -> str:
    """Return a `TOKEN` that is no formula so that Markdown shows it as it was written."""
    if match["entity"]:
        return "&amp;"
    if match["escaped"] == "$":
        return "$"
    # GSM8K's answer mark is no heading, `3*4*5` has no emphasis, a lone delimiter keeps its sign.
    is_mark = match["answer"] or match["times"] or match["escaped"]
    return f"\\{match[0]}" if is_mark else match[0]
