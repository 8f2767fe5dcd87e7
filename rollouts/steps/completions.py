"""One sample of a model, as strategies receive it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias

from forests.core.tokens.kept import KeptTokens

TokenLogprobs: TypeAlias = tuple[tuple[str, float], ...]


class Ending(StrEnum):
    """Why a sample ended."""

    STEP = "step"
    """The step delimiter ended it; the solution continues."""
    SOLUTION = "solution"
    """The model ended its solution, or a stop text did."""
    LIMIT = "limit"
    """A token limit or a content filter of the server cut it."""
    UNTOLD = "untold"
    """Either the delimiter or the model ended it. The client sends another request to find out."""


@dataclass(frozen=True, slots=True)
class Completion:
    """The exact text that a model wrote after a prefix, without stop texts.

    With `Ending.STEP` the text ends with the delimiter, if the server showed which one it met.
    """

    text: str
    ending: Ending
    tokens: int = 0
    token_logprobs: TokenLogprobs | None = None
    """The text and log-probability of each token; None if the server gave none."""
    finish_reason: str = ""
    model: str = ""
    thought: str = ""
    """The thought before the text, without marks, if the server splits it off."""
    thought_tokens: int = 0
    thought_logprobs: TokenLogprobs | None = None
    begins_in_thought: bool = False
    """Whether the text begins inside a thought that the prompt or the prefix opened."""
    kept: KeptTokens | None = None
    """Token ids of thought and text, if they were asked for and the server gave them all."""

    @property
    def written(self) -> str:
        """All that the model wrote: the thought, if the server splits it off, and the text."""
        return self.thought + self.text

    def then(self, rest: "Completion") -> "Completion":
        """Return this sample and its continuation as one sample."""
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
            kept=self._kept_with(rest),
        )

    def _kept_with(self, rest: "Completion") -> KeptTokens | None:
        if self.kept is None or rest.kept is None:
            return None
        return rest.kept.after(self.kept, max(0, len(self.written) - sum(self.kept.lengths)))


def part_of_tokens(
    tokens: int, listed: TokenLogprobs | None, text: str, start: int, end: int
) -> tuple[int, TokenLogprobs | None]:
    """Return the number of tokens of `text[start:end]`, and those tokens if they are listed.

    A token that crosses a border belongs to the part in which it begins. Tokens listed after the
    text (an end token) belong to its last part. Without a list, tokens are divided in proportion to
    characters.
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
    """Return samples grouped by text, in the order in which the texts first appear."""
    groups: dict[str, list[Completion]] = {}
    for completion in completions:
        groups.setdefault(completion.text, []).append(completion)
    return groups
