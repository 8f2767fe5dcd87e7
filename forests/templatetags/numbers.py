"""Filters for numbers and settings, the same on every page."""

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from django import template

from forests.costs.money import money

register = template.Library()

NO_RESULT = "-"
_SIZES = (("G", 999_500_000, 10**9), ("M", 999_500, 10**6), ("k", 10**4, 10**3))
"""Unit, least number that is shown in it, size. 999,500 is rounded to 1.00 M, not to 1,000 k."""
_UNITS = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))


@register.filter
def thousands(number: float | None) -> str:
    """Return 1234567 as "1,234,567"; a dash if there is no result."""
    return NO_RESULT if number is None else f"{number:,}"


@register.filter
def share(value: float | None) -> str:
    """Return a value between 0 and 1 with two digits; a dash if there is no result."""
    return NO_RESULT if value is None else f"{value:.2f}"


@register.filter
def rate(value: float) -> str:
    """Return a rate with at least three digits: 1,234 or 56.7 or 0.89."""
    magnitude = len(str(int(value)))
    return f"{value:,.{max(0, 3 - magnitude)}f}"


@register.filter
def duration(time: timedelta | None) -> str:
    """Return a time as "2 h 5 min", in at most two units; a dash if it is unknown."""
    if time is None:
        return NO_RESULT
    seconds = round(time.total_seconds())
    for (unit, length), (smaller, part) in pairwise(_UNITS):
        if seconds >= length:
            whole, rest = divmod(seconds, length)
            return f"{whole} {unit} {rest // part} {smaller}"
    return f"{seconds} s"


register.filter("money", money)


@register.filter
def as_json(value: object) -> str:
    """Return a setting as JSON on one line."""
    return json.dumps(value, ensure_ascii=False, default=str)


@register.filter
def age(moment: datetime) -> str:
    """Return the time since a moment in one unit: "3 d"."""
    since = duration(datetime.now(UTC) - (moment if moment.tzinfo else moment.replace(tzinfo=UTC)))
    return " ".join(since.split()[:2])


@register.filter
def short(number: int) -> str:
    """Return 1234567 as "1.23 M", with three digits; exact below ten thousand."""
    for unit, least, size in _SIZES:
        if number >= least:
            return f"{rate(number / size)} {unit}"
    return thousands(number)
