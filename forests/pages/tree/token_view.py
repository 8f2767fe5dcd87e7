"""Tokens of a step for the page: their text, their probability, and where siblings diverge."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import exp

from forests.core.tokens.kept import KeptTokens
from forests.core.tree import TreeNode

MAX_TOKENS = 2000
"""Most tokens of a step that a page shows."""
_LIMITS = (0.99, 0.9, 0.7, 0.4, 0.1)
"""Lower limits of the classes of probability, from 0 (nearly certain) to 5 (unlikely)."""


@dataclass(frozen=True, slots=True)
class ShownToken:
    """One token of a step."""

    id: int
    text: str
    """Its part of the step's text; empty if it has none, such as an end token."""
    probability: float | None
    """None: the model did not sample it."""
    diverges: bool
    """Whether a sibling has another token here, after the same tokens."""

    @property
    def tone(self) -> str:
        """The class of its probability."""
        if self.probability is None:
            return "given"
        return f"p{sum(self.probability < limit for limit in _LIMITS)}"


@dataclass(frozen=True, slots=True)
class TokenView:
    """The tokens of one step, in order."""

    before: str
    """Text at the start of the step that the token before the step covers."""
    tokens: Sequence[ShownToken]
    num_hidden: int
    follows: bool

    @classmethod
    def of(cls, node: TreeNode, siblings: Sequence[TreeNode]) -> "TokenView | None":
        """Return the tokens of a step; None if none are kept.

        `siblings`: all steps after the same prefix, with or without the step.
        """
        if (kept := node.kept) is None:
            return None
        others = [one.kept for one in siblings if one.kept and one.path != node.path]
        places = {_first_difference(kept, other) for other in others}
        starts = list(accumulate(kept.lengths, initial=kept.start))
        shown = [
            ShownToken(
                id=kept.ids[number],
                text=node.text[starts[number] : starts[number + 1]],
                probability=None if logprob is None else min(1.0, exp(logprob)),
                diverges=number in places,
            )
            for number, logprob in enumerate(kept.logprobs[:MAX_TOKENS])
        ]
        hidden = len(kept.ids) - len(shown)
        return cls(node.text[: kept.start], shown, hidden, kept.follows)


def _first_difference(one: KeptTokens, other: KeptTokens) -> int:
    """Return the place of the first token that differs, or is missing in the other."""
    pairs = zip(one.ids, other.ids, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), len(other.ids))
