"""What requests use, what that costs, and where to stop: pure arithmetic without a database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

TOKENS_OF_A_PRICE = 1_000_000
"""Number of tokens that a price is for."""
MAX_AMOUNT = 10**9
"""Largest amount of money, as a price or a limit."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Requests and tokens."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Usage":
        """Return the usage in a document; missing fields are 0."""
        return cls(*(int(values.get(name, 0) or 0) for name in USAGE_FIELDS))

    def __add__(self, other: "Usage") -> "Usage":
        # Field by field: `astuple` copies deeply, and growth adds for each request.
        return Usage(
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(
            self.requests - other.requests,
            self.prompt_tokens - other.prompt_tokens,
            self.completion_tokens - other.completion_tokens,
        )

    def __bool__(self) -> bool:
        return bool(self.requests or self.prompt_tokens or self.completion_tokens)

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def as_dict(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in USAGE_FIELDS}

    def expected(self, requests: int, most: "Usage") -> "Usage":
        """Return the usage of further requests if they are like these on average; at most `most`.

        Without earlier requests, it counts only the further requests and no tokens.
        """
        share = requests / self.requests if self.requests else 0.0
        return Usage(
            requests,
            min(most.prompt_tokens, round(self.prompt_tokens * share)),
            min(most.completion_tokens, round(self.completion_tokens * share)),
        )


USAGE_FIELDS = ("requests", "prompt_tokens", "completion_tokens")


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices of a million tokens; None: not known."""

    prompt: float | None = None
    completion: float | None = None

    @property
    def are_known(self) -> bool:
        return self.prompt is not None and self.completion is not None

    def cost(self, usage: Usage) -> float | None:
        """Return the cost of tokens, in the currency of the prices; None if a price is missing."""
        millions = self._cost_in_millionths(usage)
        return None if millions is None else millions / TOKENS_OF_A_PRICE

    def reach(self, usage: Usage, most: float) -> bool:
        """Return whether tokens cost `most` or more, with the same arithmetic as the database."""
        cost = self._cost_in_millionths(usage)
        return cost is not None and cost >= most * TOKENS_OF_A_PRICE

    def _cost_in_millionths(self, usage: Usage) -> float | None:
        if self.prompt is None or self.completion is None:
            return None
        return usage.prompt_tokens * self.prompt + usage.completion_tokens * self.completion


@dataclass(frozen=True, slots=True)
class Limits:
    """Where growth stops; None: no limit."""

    requests: int | None = None
    tokens: int | None = None
    """Prompt and completion tokens."""
    cost: float | None = None

    @property
    def are_set(self) -> bool:
        return any(limit is not None for limit in (self.requests, self.tokens, self.cost))

    def reached(self, usage: Usage, prices: Prices) -> str:
        """Return the first limit that is reached: "requests", "tokens", "cost", or ""."""
        if self.requests is not None and usage.requests >= self.requests:
            return "requests"
        if self.tokens is not None and usage.tokens >= self.tokens:
            return "tokens"
        if self.cost is not None and prices.reach(usage, self.cost):
            return "cost"
        return ""

    @property
    def count_tokens(self) -> bool:
        """Whether it matters how many tokens an answer used."""
        return self.tokens is not None or self.cost is not None

    def allow(self, usage: Usage, prices: Prices) -> bool:
        """Return whether usage exceeds no limit."""
        if self.requests is not None and usage.requests > self.requests:
            return False
        if self.tokens is not None and usage.tokens > self.tokens:
            return False
        cost = prices.cost(usage)
        return self.cost is None or cost is None or cost <= self.cost

    def num_fitting(self, committed: Usage, wanted: Sequence[Usage], prices: Prices) -> int:
        """Return how many of the wanted requests, in order, may be sent.

        A request may be sent if the committed usage has not reached a limit. So only the last one
        may exceed it.
        """
        before = list(accumulate(wanted, initial=committed))[:-1]
        return next(
            (n for n, usage in enumerate(before) if self.reached(usage, prices)), len(wanted)
        )
