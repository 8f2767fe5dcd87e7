"""Score the steps of a forest tree by tree, with any kind of scorer."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from django.conf import settings

from forests.core.opinions.judged import JudgedTree
from forests.core.tree import NodePath, Scores
from forests.models import Forest, Scorer, TreeStatus
from forests.storage.scores import read_num_steps, write_judged
from forests.storage.scores import read_scores as read_stored_scores
from forests.storage.trees import StoredTree, in_batches, read_trees
from rollouts.client.failures import BackendUnavailableError, LimitSpentError, RequestFailedError
from rollouts.client.outages import Outages, show_nowhere
from rollouts.client.spending import Spending
from rollouts.scoring.kinds import requests_of, scores_of
from rollouts.scoring.score_requests import (
    Asked,
    ScoreRequest,
    ScorerOptions,
    ScoringError,
)

if TYPE_CHECKING:
    from rollouts.client.backend import Backend

Answer = TypeVar("Answer")

MAX_FAILURES_FROM_THE_START = 8
"""If this many trees fail before any is scored, the settings are wrong, not the trees."""


@dataclass(slots=True)
class Scoring:
    """The result of scoring a forest."""

    trees: int = 0
    """Trees scored in this run."""
    nodes: int = 0
    nodes_without_score: int = 0
    """Nodes to which the model gave no score, or whose text contains the step tag."""
    trees_scored_before: int = 0
    trees_not_complete: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    """Trees that could not be scored, by error message."""
    limit: str = ""
    """The limit that stopped the run, in words; empty if none did."""
    spending: Spending = field(default_factory=Spending)


class TreeScorer(Protocol):
    """Knows what to ask about a tree, and how to store the answers."""

    async def score(self, stored: StoredTree, ask: Ask) -> JudgedTree:
        """Return what the model says of a tree.

        Raises:
            RequestFailedError, ScoringError: this tree cannot be scored.
            BackendError: no tree can be scored now.
        """

    def write(self, tree: str, judged: JudgedTree) -> None:
        """Store what the model says of a tree, given its id."""


class Ask(Protocol):
    """Calls `send` when a slot is free, and again when the servers are back after an outage."""

    def __call__(self, send: Callable[[Spending], Awaitable[Answer]]) -> Awaitable[Answer]:
        """Return what `send` returns. `send` adds its usage to the spending that it gets."""


class Servers(Protocol):
    """The servers that a scorer asks."""

    async def list_models(self) -> Sequence[object]:
        """Return their models: the cheapest test that they answer."""


async def score_forest(
    forest: Forest,
    scorer: Scorer,
    backend: Backend,
    *,
    concurrency: int,
    report: Callable[[int], None] = lambda _: None,
) -> Scoring:
    """Score all complete trees that this reward model has not scored yet: see `score_trees`."""
    asking = _RewardModel(scorer, backend)
    scoring = await score_trees(
        forest, scorer, backend, asking, concurrency=concurrency, report=report
    )
    scoring.nodes_without_score = asking.nodes_without_score
    return scoring


async def score_trees(
    forest: Forest,
    scorer: Scorer,
    servers: Servers,
    asking: TreeScorer,
    *,
    concurrency: int,
    report: Callable[[int], None] = lambda _: None,
) -> Scoring:
    """Score all complete trees that this scorer has not scored yet.

    Each tree is written when it is done, and only as a whole. After an interruption, run it again:
    it continues with the unscored trees.

    `report` gets the number of trees processed.

    Raises:
        BackendError: the server is unavailable or refuses.
        ScoringError: no tree can be scored with these settings.
    """
    return await _Run(forest, scorer, servers, asking, concurrency).run(report)


def first_request(forest: Forest, options: ScorerOptions) -> tuple[str, Mapping[str, Any]] | None:
    """Return the path and the body of the first request of a run; None if there is nothing to ask.

    Raises:
        ScoringError, PluginError: the plugin of this kind fails.
    """
    for batch in in_batches(range(forest.num_trees)):
        for stored in read_trees(forest, batch):
            if stored.status == TreeStatus.COMPLETE:
                asked = Asked(stored.prompt, stored.question)
                for request in requests_of(stored.tree, asked, options):
                    return request.path, request.body
    return None


class _RewardModel:
    """Asks a reward model, in the way of the scorer's kind."""

    def __init__(self, scorer: Scorer, backend: Backend) -> None:
        self.scorer = scorer
        self.backend = backend
        self.options = ScorerOptions(**scorer.parameters)
        self.nodes_without_score = 0

    async def score(self, stored: StoredTree, ask: Ask) -> JudgedTree:
        scores: dict[NodePath, float] = {}

        async def score_nodes(request: ScoreRequest) -> None:
            found = await ask(
                lambda spending: self.backend.ask(
                    request.path,
                    lambda _: request.body,
                    lambda response, _: scores_of(response, request, self.options),
                    spending,
                )
            )
            for path, score in zip(request.nodes, found, strict=True):
                if score is not None:
                    scores.setdefault(path, score)

        asked = Asked(stored.prompt, stored.question)
        await run_all([score_nodes(one) for one in requests_of(stored.tree, asked, self.options)])
        self.nodes_without_score += len(stored.tree) - 1 - len(scores)
        return JudgedTree(scores, num_steps=len(stored.tree) - 1)

    def write(self, tree: str, judged: JudgedTree) -> None:
        write_judged(self.scorer, {tree: judged})


class _Run:
    def __init__(
        self,
        forest: Forest,
        scorer: Scorer,
        servers: Servers,
        asking: TreeScorer,
        concurrency: int,
    ) -> None:
        self.forest = forest
        self.scorer = scorer
        self.servers = servers
        self.asking = asking
        self.scoring = Scoring()
        self._outages = Outages(
            answers=self._has_models,
            show=show_nowhere,
            longest_seconds=settings.BACKEND_WAIT_SECONDS,
        )
        self._slots = asyncio.Semaphore(concurrency)

    async def run(self, report: Callable[[int], None]) -> Scoring:
        for batch in in_batches(range(self.forest.num_trees)):
            trees = await asyncio.to_thread(self._to_score, batch)
            await run_all([self._score_or_count(stored) for stored in trees])
            if self.scoring.limit:
                break
            report(batch[-1] + 1)
        return self.scoring

    def _to_score(self, indexes: Sequence[int]) -> list[StoredTree]:
        trees = read_trees(self.forest, indexes)
        complete = [stored for stored in trees if stored.status == TreeStatus.COMPLETE]
        scored = read_stored_scores(self.forest, self.scorer.name, [one.index for one in complete])
        if self.forest.extended_at:
            sizes = read_num_steps(self.forest, self.scorer.name, list(scored))
            scored = {
                stored.index: scored[stored.index]
                for stored in complete
                if stored.index in scored
                and not _has_grown(stored, scored[stored.index], sizes.get(stored.index, 0))
            }
        self.scoring.trees_not_complete += len(trees) - len(complete)
        self.scoring.trees_scored_before += len(scored)
        return [stored for stored in complete if stored.index not in scored]

    async def _score_or_count(self, stored: StoredTree) -> None:
        try:
            judged = await self.asking.score(stored, self._ask)
        except LimitSpentError as error:
            self.scoring.limit = str(error)
        except (RequestFailedError, ScoringError) as error:
            self.scoring.failures[str(error)] += 1
            too_many = self.scoring.failures.total() >= MAX_FAILURES_FROM_THE_START
            if too_many and not self.scoring.trees:
                raise ScoringError(str(error)) from error
        else:
            await asyncio.to_thread(self.asking.write, stored.id, judged)
            self.scoring.trees += 1
            self.scoring.nodes += len(judged.scores)

    async def _ask(self, send: Callable[[Spending], Awaitable[Answer]]) -> Answer:
        async with self._slots:
            while True:
                try:
                    found = await send(self.scoring.spending)
                except BackendUnavailableError as error:
                    if error.retry_after is None:  # the server does not announce when it is back
                        raise
                    await self._outages.wait(error)
                else:
                    self._outages.answered()
                    return found

    async def _has_models(self) -> bool:
        return bool(await self.servers.list_models())


def _has_grown(stored: StoredTree, scores: Scores, num_steps: int) -> bool:
    """Return whether a tree of an extended forest may have new steps since it was scored.

    `num_steps`: the number of its steps at that time; 0 if unknown.
    """
    if num_steps:
        return num_steps != len(stored.tree) - 1
    return any(
        node.path and not node.is_thought and node.path not in scores for node in stored.tree
    )


async def run_all(coroutines: list[Coroutine[Any, Any, None]]) -> None:
    """Run all coroutines; if one fails, cancel the others and raise only its error."""
    tasks = [asyncio.ensure_future(one) for one in coroutines]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
