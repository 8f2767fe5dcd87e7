"""A preference pair as its page and its JSON show it."""

from dataclasses import dataclass
from typing import Any

from preferences.models import Preference, Review
from preferences.pages.difference import Span


@dataclass(frozen=True, slots=True)
class ShownPair:
    """A pair with what stands before it."""

    preference: Preference
    prompt: Any
    """A text, or a list of chat messages."""
    spans: list[Span] | None
    review: Review | None
    stamp: str
    """Tells the review that is shown from later ones."""
    step: str
    """Where the tree's page opens the chosen step."""
