"""Helpers for views of forests to read their requests."""

from enum import StrEnum
from typing import TypeVar

from django.contrib.auth.models import User
from django.http import Http404, HttpRequest
from django_htmx.middleware import HtmxDetails

from forests.models import Forest, TreeStatus

MAX_PHRASE_LENGTH = 200
"""Most characters of a search. The fields of the pages accept no more, and the rest is ignored."""
_MAX_DIGITS = 10
_Choice = TypeVar("_Choice", bound=StrEnum | TreeStatus)


class FilterError(ValueError):
    """Invalid filter in the URL. The message lists the valid values."""


class HtmxRequest(HttpRequest):
    htmx: HtmxDetails


def wants_part(request: HtmxRequest, target: str) -> bool:
    """Return whether htmx asks for the part of a page that has this id."""
    return bool(request.htmx) and request.htmx.target == target


def may_operate(request: HttpRequest) -> bool:
    """Return whether the reader may change forests, as operators do."""
    return isinstance(request.user, User) and request.user.has_perm("forests.change_forest")


def get_forest(name: str) -> Forest:
    """Return a forest.

    Raises:
        Http404: there is no forest of this name.
    """
    try:
        return Forest.objects.get(pk=name)
    except Forest.DoesNotExist:
        raise Http404(f"there is no forest named {name!r}") from None


def read_number(text: str) -> int | None:
    """Return a whole number from a URL; None if the text is not one."""
    is_number = text.isascii() and text.isdecimal() and len(text) < _MAX_DIGITS
    return int(text) if is_number else None


def read_phrase(text: str) -> str:
    """Return the words of a search, with one space between them."""
    return " ".join(text[:MAX_PHRASE_LENGTH].split())


def read_choice(kind: type[_Choice], text: str, what: str) -> _Choice | None:
    """Return the member that a URL names, with dashes for spaces; None for an empty text.

    Raises:
        FilterError: there is no such member.
    """
    if not text:
        return None
    words, known = text.replace("-", " "), [str(one.value) for one in kind]
    if words not in known:
        raise FilterError(f"unknown {what} {text[:40]!r}: use {', '.join(known)}")
    return kind(words)
