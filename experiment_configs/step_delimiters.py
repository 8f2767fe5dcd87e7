r"""How a config defines the end of a step: a text, several texts, or a regular expression.

JSON has no regular expressions, so a forest stores one as `{"regex": "\n+", "flags": "i"}`.
"""

import re
from collections.abc import Mapping
from typing import Any, TypeAlias

StepDelimiter: TypeAlias = str | tuple[str, ...] | list[str] | re.Pattern[str] | Mapping[str, str]

NUMBERED_STEPS = re.compile(
    r"\n+(?=[ \t]*(?:#{1,6}[ \t]+)?(?:\*\*|__)?"
    r"(?:step[ \t]+\d+\b|\d+[.)][ \t]))",
    re.IGNORECASE,
)
r"""Ends a step before each line such as "Step 3:", "## Step 3", "**Step 3**", "3. " or "3) "."""

NAMED_DELIMITERS: Mapping[str, re.Pattern[str]] = {"NUMBERED_STEPS": NUMBERED_STEPS}
"""Regular expressions that commands accept by name."""

RULE = "a text, a tuple of texts, or a regular expression such as re.compile(r'\\n+')"

_FLAGS = {"a": re.ASCII, "i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "x": re.VERBOSE}
_KEYS = {"regex", "flags"}


def read_delimiter(value: object) -> str | tuple[str, ...] | re.Pattern[str]:
    """Return a delimiter as a text, a tuple of texts or a compiled regular expression.

    Raises:
        ValueError: the value is none of these. The message says why.
    """
    if isinstance(value, str) and value:
        return value
    if isinstance(value, list | tuple) and value and all(isinstance(t, str) and t for t in value):
        return tuple(value)
    if isinstance(value, Mapping):
        return _checked(_compiled(value))
    if isinstance(value, re.Pattern) and isinstance(value.pattern, str):
        return _checked(value)
    raise ValueError(f"it must be {RULE}")


def stored_delimiter(value: StepDelimiter) -> Any:
    """Return a delimiter as JSON types; any other value is returned unchanged."""
    if not isinstance(value, re.Pattern):
        return value
    flags = "".join(letter for letter, flag in _FLAGS.items() if value.flags & flag)
    return {"regex": value.pattern} | ({"flags": flags} if flags else {})


def _compiled(value: Mapping[Any, Any]) -> re.Pattern[str]:
    regex, letters = value.get("regex"), value.get("flags", "")
    if not (isinstance(regex, str) and isinstance(letters, str) and value.keys() <= _KEYS):
        raise ValueError(f"it must be {RULE}")
    if unknown := set(letters) - set(_FLAGS):
        raise ValueError(f"its flags may be {', '.join(_FLAGS)}, not {', '.join(sorted(unknown))}")
    flags = re.NOFLAG
    for letter in letters:
        flags |= _FLAGS[letter]
    try:
        return re.compile(regex, flags)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"its regular expression cannot be read: {error}") from error


def _checked(pattern: re.Pattern[str]) -> re.Pattern[str]:
    if not pattern.pattern:
        raise ValueError(f"it must be {RULE}")
    if any(found.span() == (1, 1) for found in pattern.finditer("aa")):
        raise ValueError(
            "its regular expression matches between any two letters: make it match less"
        )
    return pattern
