"""Cut a solution into steps."""

import re
from collections.abc import Sequence


def split_steps(text: str, delimiter: str) -> list[str]:
    r"""Return the steps of a text, whose concatenation is exactly the text.

    A step ends with the delimiter, except the last one, which may end without. Where the delimiter
    is made of line breaks, `\r\n` is a line break too. No step is blank: blank lines go with the
    step after them, or at the end of the text with the last step. A blank text has no steps.

    Raises:
        ValueError: the delimiter is empty.
    """
    pieces, start = [], 0
    for found in re.finditer(_pattern(delimiter), text):
        pieces.append(text[start : found.end()])
        start = found.end()
    pieces.append(text[start:])
    steps: list[str] = []
    blank = ""
    for piece in pieces:
        if not piece.strip():
            blank += piece
            continue
        steps.append(blank + piece)
        blank = ""
    if steps:
        steps[-1] += blank
    return steps


def ending_of(step: str, delimiter: str) -> str:
    """Return the delimiter at the end of a step, as the step spells it; empty where it has none."""
    found = re.search(rf"(?:{_pattern(delimiter)})\Z", step)
    return found[0] if found else ""


def _pattern(delimiter: str) -> str:
    if not delimiter:
        raise ValueError("empty separator")
    is_line_breaks = not delimiter.strip("\n")
    return r"\r?\n" * len(delimiter) if is_line_breaks else re.escape(delimiter)


def share_tokens(tokens: int, steps: Sequence[str]) -> list[int]:
    """Return how many of the tokens each step has, by its share of the characters.

    The counts add up to `tokens`.
    """
    total = sum(map(len, steps))
    counts, used, characters = [], 0, 0
    for step in steps:
        characters += len(step)
        reached = round(tokens * characters / total) if total else 0
        counts.append(reached - used)
        used = reached
    return counts


def share_logprobs(
    token_logprobs: Sequence[tuple[str, float]] | None, steps: Sequence[str]
) -> list[float | None]:
    """Return the sum of the log-probabilities of each step's tokens.

    A token that lies in two steps counts for the one in which it begins; tokens behind the last
    step (an end marker) count for the last one. None where there are no log-probabilities.
    """
    if token_logprobs is None:
        return [None] * len(steps)
    sums = [0.0] * len(steps)
    step, end, position = 0, len(steps[0]) if steps else 0, 0
    for text, logprob in token_logprobs:
        while position >= end and step < len(steps) - 1:
            step += 1
            end += len(steps[step])
        if sums:
            sums[step] += logprob
        position += len(text)
    return list(sums)
