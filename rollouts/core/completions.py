"""One sample of a model, as a strategy sees it."""

from dataclasses import dataclass
from enum import StrEnum


class Ending(StrEnum):
    """Why a sample ended."""

    STEP = "step"
    """The step delimiter came; the solution goes on."""
    SOLUTION = "solution"
    """The model ended its solution, or a stop text came."""
    LIMIT = "limit"
    """A token limit (or a filter of the server) cut it."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote after a prefix, to the character, without stop texts.

    Of a sample that ends with `Ending.STEP` the delimiter is the end of the text.
    """

    text: str
    ending: Ending
    tokens: int = 0
    token_logprobs: tuple[tuple[str, float], ...] | None = None
    """Each token's text and log-probability, where the server gave them."""
    finish_reason: str = ""
    model: str = ""
