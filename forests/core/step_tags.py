"""Solutions with a tag after each step, the input format of process reward models."""

import re
from collections.abc import Sequence

STEP_TAG = "ки"
"""Math-Shepherd (2312.08935) puts this after each step: it is one token in Llama's vocabulary."""

_STEP_NUMBER = re.compile(r"\A\s*step\s*\d+\s*:\s*", re.IGNORECASE)


def without_number(step: str) -> str:
    """Return a step stripped of surrounding whitespace and of a leading `Step 1:`."""
    return _STEP_NUMBER.sub("", step, count=1).strip()


def tagged_solution(question: str, steps: Sequence[str], tags: Sequence[str]) -> str:
    """Return a solution as in Math-Shepherd's data: `question Step 1: … ки`, one step per line.

    Args:
        question: the question, stripped of surrounding whitespace.
        steps: see `without_number`.
        tags: the text after each step.
    """
    numbered = enumerate(zip(steps, tags, strict=True), start=1)
    lines = (f"Step {number}: {step} {tag}" for number, (step, tag) in numbered)
    return f"{question} " + "\n".join(lines)
