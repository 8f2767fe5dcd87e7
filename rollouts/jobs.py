"""What the queue holds: slices of forests. The database knows what is left to do in each."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterable, Iterator
from typing import cast

import django_rq
import structlog
from django.conf import settings
from django.db import connection
from django_mongodb_backend.base import DatabaseWrapper
from redis import Redis
from redis.client import Pipeline
from rq import Worker
from rq.exceptions import NoSuchJobError
from rq.job import Job, JobStatus, get_current_job
from rq.queue import Queue
from rq.utils import as_text
from rq.worker import BaseWorker

from experiment_configs.interfaces import ConfigError, RolloutConfig, RolloutWorkerConfig
from experiment_configs.loading import LoadedConfig, load_config
from forests.core.estimators import RESEGMENTED
from forests.models import STOPPED, Forest, Tree, TreeStatus
from forests.store import Document, collection, has_live_lease, in_batches, tree_ids
from rollouts import leases
from rollouts.abilities import DatabaseMemory
from rollouts.backend import Spending
from rollouts.client import CompletionClient
from rollouts.core.steps import StepRule
from rollouts.failures import (
    BackendRefusedError,
    BackendUnavailableError,
    RequestFailedError,
)
from rollouts.growth import ForestGrower, mark_started, may_grow, show_backend_message
from rollouts.recording import settle_counters
from rollouts.servers import policy_server

log = structlog.stdlib.get_logger(__name__)

PROCESS_OF_WORKER = "process"
"""Field in which a worker's record in the queue's server says which process it is."""
SECONDS_BETWEEN_LOOKS_AT_PARENT = 1.0
_JOBS_PER_WRITE = 500


def grow_slice(forest_name: str, start: int, stop: int) -> dict[str, int]:
    """Job: grow the unfinished trees with indexes from `start` to before `stop`.

    Returns how many trees it completed and how many failed.

    Raises:
        ConfigError: the forest is gone, or its config is not the one it was seeded with.
        BackendRefusedError: the model server refuses; the forest's page says so.
    """
    close_inherited_connections()
    job = get_current_job()
    ids = {"forest": forest_name} | ({"job": job.id} if job else {})
    with structlog.contextvars.bound_contextvars(**ids):
        return _grow_slice(forest_name, start, stop)


def _grow_slice(forest_name: str, start: int, stop: int) -> dict[str, int]:
    forest = Forest.objects.filter(pk=forest_name).first()
    if forest is None:
        raise ConfigError(f"no forest named {forest_name!r}")
    loaded = load_frozen_config(forest)
    if not may_grow(forest.name):
        return {"complete": 0, "failed": 0}
    mark_started(forest)
    began = time.monotonic()
    log.info("job started", start=start, stop=stop)
    trees = unfinished_trees(forest, range(start, min(stop, forest.num_trees)))
    leases.release_dead(trees)
    try:
        done = asyncio.run(_grow(forest, loaded, [tree["index"] for tree in trees]))
    except BackendRefusedError as error:
        show_backend_message(forest.name, f"{STOPPED}: {error}")
        raise
    finally:
        # Until the last slice of a forest ends, its sums are settled by who watches it.
        left = Forest.objects.filter(pk=forest_name).first()
        if left is not None and not left.num_pending and next(_unfinished(left), None) is None:
            settle_counters(left)
    log.info("job finished", **done, seconds=round(time.monotonic() - began, 3))
    return done


def load_frozen_config(forest: Forest) -> LoadedConfig:
    """Return the config of a forest.

    Raises:
        ConfigError: the file is gone, or is not what the forest was seeded with; or the forest is
            one that takes no rollouts.
    """
    if forest.strategy == RESEGMENTED:
        raise ConfigError(
            f"forest {forest.name!r} holds solutions of another forest, cut into other steps, and "
            "takes no rollouts: grow that one, and run resegment_forest with another suffix"
        )
    loaded = load_config(forest.config_name, settings.CONFIG_PATH)
    if loaded.sha256 != forest.config_sha256:
        raise ConfigError(
            f"config {loaded.path} has changed since forest {forest.name!r} was seeded "
            f"(SHA-256 {forest.config_sha256[:12]}, now {loaded.sha256[:12]}): "
            "put it back, or seed a new forest with another suffix"
        )
    return loaded


def make_client(forest: Forest, config: RolloutConfig | None = None) -> CompletionClient:
    """Return a client of a forest's settings; `config` is needed to draw single steps."""
    worker_config = RolloutWorkerConfig.from_dict(forest.worker_config)
    address = policy_server(worker_config.base_urls)
    rule = StepRule.of(worker_config, config)
    return CompletionClient(address, worker_config, rule, DatabaseMemory())


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


def enqueue_forest(forest: Forest, trees_per_job: int) -> int:
    """Put slices with unfinished trees into the queue and return how many were put there.

    Slices that are in the queue, or in the hands of a living worker, are left alone, so this may be
    repeated at any time, also after the queue was lost. A worker that was killed on this machine is
    known to be dead at once, one elsewhere when its heartbeat has been missing for 90 s. Where no
    slice is unfinished the forest's counters are settled, as a worker may have been killed before
    it counted its last trees.
    """
    leases.release_dead(_with_status(forest, TreeStatus.GROWING))
    slices: dict[int, bool] = {}
    for document in _unfinished(forest):
        number = document["index"] // trees_per_job
        slices[number] = slices.get(number, False) or has_live_lease(document)
    if not slices:
        settle_counters(forest)
    free = sorted(number for number, is_held in slices.items() if not is_held)
    queue = rollout_queue()
    queued = set(queue.get_job_ids())
    return sum(
        _enqueue_batch(queue, queued, forest, batch, trees_per_job) for batch in _batches(free)
    )


def rollout_queue() -> Queue:
    return django_rq.get_queue(settings.ROLLOUT_QUEUE)


def close_inherited_connections() -> None:
    """Drop a connection opened before a fork: a pymongo client does not survive one."""
    cast(DatabaseWrapper, connection).close_pool()


def _enqueue_batch(
    queue: Queue, queued: set[str], forest: Forest, numbers: list[int], trees_per_job: int
) -> int:
    spans = {
        f"grow_{forest.name}_{number * trees_per_job}-{(number + 1) * trees_per_job}": (
            number * trees_per_job,
            (number + 1) * trees_per_job,
        )
        for number in numbers
    }
    known = _known_jobs(queue, list(spans))
    at_work = _jobs_at_work(queue) if known else set()
    for job in known:
        status = job.get_status(refresh=False)
        is_waiting = status is JobStatus.QUEUED and job.id in queued
        # Until its process has begun, a job that a worker has taken is still called queued.
        is_at_work = status in (JobStatus.QUEUED, JobStatus.STARTED) and job.id in at_work
        if is_waiting or is_at_work:
            del spans[job.id]
        else:  # finished, failed, or taken by a worker that is dead
            job.delete()
    queue.enqueue_many(
        Queue.prepare_data(
            grow_slice,
            args=(forest.name, start, stop),
            job_id=job_id,
            timeout=-1,
            result_ttl=3600,
            failure_ttl=86_400,
            description=f"grow {forest.name} {start}-{stop}",
        )
        for job_id, (start, stop) in spans.items()
    )
    return len(spans)


def _jobs_at_work(queue: Queue) -> set[str]:
    """Return the jobs that living workers have taken, also before they claim a tree."""
    workers = Worker.all(queue=queue, serializer=queue.serializer)
    return {
        execution.job_id
        for worker in workers
        if not _is_dead(worker)
        for execution in worker.get_current_executions()
    }


def _is_dead(worker: BaseWorker) -> bool:
    """Return whether a worker is known to be dead; its record goes when its heartbeat is missed."""
    process = as_text(worker.connection.hget(worker.key, PROCESS_OF_WORKER) or "")
    return worker.death_date is not None or leases.is_dead(process)


def _known_jobs(queue: Queue, ids: list[str]) -> list[Job]:
    """Return those jobs that the queue's server has, and delete what is no whole job.

    A worker that goes on while the queue is lost writes its heartbeat where the job has been.
    """
    while True:
        try:
            found = Job.fetch_many(ids, connection=queue.connection, serializer=queue.serializer)
        except NoSuchJobError:
            for key in map(Job.key_for, ids):
                _delete_torn(queue.connection, key)
        else:
            return [job for job in found if job is not None]


def _delete_torn(redis: Redis, key: str) -> None:
    """Delete a job without data, unless somebody puts a whole one there at this moment."""

    def delete(pipeline: Pipeline) -> None:
        is_torn = pipeline.exists(key) and not pipeline.hexists(key, "data")
        pipeline.multi()
        if is_torn:
            pipeline.delete(key)

    redis.transaction(delete, key)


def _batches(numbers: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(numbers), _JOBS_PER_WRITE):
        yield numbers[start : start + _JOBS_PER_WRITE]


def _unfinished(forest: Forest) -> Iterator[Document]:
    for status in leases.UNFINISHED:
        yield from _with_status(forest, status)


def _with_status(forest: Forest, status: str) -> Iterable[Document]:
    """Return what an index finds at once: index and lease of the trees with one status."""
    return collection(Tree).find(
        {"forest_id": forest.name, "status": str(status)},
        {"index": 1, "lease_holder": 1, "lease_expires_at": 1},
    )


async def _grow(forest: Forest, loaded: LoadedConfig, indexes: list[int]) -> dict[str, int]:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        # Tests run jobs outside the main thread, where signals cannot be caught.
        with contextlib.suppress(ValueError, RuntimeError):
            loop.add_signal_handler(number, stop.set)
    watching = asyncio.create_task(_stop_with_parent(stop))
    try:
        async with make_client(forest, loaded.config) as client:
            spent = await _find_abilities(client) if indexes else Spending()
            grower = ForestGrower(forest, loaded.config, client, spent)
            outcome = await grower.grow(indexes, stop)
    finally:
        watching.cancel()
    return {"complete": outcome.complete, "failed": outcome.failed}


async def _find_abilities(client: CompletionClient) -> Spending:
    """Ask the servers what they do, and return what that cost.

    One that is away is waited for by the trees, and asked then.
    """
    spent = Spending()
    with contextlib.suppress(BackendUnavailableError, RequestFailedError):
        await client.find_abilities(spent)
    return spent


async def _stop_with_parent(stop: asyncio.Event) -> None:
    """Stop where the worker that started this process was killed: nobody would stop it later."""
    parent = os.getppid()
    while os.getppid() == parent:
        await asyncio.sleep(SECONDS_BETWEEN_LOOKS_AT_PARENT)
    stop.set()
