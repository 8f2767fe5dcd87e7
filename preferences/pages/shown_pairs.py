"""A preference pair as its page and its JSON show it."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from django.utils.safestring import SafeString

from forests.markup.difference import Span
from preferences.models import Preference, Review

SURE_FROM = 0.8
"""The page marks pairs with a lower confidence."""


class ShownPiece(NamedTuple):
    """A part of a text as HTML."""

    html: SafeString
    is_thought: bool
    num_characters: int


@dataclass(frozen=True, slots=True)
class ShownPair:
    """A pair with its prompt and prefix, as shown."""

    preference: Preference
    prompt: Any
    """A text, or a list of chat messages."""
    prompt_html: SafeString
    question: str
    question_html: SafeString
    gold_label: str
    before: list[ShownPiece]
    """The prefix, in parts like `chosen` and `rejected`."""
    chosen: list[ShownPiece]
    rejected: list[ShownPiece]
    spans: list[Span] | None
    review: Review | None
    stamp: str
    """Identifies the shown review, so that the site notices a later one."""
    step: str
    """Relative URL of the chosen step on the tree's page."""

    @property
    def is_near_noise(self) -> bool:
        """Whether chance alone may explain the order of the two sides."""
        return self.preference.confidence is not None and self.preference.confidence < SURE_FROM

    @property
    def sure_from(self) -> float:
        return SURE_FROM

    @property
    def has_thoughts(self) -> bool:
        """Whether a side contains a thought."""
        return any(piece.is_thought for piece in [*self.chosen, *self.rejected])
