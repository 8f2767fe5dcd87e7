"""What scorers spend on a forest: a budget for all runs of a scorer, and estimates before a run."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from forests.costs.budgets import Limits, Prices, Usage
from forests.costs.money import money
from forests.models import Forest, Scorer, TreeStatus
from forests.storage.scores import add_spent, read_spent
from forests.storage.trees import StoredTree, in_batches, read_trees
from rollouts.client.failures import LimitSpentError
from rollouts.protocol.request_sizes import SILENT_SERVER, charged, most_of, prompt_bytes

log = structlog.stdlib.get_logger(__name__)

CHARACTERS_PER_TOKEN = 4
"""Of English text with common tokenizers, for estimates."""


@dataclass(slots=True)
class Work:
    """The work of scoring the trees that have no scores."""

    trees: int = 0
    asked: int = 0
    """Number of solutions (judge) or prefixes (prover) to ask about."""
    most: Usage = field(default_factory=Usage)
    """Requests, an estimate of the prompt tokens, and the maximum of completion tokens."""


def estimate(
    forest: Forest, scored: set[int], work_of: Callable[[StoredTree], tuple[int, Usage]]
) -> Work:
    """Return the work of scoring the complete trees that are not in `scored`.

    `work_of` returns the number of solutions or prefixes to ask about in one tree, and the most
    that this uses.
    """
    work = Work()
    for stored in complete_trees(forest):
        if stored.index not in scored:
            asked, most = work_of(stored)
            work.trees += 1
            work.asked += asked
            work.most += most
    return work


def tokens_of(text: str) -> int:
    """Return about how many tokens a text has."""
    return len(text) // CHARACTERS_PER_TOKEN + 1


class ScorerBudget:
    """Reserves the most that requests in flight may use, and counts what they used.

    The limits hold for all runs of a scorer together. Two processes that score under one name see
    each other's spending when a tree is written. Requests before `begin` count for the scorer too.
    """

    def __init__(self, limits: Limits, prices: Prices) -> None:
        self.limits = limits
        self.prices = prices
        self._scorer: Scorer | None = None
        self._before = Usage()
        self._used = Usage()  # by this process, not written yet
        self._reserved = Usage()
        self._planned = Usage()  # the most that the trees begun may use
        self._is_silent = False  # whether an answer did not report its tokens
        self._answered = Usage()
        self._tokens_per_byte = 0.0
        self._news = asyncio.Event()
        self._writing = threading.Lock()
        self._counting = threading.Lock()

    def begin(self, scorer: Scorer) -> None:
        """Count for this scorer, together with what its earlier runs used."""
        self._scorer = scorer
        with self._counting:
            self._before = read_spent(scorer)

    @property
    def spent(self) -> Usage:
        """What all runs used, as far as this process knows."""
        with self._counting:
            return self._before + self._used

    @property
    def spent_limit(self) -> str:
        """The limit that is reached, in words; empty if there is none."""
        used, limits = self.spent, self.limits
        return {
            "requests": f"{used.requests} of {limits.requests} requests are spent",
            "tokens": f"{used.tokens} of {limits.tokens} tokens are spent",
            "cost": f"{money(self.prices.cost(used))} of {money(limits.cost)} are spent",
            "": "",
        }[limits.reached(used, self.prices)]

    @contextlib.asynccontextmanager
    async def room_for(self, bodies: Iterable[Mapping[str, Any]]) -> AsyncIterator[None]:
        """Wait until the limits leave room for all requests of a tree, and keep that room.

        So a limit does not stop a tree half way, with votes that are paid but not written.

        Raises:
            LimitSpentError: they do not fit, and trees in progress cannot change that.
        """
        most = sum((self._most(body) for body in bodies), Usage())
        while not self.limits.allow(self.spent + self._planned + most, self.prices):
            if not self._planned:
                raise LimitSpentError(self._too_much(most, "tree"))
            await self._wait()
        self._planned += most
        try:
            yield
        finally:
            self._planned -= most
            self._news.set()

    async def reserve(self, body: Mapping[str, Any]) -> tuple[Usage, int]:
        """Wait until a request may be sent; return the most that it may use, and its bytes.

        Raises:
            LimitSpentError: it would exceed a limit, and requests in flight cannot change that.
        """
        most = self._most(body)
        while not self.limits.allow(self.spent + self._reserved + most, self.prices):
            if not self._reserved:
                raise LimitSpentError(self._too_much(most, "request"))
            await self._wait()
        self._reserved += most
        return most, prompt_bytes(body)

    def settle(
        self, reserved: tuple[Usage, int], used: Usage | None, *, is_answered: bool = False
    ) -> None:
        """Replace a reservation by what the request used; None counts as the average request.

        If tokens are limited, an answer that does not report its tokens counts as the most that the
        request may use. Once such an answer came, None counts in the same way.
        """
        most, num_bytes = reserved
        self._reserved -= most
        counts_tokens = self.limits.count_tokens
        if used is None:
            is_unknown = self._is_silent and counts_tokens
            used = most if is_unknown else self._answered.expected(1, most)
        elif is_answered and counts_tokens and charged(used, most) != used:
            used = charged(used, most)
            if not self._is_silent:
                log.warning(SILENT_SERVER)
            self._is_silent = True
        elif used.tokens:
            self._answered += used
            self._tokens_per_byte = max(
                self._tokens_per_byte, used.prompt_tokens / max(1, num_bytes)
            )
        with self._counting:
            self._used += used
        self._news.set()

    def _most(self, body: Mapping[str, Any]) -> Usage:
        return most_of(body, self._tokens_per_byte or 1.0)

    def _too_much(self, most: Usage, what: str) -> str:
        """Return, in words, the limit that leaves no room for the next request or tree."""
        used, limits = self.spent, self.limits
        parts = [
            (
                Limits(requests=limits.requests),
                f"{used.requests} of {limits.requests} requests are spent, and the next {what} "
                f"needs {most.requests}",
            ),
            (
                Limits(tokens=limits.tokens),
                f"{used.tokens} of {limits.tokens} tokens are spent, and the next {what} may "
                f"need {most.tokens}",
            ),
            (
                Limits(cost=limits.cost),
                f"{money(self.prices.cost(used))} of {money(limits.cost)} are spent, and the next "
                f"{what} may cost {money(self.prices.cost(most))}",
            ),
        ]
        return next(words for one, words in parts if not one.allow(used + most, self.prices))

    async def _wait(self) -> None:
        self._news.clear()
        await self._news.wait()

    async def close(self) -> None:
        """Write the spending that is not written yet."""
        await asyncio.to_thread(self.write)

    def write(self, unread: int = 0) -> None:
        """Add to the scorer the spending since the last write, and `unread` unreadable replies."""
        if (scorer := self._scorer) is None:  # the run ended before it had one
            return
        with self._writing:
            with self._counting:
                written = self._used
            add_spent(scorer, written, unread)
            before = read_spent(scorer)
            with self._counting:
                self._before = before
                self._used -= written


def complete_trees(forest: Forest) -> Iterator[StoredTree]:
    """Yield the complete trees of a forest, in the order of the dataset."""
    for batch in in_batches(range(forest.num_trees)):
        for stored in read_trees(forest, batch):
            if stored.status == TreeStatus.COMPLETE:
                yield stored
