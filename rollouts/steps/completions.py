"""One sample of a model, as a strategy sees it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias

TokenLogprobs: TypeAlias = tuple[tuple[str, float], ...]


class Ending(StrEnum):
    """Why a sample ended."""

    STEP = "step"
    """The step delimiter came; the solution goes on."""
    SOLUTION = "solution"
    """The model ended its solution, or a stop text came."""
    LIMIT = "limit"
    """A token limit (or a filter of the server) cut it."""
    UNTOLD = "untold"
    """The delimiter or the model's end stopped it, and nothing tells which. The client asks."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote after a prefix, to the character, without stop texts.

    Of a sample that ends with `Ending.STEP` the delimiter is the end of the text, where the server
    said or showed that it came.
    """

    text: str
    ending: Ending
    tokens: int = 0
    token_logprobs: TokenLogprobs | None = None
    """Each token's text and log-probability, where the server gave them."""
    finish_reason: str = ""
    model: str = ""
    thought: str = ""
    """What the model thought before the text, where the server splits it off; without marks."""
    thought_tokens: int = 0
    thought_logprobs: TokenLogprobs | None = None
    begins_in_thought: bool = False
    """Whether the text begins in a thought that the prompt or the prefix opened."""

    def then(self, rest: "Completion") -> "Completion":
        """Return this sample and what the model wrote after it as one sample."""
        if not (self.text or self.tokens or self.thought):
            return rest
        both = self.token_logprobs is not None and rest.token_logprobs is not None
        return replace(
            rest,
            text=self.text + rest.text,
            tokens=self.tokens + rest.tokens,
            token_logprobs=(*(self.token_logprobs or ()), *(rest.token_logprobs or ()))
            if both
            else None,
            model=rest.model or self.model,
            thought=self.thought or rest.thought,
            thought_tokens=self.thought_tokens + rest.thought_tokens,
            thought_logprobs=self.thought_logprobs or rest.thought_logprobs,
            begins_in_thought=self.begins_in_thought,
        )


def part_of_tokens(
    tokens: int, listed: TokenLogprobs | None, text: str, start: int, end: int
) -> tuple[int, TokenLogprobs | None]:
    """Return the tokens of `text[start:end]`: how many, and the listed ones.

    A token that lies on a border belongs to where it begins. The last part has what is listed
    behind the text (an end token), too. Without a list they are shared by characters.
    """
    if listed is None:
        if not text:
            return (tokens, None) if not start else (0, None)
        return round(tokens * end / len(text)) - round(tokens * start / len(text)), None
    kept, position = list[tuple[str, float]](), 0
    for token, logprob in listed:
        if start <= position < end or (end >= len(text) and position >= start):
            kept.append((token, logprob))
        position += len(token)
    return len(kept), tuple(kept) or None


def same_texts(completions: Sequence[Completion]) -> dict[str, list[Completion]]:
    """Return samples by their text, in the order in which texts first come."""
    groups: dict[str, list[Completion]] = {}
    for completion in completions:
        groups.setdefault(completion.text, []).append(completion)
    return groups
