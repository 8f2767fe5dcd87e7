"""Score the steps of a forest with a served reward model."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.conf import settings

from forests.core.tree import NodePath, Scores
from forests.models import Forest, Scorer, TreeStatus
from forests.storage.scores import read_scores as read_stored_scores
from forests.storage.scores import write_scores
from forests.storage.trees import StoredTree, in_batches, read_trees
from rollouts.client.failures import BackendUnavailableError, RequestFailedError
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
    spending: Spending = field(default_factory=Spending)


async def score_forest(
    forest: Forest,
    scorer: Scorer,
    backend: Backend,
    *,
    concurrency: int,
    report: Callable[[int], None] = lambda _: None,
) -> Scoring:
    """Score all complete trees that this scorer has not scored yet.

    Scores are written while the run continues, and only for whole trees. After an interruption, run
    it again: it continues with the unscored trees.

    `report` gets the number of trees processed.

    Raises:
        BackendError: the server is unavailable or refuses.
        ScoringError: no tree can be scored with these settings.
    """
    return await _Scorer(forest, scorer, backend, concurrency).run(report)


class _Scorer:
    def __init__(self, forest: Forest, scorer: Scorer, backend: Backend, concurrency: int) -> None:
        self.forest = forest
        self.scorer = scorer
        self.backend = backend
        self.options = ScorerOptions(**scorer.parameters)
        self.scoring = Scoring()
        self._outages = Outages(
            answers=self._has_models,
            show=show_nowhere,
            longest_seconds=settings.BACKEND_WAIT_SECONDS,
        )
        self._slots = asyncio.Semaphore(concurrency)
        self._unwritten: dict[str, dict[NodePath, float]] = {}

    async def run(self, report: Callable[[int], None]) -> Scoring:
        try:
            for batch in in_batches(range(self.forest.num_trees)):
                trees = await asyncio.to_thread(self._to_score, batch)
                await _all([self._score_or_count(stored) for stored in trees])
                await self._write()
                report(batch[-1] + 1)
        finally:
            await self._write()
        return self.scoring

    def _to_score(self, indexes: Sequence[int]) -> list[StoredTree]:
        trees = read_trees(self.forest, indexes)
        complete = [stored for stored in trees if stored.status == TreeStatus.COMPLETE]
        scored = read_stored_scores(self.forest, self.scorer.name, [one.index for one in complete])
        if self.forest.extended_at:
            scored = {
                stored.index: scored[stored.index]
                for stored in complete
                if stored.index in scored and not _has_grown(stored, scored[stored.index])
            }
        self.scoring.trees_not_complete += len(trees) - len(complete)
        self.scoring.trees_scored_before += len(scored)
        return [stored for stored in complete if stored.index not in scored]

    async def _score_or_count(self, stored: StoredTree) -> None:
        try:
            self._unwritten[stored.id] = await self._score(stored)
        except (RequestFailedError, ScoringError) as error:
            self.scoring.failures[str(error)] += 1
            too_many = self.scoring.failures.total() >= MAX_FAILURES_FROM_THE_START
            if too_many and not self.scoring.trees and not self._unwritten:
                raise ScoringError(str(error)) from error

    async def _score(self, stored: StoredTree) -> dict[NodePath, float]:
        scores: dict[NodePath, float] = {}

        async def ask(request: ScoreRequest) -> None:
            async with self._slots:
                found = await self._ask(request)
            for path, score in zip(request.nodes, found, strict=True):
                if score is not None:
                    scores.setdefault(path, score)

        asked = Asked(stored.prompt, stored.question)
        await _all([ask(one) for one in requests_of(stored.tree, asked, self.options)])
        self.scoring.nodes_without_score += len(stored.tree) - 1 - len(scores)
        return scores

    async def _ask(self, request: ScoreRequest) -> Sequence[float | None]:
        while True:
            try:
                found = await self.backend.ask(
                    request.path,
                    lambda _: request.body,
                    lambda response, _: scores_of(response, request, self.options),
                    self.scoring.spending,
                )
            except BackendUnavailableError as error:
                if error.retry_after is None:  # the server does not announce when it is back
                    raise
                await self._outages.wait(error)
            else:
                self._outages.answered()
                return found

    async def _has_models(self) -> bool:
        return bool(await self.backend.list_models())

    async def _write(self) -> None:
        written, self._unwritten = self._unwritten, {}
        await asyncio.to_thread(write_scores, self.scorer, written)
        self.scoring.trees += len(written)
        self.scoring.nodes += sum(map(len, written.values()))


def _has_grown(stored: StoredTree, scores: Scores) -> bool:
    """Return whether a tree of an extended forest may have new steps since it was scored."""
    return any(
        node.path and not node.is_thought and node.path not in scores for node in stored.tree
    )


async def _all(coroutines: list[Coroutine[Any, Any, None]]) -> None:
    """Run all coroutines; if one fails, cancel the others and raise only its error."""
    tasks = [asyncio.ensure_future(one) for one in coroutines]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
