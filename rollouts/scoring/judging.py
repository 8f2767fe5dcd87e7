"""Judge the steps of a forest with a chat model, within a budget."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from forests.core.opinions.judged import JudgedTree
from forests.costs.budgets import Usage
from forests.models import Forest, Scorer
from forests.storage.scores import write_judged
from forests.storage.trees import StoredTree
from rollouts.client.spending import Spending
from rollouts.protocol.endings import Finish, read_finish
from rollouts.protocol.responses import (
    NoSampleError,
    StopRules,
    read_completions,
    read_usage,
)
from rollouts.scoring.budget import ScorerBudget, complete_trees, tokens_of
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

    from rollouts.client.backend import Backend
    from rollouts.client.endpoints import Endpoint

CHAT = "/chat/completions"
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


class Judge:
    """Asks for the votes on a tree's solutions: a `TreeScorer` for `score_trees`."""

    def __init__(
        self, scorer: Scorer, options: JudgeOptions, budget: ScorerBudget, backend: Backend
    ) -> None:
        self.scorer = scorer
        self.backend = backend
        self.options = options
        self.judging = Judging()
        self._budget = budget
        self._unread: dict[str, int] = {}

    async def score(self, stored: StoredTree, ask: Ask) -> JudgedTree:
        """Return the means of the votes, their rationales, and the votes."""
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
            solution, body = solutions[place[0]], bodies[place]
            reply = await ask(
                lambda spending: self.backend.ask(
                    CHAT, lambda _: body, self._reader(solution, spending), spending
                )
            )
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

    def _reader(
        self, solution: Solution, spending: Spending
    ) -> Callable[[Any, Endpoint], Vote | None]:
        def read(response: Any, _endpoint: Endpoint) -> Vote | None:
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


def most_of_judging(stored: StoredTree, options: JudgeOptions) -> tuple[int, Usage]:
    """Return the number of solutions to judge in a tree, and the most that this uses."""
    solutions, _ = solutions_of(stored.tree, options.solutions)
    most = Usage()
    for solution in solutions:
        [message] = judge_messages(stored.question, solution, options)
        most += Usage(
            options.votes,
            options.votes * tokens_of(message["content"]),
            options.votes * options.max_tokens,
        )
    return len(solutions), most


def short_request(forest: Forest, options: JudgeOptions) -> tuple[str, dict[str, Any]] | None:
    """Return the first request of a run, with a short reply; None if there is nothing to judge."""
    for stored in complete_trees(forest):
        for solution in solutions_of(stored.tree, 1)[0]:
            messages = judge_messages(stored.question, solution, options)
            return CHAT, judge_body(messages, options, 0) | {"max_tokens": TOKENS_OF_A_SHORT_REPLY}
    return None
