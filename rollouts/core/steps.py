"""Cut a solution into steps."""

from collections.abc import Sequence


def split_steps(text: str, delimiter: str) -> list[str]:
    """Return the steps of a text, whose concatenation is exactly the text.

    A step ends with the delimiter, except the last one, which may end without. No step is blank:
    blank lines go with the step after them, or at the end of the text with the last step. The steps
    of a blank text are none.

    Raises:
        ValueError: the delimiter is empty.
    """
    pieces = text.split(delimiter)
    pieces = [piece + delimiter for piece in pieces[:-1]] + [pieces[-1]]
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
