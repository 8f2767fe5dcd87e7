"""What MongoDB's documents can hold of the values that JSON and configs give."""

from collections.abc import Mapping
from typing import Any

MAX_LEVELS = 50
"""Of lists and mappings in each other: MongoDB refuses documents of more than 100 levels."""
MAX_BYTES = 15_000_000
"""Of a value with its texts as UTF-8: a document of MongoDB has 16 MB at most."""
_BYTES_AROUND = 16
"""Of a number, a text or a key: its kind, its length, its place in a list."""
_MIN_INTEGER, _MAX_INTEGER = -(2**63), 2**63 - 1


def storing_problem(value: Any) -> str | None:
    """Return what keeps a value from being stored, as the end of a sentence about it; or None."""
    waiting: list[tuple[Any, int]] = [(value, 0)]
    num_bytes = 0
    while waiting:
        one, level = waiting.pop()
        num_bytes += _BYTES_AROUND + (num_utf8_bytes(one) if isinstance(one, str) else 0)
        if num_bytes > MAX_BYTES:
            return f"has more than {MAX_BYTES:,} bytes: make it shorter"
        if level > MAX_LEVELS:
            return f"has more than {MAX_LEVELS} levels: write it flatter"
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
        # Halves of characters are the one thing in a text that UTF-8 cannot write.
        is_whole = value.isascii() or value.encode(errors="replace").decode() == value
        return None if is_whole else "holds half a character: write the whole character"
    if isinstance(value, int):
        fits = _MIN_INTEGER <= value <= _MAX_INTEGER
        return None if fits else "has a whole number of more than 64 bits: write it as a text"
    if value is None or isinstance(value, float):
        return None
    return f"holds a value of type {type(value).__name__}: use JSON types"
