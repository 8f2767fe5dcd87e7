"""Check whether MongoDB can store a value from JSON or a config."""

from collections.abc import Mapping
from typing import Any

MAX_LEVELS = 50
"""Nesting of lists and mappings. MongoDB refuses documents with more than 100 levels."""
MAX_BYTES = 15_000_000
"""Size of a value in UTF-8. A MongoDB document has at most 16 MB."""
_BYTES_AROUND = 16
"""Overhead of each number, text or key: its type, its length, its place in a list."""
_MIN_INTEGER, _MAX_INTEGER = -(2**63), 2**63 - 1


def storing_problem(value: Any) -> str | None:
    """Return why a value cannot be stored, as the end of a sentence about it; None if it can."""
    waiting: list[tuple[Any, int]] = [(value, 0)]
    num_bytes = 0
    while waiting:
        one, level = waiting.pop()
        num_bytes += _BYTES_AROUND + (num_utf8_bytes(one) if isinstance(one, str) else 0)
        if num_bytes > MAX_BYTES:
            return f"has more than {MAX_BYTES:,} bytes: make it shorter"
        if level > MAX_LEVELS:
            return f"has more than {MAX_LEVELS} levels: nest it less deeply"
        if isinstance(one, Mapping):
            waiting += ((part, level + 1) for part in (*one.values(), *one.keys()))
            if any(not isinstance(key, str) or "\0" in key for key in one):
                return "has a key that is not a text, or that holds a NUL character"
        elif isinstance(one, list):
            waiting += ((part, level + 1) for part in one)
        elif problem := _scalar_problem(one):
            return problem
    return None


def num_utf8_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


def _scalar_problem(value: Any) -> str | None:
    if isinstance(value, str):
        # Lone surrogates are the only text that UTF-8 cannot encode.
        is_whole = value.isascii() or value.encode(errors="replace").decode() == value
        return None if is_whole else "holds a lone surrogate: write the whole character"
    if isinstance(value, int):
        fits = _MIN_INTEGER <= value <= _MAX_INTEGER
        return None if fits else "has a whole number of more than 64 bits: write it as a text"
    if value is None or isinstance(value, float):
        return None
    return f"holds a value of type {type(value).__name__}: use JSON types"
