"""Grow trees of a forest in this process. Queue jobs and `rollout_worker` share this code."""

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

from common.garbage import rare_searches_for_garbage
from common.text import counted
from experiment_configs.interfaces import ConfigError, Prompt, RolloutConfig, RolloutWorkerConfig
from experiment_configs.loading import LoadedConfig, load_config
from forests.core.estimators import IMPORTED, RESEGMENTED
from forests.models import Forest, Node, Tree, TreeStatus
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
from rollouts.growing.needs_of_jobs import OtherConfigError, clear_worker_message, require_server
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
    """The result of one call of `grow_trees`."""

    complete: int = 0
    failed: int = 0
    is_stopped: bool = False
    """Whether it ended early: because of a signal, or because the forest may not grow now."""


def grow_trees(
    forest: Forest,
    indexes: Sequence[int],
    *,
    num_requests: int | None = None,
    waits: bool = True,
    parent: int | None = None,
) -> Grown:
    """Grow the trees that nobody else is growing.

    Args:
        forest: the forest of the trees.
        indexes: indexes of trees that are neither complete nor failed.
        num_requests: requests in flight. None: use the forest's setting, or the server's slots.
        waits: whether to wait until trees held by others are finished or released.
        parent: id of the process that this one must not outlive. None: the process that started it.

    Raises:
        ConfigError: the forest does not take rollouts.
        NotForThisWorkerError: this process has a different config or model server.
        BackendRefusedError: the model server refuses requests. The forest's page says so.
        LeaseLostError: another worker took a tree because this process paused for too long.
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
        with rare_searches_for_garbage():
            return asyncio.run(_grow(forest, loaded, indexes, num_requests, parent, waits=waits))
    except UnopenedThoughtError as error:
        # Other processes may be growing trees inside such thoughts too: empty those as well.
        trees = _answered_since(forest, began)
        number = fencing.forget_nodes(trees, fencing.GROWS_AGAIN, also_held=True)
        settle_counters(forest)
        show_stop(forest.name, f"{error}; {counted(number, 'tree')} will grow again from the start")
        raise
    except BackendRefusedError as error:
        show_stop(forest.name, str(error))
        raise
    finally:
        # Settle the sums only after the last slice; before that, the watching command does so.
        # Ask the trees: the forest's own counters lag if a writer lost a tree.
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
        # Tests run jobs outside the main thread, where Python cannot install signal handlers.
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
    """Check the servers' models, probe the servers' abilities, and return what that cost."""
    await _begin_with_models(client)
    await asyncio.to_thread(mark_started, forest)
    try:
        spent = await _find_abilities(client, prompt)
    except BaseException:
        await asyncio.to_thread(leave_forest, forest)
        raise
    await asyncio.to_thread(clear_worker_message, forest.name)
    return spent


def _answered_since(forest: Forest, moment: datetime) -> Iterator[tuple[str, int]]:
    """Yield id and generation of trees that have answers without a thought before them.

    Such an answer may be part of a thought that lacks its opening tag. Trees that have not grown
    since `moment` are left out. Trees that are growing now are included, whatever their nodes.
    """
    fields = {"status": 1, "generation": 1}
    for tree in collection(Tree).find({"forest_id": forest.name}, fields):
        found = tree["_id"], tree.get("generation") or 0
        if tree["status"] == TreeStatus.GROWING:
            yield found
            continue
        ours = {"tree_id": tree["_id"]}
        said = {**ours, "depth": 1, "is_thought": {"$ne": True}}
        if collection(Node).find_one({**ours, "created_at": {"$gte": moment}}, {"_id": 1}) and (
            collection(Node).find_one(said, {"_id": 1})
        ):
            yield found


async def _unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, Result]) -> Result | None:
    """Return the result of `work`; None if a stop comes first and cancels it."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)


async def _begin_with_models(client: CompletionClient) -> None:
    """Record or refuse the model before the first request; skip a server that is down."""
    with contextlib.suppress(BackendUnavailableError, RequestFailedError):
        await client.begin_with_models()


async def _find_abilities(client: CompletionClient, prompt: Prompt | None) -> Spending:
    """Probe the abilities of the servers, and return what that cost.

    A server that is down now is probed later: the trees wait for it.
    """
    spent = Spending()
    with contextlib.suppress(BackendUnavailableError, RequestFailedError, LimitSpentError):
        await client.find_abilities(spent, prompt)
    return spent


async def _stop_with_parent(stop: asyncio.Event, parent: int) -> None:
    """Stop if the parent process was killed: nobody else would stop this one."""
    while os.getppid() == parent:
        await asyncio.sleep(SECONDS_BETWEEN_LOOKS_AT_PARENT)
    stop.set()


def load_frozen_config(forest: Forest) -> LoadedConfig:
    """Return the config of a forest.

    Raises:
        OtherConfigError: the file is missing on this machine or has changed since seeding, or the
            package of the growth strategy is missing.
        ConfigError: the forest does not take rollouts.
    """
    if forest.strategy == RESEGMENTED:
        raise ConfigError(
            f"forest {forest.name!r} holds solutions of another forest, cut into other steps, and "
            "takes no rollouts: grow that forest, then run resegment_forest with another suffix"
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
    """Return a client with a forest's settings. Drawing single steps needs `config`.

    `allowed` names models that may grow the forest besides the recorded ones.
    """
    worker_config = RolloutWorkerConfig.from_dict(forest.worker_config)
    address = policy_server(worker_config.base_urls)
    models = ForestModels(forest, config, allowed)
    rule = StepRule.of(worker_config, config)
    return CompletionClient(address, worker_config, rule, models, DatabaseMemory())


def unfinished_trees(forest: Forest, indexes: range) -> list[Document]:
    """Return index, status and holder of the unfinished trees of a slice, ordered by index.

    Reads trees by id, so that the cost depends on the slice and not on the forest.
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
    """Return index and lease of the trees with one status. A database index serves the query."""
    return collection(Tree).find(
        {"forest_id": forest.name, "status": str(status)},
        {"index": 1, "lease_holder": 1, "lease_expires_at": 1},
    )
