"""Grow trees of a forest in this process: what jobs of the queue and `rollout_worker` share."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import structlog
from django.conf import settings

from experiment_configs.interfaces import ConfigError, Prompt, RolloutConfig, RolloutWorkerConfig
from experiment_configs.loading import LoadedConfig, load_config
from forests.core.estimators import IMPORTED, RESEGMENTED
from forests.models import Forest, Node, Tree
from forests.storage.trees import (
    Document,
    collection,
    in_batches,
    leave_forest,
    read_prompt,
    tree_ids,
)
from rollouts.client.failures import (
    BackendRefusedError,
    BackendUnavailableError,
    LimitSpentError,
    RequestFailedError,
    UnopenedThoughtError,
)
from rollouts.client.servers_of_settings import policy_server
from rollouts.client.spending import Spending
from rollouts.growing import fencing, leases
from rollouts.growing.grower import ForestGrower, mark_started, may_grow, show_stop
from rollouts.growing.needs import OtherConfigError, clear_worker_message, require_server
from rollouts.growing.recorder import settle_counters
from rollouts.growing.reservations import ForestBudget
from rollouts.probing.identity import ForestModels
from rollouts.probing.memory import DatabaseMemory
from rollouts.sampling.completion_client import CompletionClient
from rollouts.sampling.in_flight import find_in_flight
from rollouts.steps.rules import StepRule
from rollouts.strategies.packages import require_strategy

log = structlog.stdlib.get_logger(__name__)

Result = TypeVar("Result")

SECONDS_BETWEEN_LOOKS_AT_PARENT = 1.0


@dataclass(frozen=True, slots=True)
class Grown:
    """What one call of `grow_trees` did."""

    complete: int = 0
    failed: int = 0
    is_stopped: bool = False
    """Whether it ended early: by a signal, or as the forest may not grow now."""


def grow_trees(
    forest: Forest,
    indexes: Sequence[int],
    *,
    num_requests: int | None = None,
    waits: bool = True,
    parent: int | None = None,
) -> Grown:
    """Grow those trees that nobody else grows.

    Args:
        forest: whose trees they are.
        indexes: of trees that are neither complete nor failed.
        num_requests: requests in flight; None: as the forest says, or its model server.
        waits: whether to wait for trees that others hold, until they are finished or let go.
        parent: the process with which this one ends; None: the one that started it.

    Raises:
        ConfigError: the forest takes no rollouts.
        NotForThisWorkerError: this process has another config or model server than is needed.
        BackendRefusedError: the model server refuses; the forest's page says so.
        LeaseLostError: another worker has taken a tree, as this process was away for long.
        pymongo.errors.PyMongoError: the database does not answer.
    """
    if not may_grow(forest.name):
        return Grown(is_stopped=True)
    began = datetime.now(UTC)
    try:
        if not indexes:
            return Grown()
        loaded = load_frozen_config(forest)
        require_server(forest)
        return asyncio.run(_grow(forest, loaded, indexes, num_requests, parent, waits=waits))
    except UnopenedThoughtError as error:
        number = fencing.forget_nodes(_answered_since(forest, began), fencing.GROWS_AGAIN)
        settle_counters(forest)
        show_stop(forest.name, f"{error}; {number} trees will grow again from the start")
        raise
    except BackendRefusedError as error:
        show_stop(forest.name, str(error))
        raise
    finally:
        # Until the last slice of a forest ends, its sums are settled by who watches it. Its trees
        # say whether that is now: its own numbers are behind where a writer lost a tree.
        left = Forest.objects.filter(pk=forest.name).first()
        if left is not None and next(all_unfinished(left), None) is None:
            settle_counters(left)
            clear_worker_message(forest.name)


async def _grow(
    forest: Forest,
    loaded: LoadedConfig,
    indexes: Sequence[int],
    num_requests: int | None,
    parent: int | None,
    *,
    waits: bool,
) -> Grown:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        # Tests run jobs outside the main thread, where signals cannot be caught.
        with contextlib.suppress(ValueError, RuntimeError):
            loop.add_signal_handler(number, stop.set)
    watching = asyncio.create_task(_stop_with_parent(stop, parent or os.getppid()))
    try:
        async with make_client(forest, loaded.config) as client:
            budget = ForestBudget(forest)
            client.keep_to(budget)
            prompt = await asyncio.to_thread(read_prompt, forest, indexes[0])
            spent = await _unless_stopped(stop, _make_ready(forest, client, prompt))
            if spent is None:
                return Grown(is_stopped=True)
            if num_requests is None:
                num_requests = (await find_in_flight(client)).number
            log.info("growing", trees=len(indexes), requests_in_flight=num_requests)
            grower = ForestGrower(forest, loaded.config, client, num_requests, budget, spent)
            outcome = await grower.grow(indexes, stop, waits=waits)
    finally:
        watching.cancel()
    return Grown(outcome.complete, outcome.failed, stop.is_set())


async def _make_ready(forest: Forest, client: CompletionClient, prompt: Prompt | None) -> Spending:
    """Compare the servers with the forest, ask what they do, and return what that cost."""
    await _begin_with_models(client)
    await asyncio.to_thread(mark_started, forest)
    try:
        spent = await _find_abilities(client, prompt)
    except BaseException:
        await asyncio.to_thread(leave_forest, forest)
        raise
    await asyncio.to_thread(clear_worker_message, forest.name)
    return spent


def _answered_since(forest: Forest, moment: datetime) -> Iterator[str]:
    """Yield the trees that have grown since then, and have answers before which no thought is.

    Those may be answers from inside a thought that nothing opened.
    """
    for tree in collection(Tree).find({"forest_id": forest.name}, {"_id": 1}):
        ours = {"tree_id": tree["_id"]}
        said = {**ours, "depth": 1, "is_thought": {"$ne": True}}
        if collection(Node).find_one({**ours, "created_at": {"$gte": moment}}, {"_id": 1}) and (
            collection(Node).find_one(said, {"_id": 1})
        ):
            yield tree["_id"]


async def _unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, Result]) -> Result | None:
    """Return what work returns; None where a stop comes first, which cancels it."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)


async def _begin_with_models(client: CompletionClient) -> None:
    """Record or refuse the model before anything is asked of it; one that is away is waited for."""
    with contextlib.suppress(BackendUnavailableError, RequestFailedError):
        await client.begin_with_models()


async def _find_abilities(client: CompletionClient, prompt: Prompt | None) -> Spending:
    """Ask the servers what they do, and return what that cost.

    One that is away is waited for by the trees, and asked then.
    """
    spent = Spending()
    with contextlib.suppress(BackendUnavailableError, RequestFailedError, LimitSpentError):
        await client.find_abilities(spent, prompt)
    return spent


async def _stop_with_parent(stop: asyncio.Event, parent: int) -> None:
    """Stop where the process that started this one was killed: nobody would stop it later."""
    while os.getppid() == parent:
        await asyncio.sleep(SECONDS_BETWEEN_LOOKS_AT_PARENT)
    stop.set()


def load_frozen_config(forest: Forest) -> LoadedConfig:
    """Return the config of a forest.

    Raises:
        OtherConfigError: this machine does not have the file, or not as it was when the forest was
            seeded, or lacks the package of the growth strategy.
        ConfigError: the forest takes no rollouts.
    """
    if forest.strategy == RESEGMENTED:
        raise ConfigError(
            f"forest {forest.name!r} holds solutions of another forest, cut into other steps, and "
            "takes no rollouts: grow that one, and run resegment_forest with another suffix"
        )
    try:
        loaded = load_config(forest.config_name, settings.CONFIG_PATH)
    except ConfigError as error:
        raise OtherConfigError(str(error)) from error
    if not loaded.is_same(forest.config_sha256):
        changed = ", ".join(loaded.changed_files(forest.config_source))
        raise OtherConfigError(
            f"config {loaded.path} has changed since forest {forest.name!r} was seeded "
            f"(SHA-256 {forest.config_sha256[:12]}, now {loaded.sha256[:12]}; in {changed}): "
            "put it back, or seed a new forest with another suffix"
        )
    if forest.strategy == IMPORTED:
        return loaded
    try:
        require_strategy(RolloutWorkerConfig.from_dict(forest.worker_config))
    except ConfigError as error:
        raise OtherConfigError(str(error)) from error
    return loaded


def make_client(
    forest: Forest, config: RolloutConfig | None = None, allowed: Sequence[str] = ()
) -> CompletionClient:
    """Return a client of a forest's settings; `config` is needed to draw single steps.

    `allowed`: models that may grow the forest beside those that it knows.
    """
    worker_config = RolloutWorkerConfig.from_dict(forest.worker_config)
    address = policy_server(worker_config.base_urls)
    models = ForestModels(forest, config, allowed)
    rule = StepRule.of(worker_config, config)
    return CompletionClient(address, worker_config, rule, models, DatabaseMemory())


def unfinished_trees(forest: Forest, indexes: range) -> list[Document]:
    """Return index, status and holder of the trees that are neither complete nor failed, in order.

    Of a slice alone, by their ids: however large the forest is, a job begins with as few reads.
    """
    found: list[Document] = []
    for batch in in_batches(indexes):
        ids = tree_ids(forest, batch)
        trees = collection(Tree).find(
            {"_id": {"$in": ids}}, {"index": 1, "status": 1, "lease_holder": 1}
        )
        found += [tree for tree in trees if tree["status"] in leases.UNFINISHED]
    return sorted(found, key=lambda tree: tree["index"])


def all_unfinished(forest: Forest) -> Iterator[Document]:
    """Yield index and lease of all trees that are neither complete nor failed."""
    for status in leases.UNFINISHED:
        yield from trees_with_status(forest, status)


def trees_with_status(forest: Forest, status: str) -> Iterable[Document]:
    """Return what an index finds at once: index and lease of the trees with one status."""
    return collection(Tree).find(
        {"forest_id": forest.name, "status": str(status)},
        {"index": 1, "lease_holder": 1, "lease_expires_at": 1},
    )
