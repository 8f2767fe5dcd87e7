"""How many requests a server processes in parallel."""

from typing import Any


def num_slots(answer: Any) -> int | None:
    """Return the slots that llama.cpp reports at `/props` or `/slots`; None if it reports none."""
    if isinstance(answer, list):
        return len(answer) if answer and all(isinstance(one, dict) for one in answer) else None
    found = answer.get("total_slots") if isinstance(answer, dict) else None
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else None
