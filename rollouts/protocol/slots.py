"""How many requests a server says that it works on at once."""

from typing import Any


def num_slots(answer: Any) -> int | None:
    """Return it from what llama.cpp answers to `/props` or `/slots`; None where it does not say."""
    if isinstance(answer, list):
        return len(answer) if answer and all(isinstance(one, dict) for one in answer) else None
    found = answer.get("total_slots") if isinstance(answer, dict) else None
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else None
