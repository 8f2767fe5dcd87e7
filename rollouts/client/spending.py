"""Counters of what requests to model servers cost."""

from collections import Counter
from dataclasses import dataclass, field

from forests.costs.budgets import Usage
from rollouts.client.latencies import bucket_of

_SUMS = (
    "requests", "retries", "prompt_tokens", "completion_tokens", "cached_tokens", "seconds",
)  # fmt: skip


@dataclass(slots=True)
class Spending:
    """Requests, tokens, failures and time so far."""

    requests: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    """Prompt tokens that servers took from their prefix caches, as far as they report it."""
    failures: Counter[str] = field(default_factory=Counter)
    """Failed attempts by kind."""
    latencies: Counter[str] = field(default_factory=Counter)
    """Answered requests by latency bucket: see `rollouts.client.latencies`."""
    seconds: float = 0.0
    """Total latency of the answered requests."""

    @property
    def usage(self) -> Usage:
        return Usage(self.requests, self.prompt_tokens, self.completion_tokens)

    def add(self, other: "Spending") -> None:
        """Add the counts of other requests."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.failures += other.failures
        self.latencies += other.latencies

    def add_latency(self, seconds: float) -> None:
        self.latencies[bucket_of(seconds)] += 1
        self.seconds += seconds
