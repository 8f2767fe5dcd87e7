"""The contents of the queue for its page: jobs, workers, and why jobs failed."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from rq.exceptions import DeserializationError, NoSuchJobError
from rq.job import Job
from rq.queue import Queue
from rq.registry import FailedJobRegistry, StartedJobRegistry
from rq.worker import BaseWorker, Worker

from common.text import one_line, printable
from rollouts.workers.jobs import forest_of

JOBS_PER_PAGE = 50
MAX_WAITING_SHOWN = 50
MAX_WORKERS_SHOWN = 200
_SLICE = re.compile(r"_(\d+)-(\d+)$")


class ShownJob(NamedTuple):
    """A slice of a forest in the queue."""

    id: str
    forest: str
    """Empty if the job does not belong to a forest."""
    first_tree: int | None
    last_tree: int | None
    since: datetime | None
    """When it was enqueued, began or failed."""
    reason: str = ""
    """The last line of the error; empty if it did not fail."""
    traceback: str = ""


class ShownWorker(NamedTuple):
    """A worker of the queue, on any machine."""

    name: str
    host: str
    state: str
    job: ShownJob | None
    last_heartbeat: datetime | None
    num_done: int
    num_failed: int


@dataclass(frozen=True)
class QueueState:
    """The queue as a whole, and one page of its failed jobs."""

    name: str
    num_waiting: int
    waiting: Sequence[ShownJob]
    running: Sequence[ShownJob]
    num_failed: int
    failed: Sequence[ShownJob]
    num_workers: int
    workers: Sequence[ShownWorker]


def read_queue(queue: Queue, page: int) -> QueueState:
    """Return the state of the queue; `page` is that of the failed jobs, from 1."""
    failed = FailedJobRegistry(queue=queue)
    running = StartedJobRegistry(queue=queue)
    start = (page - 1) * JOBS_PER_PAGE
    failed_ids = failed.get_job_ids(start, start + JOBS_PER_PAGE - 1, desc=True)
    workers = Worker.all(queue=queue)
    return QueueState(
        name=queue.name,
        num_waiting=queue.count,
        waiting=list(_jobs(queue, queue.get_job_ids(0, MAX_WAITING_SHOWN))),
        running=list(_jobs(queue, running.get_job_ids(cleanup=False))),
        num_failed=failed.get_job_count(cleanup=False),
        failed=list(_jobs(queue, failed_ids)),
        num_workers=len(workers),
        workers=sorted(
            (_worker(queue, one) for one in workers[:MAX_WORKERS_SHOWN]), key=lambda one: one.name
        ),
    )


def failed_job(queue: Queue, job_id: str) -> Job | None:
    """Return a job that failed; None if there is no such job any more."""
    if job_id not in FailedJobRegistry(queue=queue):
        return None
    with suppress(NoSuchJobError):
        return Job.fetch(job_id, connection=queue.connection, serializer=queue.serializer)
    return None


def _jobs(queue: Queue, ids: Sequence[str]) -> Iterator[ShownJob]:
    found = Job.fetch_many(ids, connection=queue.connection, serializer=queue.serializer)
    for id_, job in zip(ids, found, strict=True):
        yield _shown(id_, job)


def _shown(id_: str, job: Job | None) -> ShownJob:
    """Return a job by its id, times and result, not its data: others may write into Redis."""
    place = _SLICE.search(id_)
    traceback = _traceback_of(job) if job else ""
    since = (job.ended_at or job.started_at or job.enqueued_at) if job else None
    return ShownJob(
        id=id_,
        forest=forest_of(id_) if place else "",
        first_tree=int(place[1]) if place else None,
        last_tree=int(place[2]) - 1 if place else None,
        since=since.astimezone(UTC) if since else None,
        reason=one_line(traceback.strip().rpartition("\n")[2]),
        traceback=traceback,
    )


def _traceback_of(job: Job) -> str:
    with suppress(DeserializationError, ValueError):
        result = job.latest_result()
        return printable((result and result.exc_string) or "")
    return "the result of this job cannot be read"


def _worker(queue: Queue, worker: BaseWorker) -> ShownWorker:
    job_id = worker.get_current_job_id()
    heartbeat = worker.last_heartbeat
    return ShownWorker(
        name=printable(worker.name),
        host=printable(worker.hostname or ""),
        state=str(worker.get_state()),
        job=next(_jobs(queue, [job_id])) if job_id else None,
        last_heartbeat=heartbeat.replace(tzinfo=heartbeat.tzinfo or UTC) if heartbeat else None,
        num_done=worker.successful_job_count,
        num_failed=worker.failed_job_count,
    )
