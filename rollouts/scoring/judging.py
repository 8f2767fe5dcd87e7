"""Judge the steps of a forest with a chat model, within a budget."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import structlog

from forests.core.judged import JudgedTree
from forests.costs.budgets import Limits, Prices, Usage
from forests.costs.money import money
from forests.models import Forest, Scorer, TreeStatus
from forests.storage.scores import add_spent, read_spent, write_judged
from forests.storage.trees import StoredTree, in_batches, read_trees
from rollouts.client.failures import LimitSpentError
from rollouts.client.spending import Spending
from rollouts.protocol.endings import Finish, read_finish
from rollouts.protocol.request_sizes import SILENT_SERVER, charged, most_of, prompt_bytes
from rollouts.protocol.responses import (
    NoSampleError,
    StopRules,
    read_completions,
    read_usage,
)
from rollouts.scoring.judge_prompts import (
    JudgeOptions,
    Solution,
    Tally,
    Vote,
    judge_body,
    judge_messages,
    read_reply,
    solutions_of,
)
from rollouts.scoring.score_forest import Ask, run_all

if TYPE_CHECKING:
    from collections.abc import Callable

log = structlog.stdlib.get_logger(__name__)

CHAT = "/chat/completions"
CHARACTERS_PER_TOKEN = 4
"""Of English text with common tokenizers, for estimates."""
TOKENS_OF_A_SHORT_REPLY = 16


@dataclass(slots=True)
class Judging:
    """Counts of one run that only a judge has."""

    solutions: int = 0
    """Solutions judged."""
    solutions_unclear: int = 0
    """Solutions not judged, because a step holds a tag of the prompt."""
    votes: int = 0
    unread: int = 0
    """Replies without a verdict that can be read. They have no result."""


@dataclass(slots=True)
class Work:
    """What judging the unjudged trees takes."""

    trees: int = 0
    solutions: int = 0
    most: Usage = field(default_factory=Usage)
    """Requests, about how many prompt tokens, and the most completion tokens."""


class Judge:
    """Asks for the votes on a tree's solutions. Gives `score_trees` what to ask."""

    def __init__(self, scorer: Scorer, options: JudgeOptions, budget: JudgeBudget) -> None:
        self.scorer = scorer
        self.options = options
        self.judging = Judging()
        self._budget = budget
        self._unread: dict[str, int] = {}

    async def score(self, stored: StoredTree, ask: Ask) -> JudgedTree:
        """Return the means of the votes, and their rationales."""
        solutions, unclear = solutions_of(stored.tree, self.options.solutions)
        tally = Tally()
        bodies = {
            (number, one): judge_body(
                judge_messages(stored.question, solution, self.options), self.options, one
            )
            for number, solution in enumerate(solutions)
            for one in range(self.options.votes)
        }

        async def vote(place: tuple[int, int]) -> None:
            solution = solutions[place[0]]
            reply = await ask(CHAT, bodies[place], self._reader(solution))
            tally.add(place, solution, reply)

        async with self._budget.room_for(bodies.values()):
            await run_all([vote(place) for place in bodies])
        self.judging.solutions += len(solutions)
        self.judging.solutions_unclear += unclear
        self.judging.votes += len(solutions) * self.options.votes
        self.judging.unread += tally.unread
        self._unread[stored.id] = tally.unread
        return replace(tally.judged(), num_steps=len(stored.tree) - 1)

    def write(self, tree: str, judged: JudgedTree) -> None:
        """Store the judgement of a tree, and what was spent so far."""
        write_judged(self.scorer, {tree: judged})
        self._budget.write(self._unread.pop(tree, 0))

    def _reader(self, solution: Solution) -> Callable[[Any, Spending], Vote | None]:
        def read(response: Any, spending: Spending) -> Vote | None:
            usage = read_usage(response)
            spending.prompt_tokens += usage.prompt_tokens
            spending.completion_tokens += usage.completion_tokens
            try:
                completions, _ = read_completions(response, StopRules("", (), None))
            except NoSampleError:  # filtered or refused: asking again would give the same
                return None
            reply = completions[0]
            if read_finish(reply.finish_reason) is Finish.CUT:
                return None  # a box in it may be a first guess
            return read_reply(reply.text, len(solution.steps), self.options.template)

        return read


class JudgeBudget:
    """Reserves the most that requests in flight may use, and counts what they used.

    The limits hold for all runs of a scorer together. Two processes that judge under one name see
    each other's spending when a tree is written.
    """

    def __init__(self, scorer: Scorer, limits: Limits, prices: Prices) -> None:
        self.scorer = scorer
        self.limits = limits
        self.prices = prices
        self._before = read_spent(scorer)
        self._used = Usage()  # by this process, not written yet
        self._reserved = Usage()
        self._planned = Usage()  # the most that the trees begun may use
        self._is_silent = False  # the server has answered without the tokens that it used
        self._answered = Usage()
        self._tokens_per_byte = 0.0
        self._news = asyncio.Event()
        self._writing = threading.Lock()
        self._counting = threading.Lock()

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
        """Wait until all requests of a tree fit into what is left, and keep room for them.

        So a limit does not stop a tree half way, when its votes are paid and not yet written.

        Raises:
            LimitSpentError: they do not fit, and trees that are begun cannot change that.
        """
        most = sum((self._most(body) for body in bodies), Usage())
        while not self.limits.allow(self.spent + self._planned + most, self.prices):
            if not self._planned:
                raise LimitSpentError(self._too_much(most))
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
                raise LimitSpentError(self._too_much(most))
            await self._wait()
        self._reserved += most
        return most, prompt_bytes(body)

    def settle(
        self, reserved: tuple[Usage, int], used: Usage | None, *, is_answered: bool = False
    ) -> None:
        """Replace a reservation by what the request used; None counts as the average request.

        Where tokens are limited, an answer that does not report them counts as the most.
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

    def _too_much(self, most: Usage) -> str:
        """Return the limit that leaves no room for what is next, in words."""
        used, limits = self.spent, self.limits
        parts = [
            (
                Limits(requests=limits.requests),
                f"{used.requests} of {limits.requests} requests are spent, and the next tree needs "
                f"{most.requests}",
            ),
            (
                Limits(tokens=limits.tokens),
                f"{used.tokens} of {limits.tokens} tokens are spent, and the next tree may need "
                f"{most.tokens}",
            ),
            (
                Limits(cost=limits.cost),
                f"{money(self.prices.cost(used))} of {money(limits.cost)} are spent, and the next "
                f"tree may cost {money(self.prices.cost(most))}",
            ),
        ]
        return next(words for one, words in parts if not one.allow(used + most, self.prices))

    async def _wait(self) -> None:
        self._news.clear()
        await self._news.wait()

    async def close(self) -> None:
        """Write what was spent and is not written."""
        await asyncio.to_thread(self.write, 0)

    def write(self, unread: int) -> None:
        """Add to the scorer what was spent since the last write."""
        with self._writing:
            with self._counting:
                written = self._used
            add_spent(self.scorer, written, unread)
            before = read_spent(self.scorer)
            with self._counting:
                self._before = before
                self._used -= written


def estimate(forest: Forest, options: JudgeOptions, judged: set[int]) -> Work:
    """Return what judging the complete trees that are not in `judged` takes."""
    work = Work()
    for stored in _complete(forest):
        if stored.index in judged:
            continue
        solutions, _ = solutions_of(stored.tree, options.solutions)
        work.trees += 1
        work.solutions += len(solutions)
        for solution in solutions:
            [message] = judge_messages(stored.question, solution, options)
            work.most += Usage(
                options.votes,
                options.votes * (len(message["content"]) // CHARACTERS_PER_TOKEN + 1),
                options.votes * options.max_tokens,
            )
    return work


def short_request(forest: Forest, options: JudgeOptions) -> tuple[str, dict[str, Any]] | None:
    """Return the first request of a run, with a short reply; None if there is nothing to judge."""
    for stored in _complete(forest):
        for solution in solutions_of(stored.tree, 1)[0]:
            messages = judge_messages(stored.question, solution, options)
            return CHAT, judge_body(messages, options, 0) | {"max_tokens": TOKENS_OF_A_SHORT_REPLY}
    return None


def _complete(forest: Forest) -> Iterator[StoredTree]:
    for batch in in_batches(range(forest.num_trees)):
        for stored in read_trees(forest, batch):
            if stored.status == TreeStatus.COMPLETE:
                yield stored
