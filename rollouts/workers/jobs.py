"""Queue jobs: slices of forests. The database knows what is left to do in each."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, cast

import django_rq
import structlog
from django.conf import settings
from django.db import connection
from django_mongodb_backend.base import DatabaseWrapper
from redis import Redis
from redis.client import Pipeline
from rq import Retry, Worker
from rq.exceptions import NoSuchJobError
from rq.job import Job, JobStatus, get_current_job
from rq.queue import Queue
from rq.worker import BaseWorker

from forests.models import Forest, TreeStatus
from forests.storage.trees import has_live_lease, server_time
from rollouts.client.failures import NotForThisWorkerError
from rollouts.growing import leases
from rollouts.growing.growing_process import (
    all_unfinished,
    grow_trees,
    trees_with_status,
    unfinished_trees,
)
from rollouts.growing.needs_of_jobs import Needs, show_worker_message
from rollouts.growing.recorder import settle_counters
from rollouts.growing.reservations import free_dead

log = structlog.stdlib.get_logger(__name__)

PROCESS_OF_WORKER = "process"
"""Field of a worker's record in Redis that identifies its process."""
LEFT_BY = "left_by"
"""Key in a job's metadata: which workers have put it back, and when."""
MAX_LEFT_BY = 20
_ANY_NUMBER_OF_TIMES = 10**9
_BEGINNING_OF_ID = "grow_"
_JOBS_PER_WRITE = 500


def grow_slice(
    forest_name: str, start: int, stop: int, needs: Mapping[str, Any] | None = None
) -> dict[str, int] | Retry:
    """Job: grow the unfinished trees with indexes from `start` to before `stop`.

    Returns how many trees it completed and how many failed. If this worker has a different config,
    model or server than the forest needs, returns a `Retry`, which puts the job back.

    `needs` is what the forest needed when the job was enqueued (see `Needs`). The database has the
    current needs. Older versions enqueued jobs without it.

    If the forest was deleted after a worker took the job, the job has nothing to do and ends.

    Raises:
        ConfigError: the forest does not take rollouts.
        NotForThisWorkerError: this worker does not fit the forest, and the call is outside the
            queue, so there is no job to put back.
        BackendRefusedError: the model server refuses requests. The forest's page says so.
    """
    close_inherited_connections()
    job = get_current_job()
    ids = {"forest": forest_name} | ({"job": job.id} if job else {})
    with structlog.contextvars.bound_contextvars(**ids):
        try:
            return _grow_slice(forest_name, start, stop, needs)
        except NotForThisWorkerError as error:
            if job is None:
                raise
            return _put_back(forest_name, job, error)


def _grow_slice(
    forest_name: str, start: int, stop: int, needs: Mapping[str, Any] | None
) -> dict[str, int]:
    forest = Forest.objects.filter(pk=forest_name).first()
    if forest is None:
        log.info("the forest was deleted")
        return {"complete": 0, "failed": 0}
    began = time.monotonic()
    log.info("job started", start=start, stop=stop)
    if needs is not None and dict(needs) != Needs.of(forest).as_dict():
        log.info("the forest has been configured since the job was made")
    trees = unfinished_trees(forest, range(start, min(stop, forest.num_trees)))
    leases.release_dead(trees)
    free_dead(forest)
    grown = grow_trees(forest, [tree["index"] for tree in trees])
    done = {"complete": grown.complete, "failed": grown.failed}
    log.info("job finished", **done, seconds=round(time.monotonic() - began, 3))
    return done


def _put_back(forest_name: str, job: Job, error: NotForThisWorkerError) -> Retry:
    """Show why this worker skips the forest, and return the `Retry` that puts its job back."""
    log.warning("job put back", reason=show_worker_message(forest_name, error))
    left = [*job.meta.get(LEFT_BY, {}).items(), (job.worker_name, time.time())]
    job.meta[LEFT_BY] = dict(left[-MAX_LEFT_BY:])
    job.save_meta()
    return Retry(max=_ANY_NUMBER_OF_TIMES)


def is_left_by(job: Job, worker_name: str, since: float) -> bool:
    """Return whether a worker has put a job back since `since`, in seconds since the epoch."""
    left: Mapping[str, float] = job.get_meta().get(LEFT_BY, {})
    return left.get(worker_name, 0.0) >= since


def enqueue_forest(forest: Forest, trees_per_job: int) -> int:
    """Enqueue slices with unfinished trees; return their number.

    Skips slices that are in the queue or held by a living worker, so it may be repeated any time,
    also after the queue was lost. A killed worker counts as dead at once on this machine, and
    elsewhere after 90 s without a heartbeat. If no slice is unfinished, settles the forest's
    counters, because a worker may have been killed before it counted its last trees.
    """
    leases.release_dead(trees_with_status(forest, TreeStatus.GROWING))
    now = server_time()
    slices: dict[int, bool] = {}
    for document in all_unfinished(forest):
        number = document["index"] // trees_per_job
        slices[number] = slices.get(number, False) or has_live_lease(document, now)
    if not slices:
        settle_counters(forest)
    free = sorted(number for number, is_held in slices.items() if not is_held)
    queue = rollout_queue()
    queued = set(queue.get_job_ids())
    return sum(
        _enqueue_batch(queue, queued, forest, batch, trees_per_job) for batch in _batches(free)
    )


def job_id_of(forest_name: str, start: int, stop: int) -> str:
    return f"{_BEGINNING_OF_ID}{forest_name}_{start}-{stop}"


def forest_of(job_id: str) -> str:
    """Return the forest name in a job id."""
    return job_id.removeprefix(_BEGINNING_OF_ID).rpartition("_")[0]


def rollout_queue() -> Queue:
    return django_rq.get_queue(settings.ROLLOUT_QUEUE)


def close_inherited_connections() -> None:
    """Drop connections opened before a fork: a pymongo client does not survive a fork."""
    cast(DatabaseWrapper, connection).close_pool()


def _enqueue_batch(
    queue: Queue, queued: set[str], forest: Forest, numbers: list[int], trees_per_job: int
) -> int:
    slices = [(number * trees_per_job, (number + 1) * trees_per_job) for number in numbers]
    spans = {job_id_of(forest.name, *span): span for span in slices}
    needs = Needs.of(forest).as_dict()
    known = _known_jobs(queue, list(spans))
    at_work = _jobs_at_work(queue) if known else set()
    for job in known:
        status = job.get_status(refresh=False)
        is_waiting = status is JobStatus.QUEUED and job.id in queued
        # RQ calls a job queued until its process starts, even after a worker has taken it.
        is_at_work = status in (JobStatus.QUEUED, JobStatus.STARTED) and job.id in at_work
        if is_waiting or is_at_work:
            del spans[job.id]
        else:  # finished, failed, or taken by a dead worker
            job.delete()
            queue.intermediate_queue.remove(job.id)  # else RQ would report it as stuck
    queue.enqueue_many(
        Queue.prepare_data(
            grow_slice,
            args=(forest.name, start, stop, needs),
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
    """Return the ids of jobs that living workers have taken, even if they hold no tree yet."""
    workers = Worker.all(queue=queue, serializer=queue.serializer)
    return {
        execution.job_id
        for worker in workers
        if not _is_dead(worker)
        for execution in worker.get_current_executions()
    }


def _is_dead(worker: BaseWorker) -> bool:
    """Return whether a worker is known to be dead. Its record expires if its heartbeat stops."""
    process = cast("bytes", worker.connection.hget(worker.key, PROCESS_OF_WORKER) or b"")
    return worker.death_date is not None or leases.is_dead(process.decode())


def _known_jobs(queue: Queue, ids: list[str]) -> list[Job]:
    """Return the jobs that are in Redis, and delete incomplete ones.

    If the queue is lost, a working worker still writes its heartbeat into the lost job's key.
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
    """Delete a job without data, unless a whole job is stored under its key meanwhile."""

    def delete(pipeline: Pipeline) -> None:
        is_torn = pipeline.exists(key) and not pipeline.hexists(key, "data")
        pipeline.multi()
        if is_torn:
            pipeline.delete(key)

    redis.transaction(delete, key)


def _batches(numbers: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(numbers), _JOBS_PER_WRITE):
        yield numbers[start : start + _JOBS_PER_WRITE]
