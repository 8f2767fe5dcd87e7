"""Filters for texts of a model or a dataset: see `forests.markup.rendering`."""

import re
from typing import Any
from zlib import crc32

from django import template
from django.utils.safestring import SafeString

from forests.markup import rendering as markup

register = template.Library()


@register.filter
def markdownify(text: object) -> SafeString:
    return markup.render_markdown(text)


@register.filter
def render_prompt(prompt: Any) -> SafeString:
    return markup.render_prompt(prompt)


@register.filter
def render_raw(text: object) -> SafeString:
    return markup.render_raw(text)


@register.filter
def render_prefix(prompt: str, steps: str) -> SafeString:
    return markup.render_prefix(prompt, steps)


@register.filter
def one_line(text: object, length: int) -> str:
    return markup.one_line(text, length)


@register.filter
def without_addresses(text: str) -> str:
    return markup.without_addresses(text)


@register.filter
def excerpt(text: object, pattern: re.Pattern[str]) -> SafeString:
    """Return the first match of a pattern in a text with its surroundings, marked, on one line."""
    return markup.excerpt(text, 110, pattern)


@register.filter
def checksum(text: str) -> str:
    """Return a short text that tells whether a text is still the same."""
    return f"{crc32(text.encode('utf-8', 'surrogatepass')):x}"


@register.filter
def is_text(prompt: object) -> bool:
    """Return whether a prompt is a text and not a list of chat messages."""
    return isinstance(prompt, str)
