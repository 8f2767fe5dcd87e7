"""How long a busy server asks clients to wait, in the many forms that servers use."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LENGTH = re.compile(r"(?<!\d)(\d++(?:\.\d++)?)(ms|s|m|h|d)")
_WHOLE_LENGTH = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
_IN_WORDS = re.compile(
    r"(?:(?:try|retry) (?:again |after )?(?:in|after)|retry[ _-]?(?:delay|after)\W+)\s*"
    r"((?:\d+(?:\.\d+)?\s?(?:ms|s|m|h)(?![a-z]))+|\d+(?:\.\d+)?(?=\s?sec))",
    re.IGNORECASE,
)
_RESETS = ("-requests", "-tokens", "-requests-day", "-tokens-minute", "")
_PREFIXES = ("x-ratelimit", "ratelimit", "anthropic-ratelimit")
_MIN_EPOCH = 10**9
_MIN_EPOCH_MS = 10**12


def seconds_to_wait(headers: Mapping[str, str], words: str, now: datetime) -> float | None:
    """Return the seconds to wait before the next request; None if the server does not say.

    The names of `headers` are in lower case. Dates are compared with the server's `date` header if
    there is one, else with `now`.
    """
    now = _date(headers.get("date", "")) or now
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    if (said := _seconds(headers.get("retry-after", ""), now)) is not None:
        return said
    if found := [seconds for seconds in _resets(headers, now) if seconds is not None]:
        return max(found)
    in_words = _IN_WORDS.search(words)
    return _seconds(in_words[1].replace(" ", ""), now) if in_words else None


def _resets(headers: Mapping[str, str], now: datetime) -> list[float | None]:
    """Return the seconds until each limit resets that is exhausted, or shows no remainder."""
    found = []
    for prefix in _PREFIXES:
        for kind in _RESETS:
            names = (f"{prefix}-reset{kind}", f"{prefix}{kind}-reset")
            remaining = (f"{prefix}-remaining{kind}", f"{prefix}{kind}-remaining")
            left = [_number(headers[name]) for name in remaining if name in headers]
            if not any(left):
                found += [_seconds(headers[name], now) for name in names if name in headers]
    return found


def _seconds(text: str, now: datetime) -> float | None:
    """Return the seconds of a duration (`90`, `1m30s`) or until a moment (a date, Unix time)."""
    text = text.strip()
    number = _number(text)
    if number is not None:
        if number >= _MIN_EPOCH_MS:
            number /= 1000
        is_moment = number >= _MIN_EPOCH
        return max(0.0, number - now.timestamp()) if is_moment else number
    if _WHOLE_LENGTH.fullmatch(text):
        return sum(float(value) * _UNITS[unit] for value, unit in _LENGTH.findall(text))
    moment = _date(text)
    return max(0.0, (moment - now).total_seconds()) if moment else None


def _date(text: str) -> datetime | None:
    """Return a date in the format of HTTP or RFC 3339; None if it has another format."""
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = read(text)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return None


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d{1,15}(\.\d{1,9})?", text.strip()) else None
