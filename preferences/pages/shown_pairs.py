"""A preference pair as its page and its JSON show it."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from django.utils.safestring import SafeString

from preferences.models import Preference, Review
from preferences.pages.difference import Span


class ShownPiece(NamedTuple):
    """A stretch of a text as HTML."""

    html: SafeString
    is_thought: bool
    num_characters: int


@dataclass(frozen=True, slots=True)
class ShownPair:
    """A pair with what stands before it."""

    preference: Preference
    prompt: Any
    """A text, or a list of chat messages."""
    prompt_html: SafeString
    before: list[ShownPiece]
    """The steps before, in stretches, as `chosen` and `rejected` are."""
    chosen: list[ShownPiece]
    rejected: list[ShownPiece]
    spans: list[Span] | None
    review: Review | None
    stamp: str
    """Tells the review that is shown from later ones."""
    step: str
    """Where the tree's page opens the chosen step."""

    @property
    def has_thoughts(self) -> bool:
        """Whether one of the sides has a thought."""
        return any(piece.is_thought for piece in [*self.chosen, *self.rejected])
