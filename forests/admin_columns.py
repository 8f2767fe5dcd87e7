"""How the admin shows the fields of a document: readable names and values."""

import json
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any

from django.db import models
from django.utils.html import format_html
from django.utils.safestring import SafeString

from common.text import printable

_WORDS = {"sha256": "SHA-256", "id": "id"}
_LONG_TEXT = 80


@cache  # Django compares columns: the same name must give the same function
def column(name: str) -> Callable[[models.Model], str | SafeString]:
    """Return what a list or a page of the admin shows for a field of this name."""

    def show(document: models.Model) -> str | SafeString:
        return readable(getattr(document, name))

    show.__name__ = name
    show.short_description = label_of(name)  # type: ignore[attr-defined]  # Django reads it
    return show


def columns(model: type[models.Model], *, without: str = "") -> list[Any]:
    """Return a column for each field of a model."""
    return [column(one.attname) for one in model._meta.fields if one.name != without]  # noqa: SLF001


def label_of(name: str) -> str:
    """Return the name of a field in words: `num_complete` is "complete"."""
    bare = name.removeprefix("num_").removeprefix("is_").removesuffix("_id") or name
    return " ".join(_WORDS.get(part, part) for part in bare.split("_"))


def readable(value: object) -> str | SafeString:
    """Return a value as text: numbers in few digits, settings and sources as they are written."""
    text = printable(_in_words(value))
    is_long = "\n" in text or len(text) > _LONG_TEXT
    return format_html("<pre>{}</pre>", text) if is_long else text


def _in_words(value: object) -> str:
    words = {None: "-", "": "-", True: "yes", False: "no"}
    match value:
        case None | "" | bool():
            return words[value]
        case int():
            return f"{value:,}"
        case float():
            return f"{value:.4g}"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M:%S} UTC"
        case dict() | list():
            return json.dumps(value, ensure_ascii=False, indent=2, default=str) if value else "-"
        case _:
            return str(value)
