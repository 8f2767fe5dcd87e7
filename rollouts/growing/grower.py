"""Grow many trees at once: keep the model server busy, record samples, stop cleanly."""

import asyncio
import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, ParamSpec, TypeVar

import structlog
from django.conf import settings

from common.storable import num_utf8_bytes, storing_problem
from common.text import one_line
from experiment_configs.interfaces import ConfigError, RolloutConfig, RolloutWorkerConfig
from experiment_configs.stop_at_answer import steps_to_answer
from forests.core.tree import TreeNode
from forests.grading import TreeGrader
from forests.models import Forest, TreeStatus
from forests.storage.trees import (
    TREES_PER_READ,
    StoredTree,
    collection,
    delete_orphans,
    leave_forest,
    read_trees,
    tree_ids,
)
from rollouts.client.affinity import session_of
from rollouts.client.failures import (
    BackendRefusedError,
    BackendUnavailableError,
    LimitSpentError,
    NotForThisWorkerError,
    PromptFlaggedError,
    PromptTooLongError,
    RequestFailedError,
    ThoughtEndedError,
)
from rollouts.client.outages import Outages
from rollouts.client.spending import Spending
from rollouts.growing import fencing, leases
from rollouts.growing.circuit_breaker import Circuit
from rollouts.growing.recorder import Growth, LeaseLostError, Recorder
from rollouts.growing.reservations import ForestBudget
from rollouts.growing.turns import Turns
from rollouts.sampling.completion_client import CompletionClient, SampleRequest
from rollouts.steps.completions import Completion
from rollouts.steps.rules import StepRule
from rollouts.strategies import STRATEGIES
from rollouts.strategies.base import Changes, Expansion
from rollouts.strategies.refining import refining_or

log = structlog.stdlib.get_logger(__name__)

P = ParamSpec("P")
Result = TypeVar("Result")

SECONDS_BETWEEN_LOOKS_AT_BUSY_TREES = 2.0
SECONDS_BETWEEN_LOOKS_AT_FOREST = 1.0
MAX_CHARACTERS_OF_ERROR = 1_000
"""Longest failure message of a tree; users' code may have written it."""
MAX_BYTES_OF_STEP = 12_000_000
"""As UTF-8. The rest of a node's document is for its answer."""
SECONDS_FOR_SAMPLES_AT_END = 5.0
"""How long a stop waits for samples that are still being read: users' code may be slow."""
MAX_WAITS_OF_REQUEST = 3
"""Fail a request that finds the server down more often than this while other requests succeed: a
proxy may be cutting its answers."""


@dataclass(slots=True)
class GrowthOutcome:
    """The result of one call of `grow`."""

    complete: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class _Taken:
    """The result of an attempt to take trees."""

    trees: list[StoredTree]
    """Trees that this grower holds now."""
    busy: list[int]
    """Indexes of trees that another grower holds."""


@dataclass(frozen=True, slots=True)
class _Added:
    """The result of adding samples to a tree."""

    changes: Changes
    problem: str
    """Why a sample cannot be stored; empty if all can."""


class ForestGrower:
    """Grows trees of one forest from one process, with `num_requests` requests in flight."""

    def __init__(
        self,
        forest: Forest,
        config: RolloutConfig,
        client: CompletionClient,
        num_requests: int,
        budget: ForestBudget | None = None,
        spent: Spending | None = None,
    ) -> None:
        """Return a grower.

        Args:
            forest: the forest whose trees to grow.
            config: the forest's config.
            client: draws the samples.
            num_requests: requests in flight.
            budget: the budget that `client` already uses, if it has sent requests before.
            spent: what probing the servers has cost so far; it is added to the first tree.
        """
        self.forest = forest
        self._spent = spent or Spending()
        self.budget = budget or ForestBudget(forest)
        client.keep_to(self.budget)
        self.config = config
        self.client = client
        self.num_requests = num_requests
        self.worker_config = RolloutWorkerConfig.from_dict(forest.worker_config)
        self.strategy = STRATEGIES[self.worker_config.strategy](
            self.worker_config, self._find_answer, StepRule.of(self.worker_config, config)
        )
        self.holder = self.budget.holder
        self.recorder = Recorder(forest, self.holder, self.budget)
        self.outcome = GrowthOutcome()
        self._held: set[str] = set()
        self._growing: set[str] = set()
        self._thought_only: dict[str, int] = {}
        """Trees with steps that turned out to be part of a thought, and their generations."""
        self._taking: asyncio.Future[_Taken] | None = None
        self._num_answered = 0
        self._turns = Turns(num_requests)
        self._num_begun = 0
        self._outages = Outages(
            answers=self._has_models,
            show=self._show_wait,
            longest_seconds=settings.BACKEND_WAIT_SECONDS,
        )
        self._circuit = Circuit()
        self._shown_wait = ""
        # A single thread, because configs and trees need not be thread-safe. Not a shared one,
        # because users' code may be slow.
        self._tree_thread = ThreadPoolExecutor(1, thread_name_prefix="trees")
        self._patience_ends = math.inf
        self._lease_thread = ThreadPoolExecutor(1, thread_name_prefix="leases")
        self._is_over = threading.Event()

    async def grow(
        self, indexes: Iterable[int], stop: asyncio.Event, *, waits: bool = True
    ) -> GrowthOutcome:
        """Grow these trees until each is complete or failed, or until `stop` is set.

        Also waits for trees that others hold, unless `waits` is False. Before it returns or raises,
        it always writes the samples that have arrived, and releases the leases.

        Raises:
            BackendRefusedError: the server does not serve this forest with its current settings.
            NotForThisWorkerError: the server was down and returned with a different model.
            LeaseLostError: another worker took a tree because this process paused for too long.
            pymongo.errors.PyMongoError: the database does not answer.
        """
        await self.budget.open()
        loop = asyncio.get_running_loop()
        keeping = loop.run_in_executor(self._lease_thread, self._keep_leases)
        working: list[asyncio.Future[None]] = [
            asyncio.create_task(self._grow_all(list(indexes), waits=waits)),
            asyncio.create_task(self.recorder.run()),
            asyncio.create_task(self._obey_forest(stop)),
        ]
        stopping = asyncio.create_task(stop.wait())
        try:
            waiting: list[asyncio.Future[Any]] = [*working, keeping, stopping]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in (*working, keeping):
                if task.done():
                    task.result()
        finally:
            self._patience_ends = time.monotonic() + SECONDS_FOR_SAMPLES_AT_END
            await _cancel([*working, stopping])
            if self._taking:  # it may still claim trees, which must be released
                await asyncio.gather(self._taking, return_exceptions=True)
            self._tree_thread.shutdown(wait=False, cancel_futures=True)
            try:
                await self.recorder.write()
            finally:
                self._is_over.set()
                await asyncio.gather(keeping, return_exceptions=True)
                self._lease_thread.shutdown(wait=False)
                held = self._held | self.recorder.unwritten()
                await asyncio.to_thread(leases.release, list(held), self.holder)
                await self._forget_thoughts()
                await self._outages.end()
                if held:  # so that the forest's state changes now, not when the leases expire
                    await asyncio.to_thread(leave_forest, self.forest)
        return self.outcome

    async def _forget_thoughts(self) -> None:
        """Empty trees in which parts of thoughts were graded: a retry must not build on them."""
        trees = list(self._thought_only.items())
        await asyncio.to_thread(fencing.forget_nodes, trees, {})
        for tree, _ in trees:
            self._thought_only.pop(tree, None)

    async def _grow_all(self, indexes: list[int], *, waits: bool) -> None:
        """Grow all trees; with `waits`, also those that others hold, once they release them."""
        while (busy := await self._grow_free(indexes)) and waits:
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS_AT_BUSY_TREES)
            indexes = busy

    async def _grow_free(self, indexes: list[int]) -> list[int]:
        """Grow a sliding window of trees; return those that others are growing."""
        # More trees than slots keep the server busy while some trees are read or written. Take
        # half of the surplus at once: reading one tree costs the database as much as reading ten.
        surplus = max(2, self.num_requests // 8)
        window = self.num_requests + surplus
        waiting, busy = deque(indexes), list[int]()
        growing: set[asyncio.Task[None]] = set()
        try:
            while waiting or growing:
                if waiting and len(growing) <= window - surplus // 2:
                    length = min(len(waiting), window - len(growing), TREES_PER_READ)
                    taken = await self._take([waiting.popleft() for _ in range(length)])
                    busy += taken.busy
                    growing |= {asyncio.create_task(self._grow(tree)) for tree in taken.trees}
                else:
                    await asyncio.wait(growing, return_when=asyncio.FIRST_COMPLETED)
                done = {task for task in growing if task.done()}
                for task in done:
                    task.result()
                growing -= done
        finally:
            await _cancel(growing)
        return busy

    async def _take(self, indexes: list[int]) -> _Taken:
        ids = set(tree_ids(self.forest, indexes))
        self._held |= ids
        # A thread cannot be cancelled, so `grow` waits for it when it ends.
        self._taking = asyncio.ensure_future(
            asyncio.to_thread(_take, self.forest, indexes, self.holder)
        )
        taken = await asyncio.shield(self._taking)
        self._held -= ids - {stored.id for stored in taken.trees}
        return taken

    async def _grow(self, stored: StoredTree) -> None:
        growth = Growth.of(stored)
        growth.rank, self._num_begun = self._num_begun, self._num_begun + 1
        growth.spending.add(self._spent)
        self._spent = Spending()
        self._growing.add(stored.id)
        try:
            await self._grow_tree(growth)
        except NotForThisWorkerError:  # not the tree's fault
            raise
        except (RequestFailedError, ConfigError) as error:
            if isinstance(error, ThoughtEndedError):
                self._thought_only[stored.id] = stored.generation
            self._stop_if_all_fail(stored.id, error)
            message = one_line(str(error), MAX_CHARACTERS_OF_ERROR)
            self.recorder.finish(growth, TreeStatus.FAILED, message)
            self.outcome.failed += 1
            log.warning("tree failed", tree=stored.id, error=message)
            if stored.id in self._thought_only:
                await self.recorder.write()
                await self._forget_thoughts()
        else:
            self.recorder.finish(growth, TreeStatus.COMPLETE)
            self.outcome.complete += 1
            log.info("tree complete", tree=stored.id, **growth.counters())
        self._growing.discard(stored.id)
        self._held.discard(stored.id)

    async def _grow_tree(self, growth: Growth) -> None:
        tree = growth.stored.tree
        strategy = refining_or(self.strategy, growth.stored.refined_steps)
        grader = await self._in_tree_thread(
            TreeGrader, self.config, growth.stored.label, tree, tree.leaves()
        )
        if ungraded := {n.path: n for n in tree if n.is_finished and n.grade is None}:
            await self._record(growth, grader, Changes(changed=ungraded))  # grading failed before
        while expansions := await self._in_tree_thread(strategy.plan, tree):
            await _all([self._expand(growth, grader, expansion) for expansion in expansions])
        growth.hit_max_nodes = await self._in_tree_thread(strategy.hit_max_nodes, tree)

    async def _expand(self, growth: Growth, grader: TreeGrader, expansion: Expansion) -> None:
        completions = await self._sample(growth, expansion)
        adding = self._in_tree_thread(self._add, growth, expansion, completions)
        try:
            added = await asyncio.shield(adding)
        except asyncio.CancelledError:
            # The samples are paid for, and a thread cannot be stopped: wait for it.
            with contextlib.suppress(ConfigError, _NoPatienceError):
                self.recorder.note(growth, (await adding).changes)
            raise
        await self._record(growth, grader, added.changes)
        if added.problem:
            raise RequestFailedError(added.problem)

    def _add(self, growth: Growth, expansion: Expansion, completions: list[Completion]) -> _Added:
        tree = growth.stored.tree
        samples = self.strategy.read_samples(tree, expansion, completions)
        problems = [_storing_problem(sample) for sample in samples]
        storable = [one for one, problem in zip(samples, problems, strict=True) if not problem]
        with growth.lock:
            changes = self.strategy.add_samples(tree, expansion, storable)
        return _Added(changes, next(filter(None, problems), ""))

    async def _sample(self, growth: Growth, expansion: Expansion) -> list[Completion]:
        session = session_of(growth.stored.id)
        request = SampleRequest.of(growth.stored.prompt, growth.stored.tree, expansion, session)
        before, waits = self._num_answered, 0
        while True:
            try:
                self._turns.spreads = self.client.keeps_slots
                async with self._turns.turn(growth.rank):
                    completions = await self.client.sample(request, growth.spending)
            except LimitSpentError:  # `_obey_forest` ends growth, unless the limit is raised
                await asyncio.sleep(SECONDS_BETWEEN_LOOKS_AT_FOREST)
            except BackendUnavailableError as error:
                is_answered_to_others = (
                    waits >= MAX_WAITS_OF_REQUEST and self._num_answered > before
                )
                if is_answered_to_others and not error.is_busy:
                    raise RequestFailedError(f"{error}; others were answered meanwhile") from None
                await self._outages.wait(error)
                waits += 1
            else:
                self._num_answered += 1
                self._outages.answered()
                self._circuit.succeeded()
                return completions
            finally:
                self.recorder.note(growth, Changes())  # the spending, also of failed requests

    def _stop_if_all_fail(self, tree: str, error: RequestFailedError | ConfigError) -> None:
        """Raise `BackendRefusedError` if other trees failed for this reason and none succeeded."""
        if not isinstance(error, RequestFailedError) or isinstance(error, PromptFlaggedError):
            return
        if not isinstance(error, PromptTooLongError) and self._circuit.failed(tree, str(error)):
            raise BackendRefusedError(
                f"{error} (the server refuses every tree: fix the config or the server, then "
                "run retry_failed for the failed trees)"
            )

    async def _has_models(self) -> bool:
        return bool(await self.client.list_models())  # FastChat without a worker lists no models

    async def _show_wait(self, reason: str) -> None:
        shown, self._shown_wait = self._shown_wait, reason
        await asyncio.to_thread(show_wait, self.forest.name, reason, shown)

    async def _record(self, growth: Growth, grader: TreeGrader, changes: Changes) -> None:
        nodes = [*changes.added.values(), *changes.changed.values()]
        try:
            # Call this even with nothing to grade: it keeps the changes in their order.
            await self._in_tree_thread(grader.grade_new, nodes)
        finally:
            self.recorder.note(growth, changes)  # keep samples even if grading them fails
        await self.recorder.make_room()

    def _in_tree_thread(
        self, function: Callable[P, Result], *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[Result]:
        call = partial(function, *args, **kwargs)
        return asyncio.get_running_loop().run_in_executor(self._tree_thread, call)

    def _find_answer(self, before: str, steps: Sequence[str]) -> int | None:
        if time.monotonic() > self._patience_ends:
            raise _NoPatienceError
        return steps_to_answer(self.config, before, steps)

    def _keep_leases(self) -> None:
        """Renew leases until growth is over. Needs its own thread: users' code may block others.

        Raises:
            LeaseLostError: another worker has taken a tree.
            pymongo.errors.PyMongoError: the database does not answer.
        """
        while not self._is_over.wait(leases.RENEWAL_SECONDS):
            now = time.time()
            held = self._held.copy() | self.recorder.unwritten()
            lost = leases.renew(list(held), self.holder)
            # A tree in the batch that is being written may be finished, without a lease.
            lost &= self._growing.copy() | self.recorder.waiting()
            if lost:
                self.recorder.leases_renewed_at = 0
                raise LeaseLostError(f"another worker has taken {', '.join(sorted(lost))}")
            self.recorder.leases_renewed_at = now

    async def _obey_forest(self, stop: asyncio.Event) -> None:
        """Stop if the forest is paused, extended or deleted, or a limit is spent.

        If a limit is spent, first wait for the requests in flight.
        """
        while (
            (forest := await asyncio.to_thread(_growable, self.forest.name))
            and forest.extended_at == self.forest.extended_at
            and (self.budget.num_in_flight or not forest.spent_limit)
        ):
            self.budget.is_limited = forest.limits.are_set
            self.budget.counts_tokens = forest.limits.count_tokens
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS_AT_FOREST)
        stop.set()
        await asyncio.Event().wait()  # until cancelled: only `grow` ends growth


def _storing_problem(steps: Iterable[TreeNode]) -> str:
    """Return why a sample cannot be stored; empty if it can."""
    for step in steps:
        length = num_utf8_bytes(step.text)
        if length > MAX_BYTES_OF_STEP:
            return (
                f"the model wrote a step of {length:,} bytes, and a node holds "
                f"{MAX_BYTES_OF_STEP:,}: lower max_tokens_per_step and max_tokens_per_rollout, or "
                "set a step_delimiter that the model writes"
            )
        if problem := storing_problem(step.text):
            return f"a step that the model wrote {problem}"
    return ""


class _NoPatienceError(Exception):
    """Growth is over; samples that still wait for users' code are dropped."""


def show_wait(forest_name: str, reason: str, shown: str) -> None:
    """Show why this worker waits. An empty reason removes only the text that it has `shown`."""
    sought = {"_id": forest_name} if reason else {"_id": forest_name, "backend_message": shown}
    collection(Forest).update_one(sought, {"$set": {"backend_message": reason}})


def show_stop(forest_name: str, reason: str) -> None:
    """Show why growth stopped, until somebody runs a command that grows the forest."""
    collection(Forest).update_one({"_id": forest_name}, {"$set": {"stop_reason": reason}})


def mark_started(forest: Forest) -> None:
    """Record that a worker grows a forest now, and when the first worker began.

    Removes the reason for waiting: a killed worker may have left it. Workers that still wait soon
    show their reasons again.
    """
    now = datetime.now(UTC)
    started = {} if forest.growth_started_at else {"growth_started_at": now}
    changes = {**started, "worked_at": now, "backend_message": ""}
    collection(Forest).update_one({"_id": forest.name}, {"$set": changes})


async def _all(coroutines: list[Coroutine[Any, Any, None]]) -> None:
    """Run all to the end, so that every answer is recorded; then raise the first error."""
    results = await asyncio.gather(*coroutines, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


async def _cancel(tasks: Iterable[asyncio.Future[Any]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _take(forest: Forest, indexes: list[int], holder: str) -> _Taken:
    """Claim the trees that nobody holds, read them, and delete nodes that torn writes left.

    Takes no tree if the forest was extended since it was read: with the old settings, growth would
    call its trees complete.
    """
    trees = dict(zip(tree_ids(forest, indexes), indexes, strict=True))
    generations = leases.claim(list(trees), holder)
    if Forest.objects.filter(pk=forest.pk).exclude(extended_at=forest.extended_at).exists():
        leases.release(list(generations), holder)
        return _Taken([], indexes)
    fenced = fencing.take_over(generations, holder)
    read = read_trees(forest, [index for tree, index in trees.items() if tree in fenced])
    stored = [tree for tree in read if tree.generation == generations[tree.id]]
    for tree in stored:
        delete_orphans(tree)
    ours = {tree.id for tree in stored}
    others = [tree for tree in trees if tree not in ours]
    unfinished = leases.unfinished(others) if others else set()
    return _Taken(stored, [trees[tree] for tree in others if tree in unfinished])


def may_grow(forest_name: str) -> bool:
    """Return whether a forest exists, is neither paused nor half regraded, and has budget left."""
    forest = _growable(forest_name)
    return forest is not None and not forest.spent_limit


def _growable(forest_name: str) -> Forest | None:
    """Return the current forest; None if it is deleted, paused or half regraded."""
    forest = Forest.objects.filter(pk=forest_name).first()
    return forest if forest and forest.is_graded and not forest.is_paused else None
