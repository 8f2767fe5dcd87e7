"""Solutions whose steps end in a tag, as process reward models read them."""

import re
from collections.abc import Sequence

STEP_TAG = "ки"
"""What Math-Shepherd (2312.08935) puts after each step: one token in Llama's vocabulary."""

_STEP_NUMBER = re.compile(r"\A\s*step\s*\d+\s*:\s*", re.IGNORECASE)


def without_number(step: str) -> str:
    """Return a step without the blanks around it, and without the `Step 1:` that it begins with."""
    return _STEP_NUMBER.sub("", step, count=1).strip()


def tagged_solution(question: str, steps: Sequence[str], tags: Sequence[str]) -> str:
    """Return a solution as in Math-Shepherd's data: `question Step 1: … ки`, a step on each line.

    Args:
        question: what was asked, without blanks around it.
        steps: see `without_number`.
        tags: what follows each step.
    """
    numbered = enumerate(zip(steps, tags, strict=True), start=1)
    lines = (f"Step {number}: {step} {tag}" for number, (step, tag) in numbered)
    return f"{question} " + "\n".join(lines)
