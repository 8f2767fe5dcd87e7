"""The RQ worker for rollouts. `rqworker rollouts` uses it because of the setting RQ."""

import contextlib
import ctypes
import gc
import math
import multiprocessing
import os
import signal
import sys
import time
from typing import Any

from rq import Worker
from rq.exceptions import NoSuchJobError, StopRequested
from rq.job import Job
from rq.queue import Queue
from rq.serializers import JSONSerializer

import rollouts.client.backend  # noqa: F401  import its library once, before the forks
from rollouts.growing import leases
from rollouts.workers import queue_guard
from rollouts.workers.jobs import PROCESS_OF_WORKER, forest_of, is_left_by

SECONDS_BETWEEN_LOOKS_AT_STOP = 10
SECONDS_TO_LEAVE_ALONE = 60.0
"""How long a worker skips jobs of a forest that it could not grow: settings may change."""
SECONDS_BETWEEN_LOOKS_AT_OTHERS_JOBS = 1.0
_PR_SET_PDEATHSIG = 1


def _stop_with_pool() -> None:
    """Ask the kernel for SIGTERM when the pool that started this worker dies."""
    pool = multiprocessing.parent_process()
    if pool is None:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != pool.pid:  # the pool died while we were starting
        raise SystemExit(1)


class RolloutWorker(Worker):
    """Forks a process for each job, and forwards a stop to it.

    RQ's own worker lets the job finish. This one ends as soon as the job has written its samples.

    A job that this worker cannot do, because its config or model server differs, goes back to the
    end of the queue. For a while the worker skips jobs of that forest.
    """

    preloaded = queue_guard  # imported before the fork, not once in each job

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # The commands of django-rq pass their own default, not the queue's serializer.
        super().__init__(*args, **(kwargs | {"serializer": JSONSerializer}))
        self._left_until: dict[str, float] = {}
        """Forests to skip, each with the end of the pause on the monotonic clock."""

    def serialize(self) -> dict[str, Any]:
        """Return this worker's record in Redis, with the identity of its process."""
        return super().serialize() | {PROCESS_OF_WORKER: leases.new_holder()}

    def work(self, *args: Any, **kwargs: Any) -> bool:
        """Work until stopped, without RQ's scheduler: our jobs are never scheduled for a time.

        RQ's pool starts a scheduler, and hangs if it is stopped at that moment.
        """
        # RQ installs its signal handlers only after it has registered the worker.
        self._install_signal_handlers()  # type: ignore[no-untyped-call]
        _stop_with_pool()
        gc.freeze()  # else the first collection in each job's process copies all loaded memory
        try:
            return super().work(*args, **(kwargs | {"with_scheduler": False}))
        except StopRequested:  # RQ catches this only while it waits for a job
            self.register_death()  # type: ignore[no-untyped-call]
            return False

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """Return the next job, or None when the worker shall end.

        RQ signals a stop by raising wherever the code happens to be. A broad `except` there can
        swallow it, for example in logging, so poll the flag too.
        """
        idle_since = time.monotonic()
        while not self._stop_requested:
            if self._has_only_others_jobs():
                if timeout is None or _is_over(idle_since, max_idle_time):
                    return None
                self.heartbeat()
                time.sleep(SECONDS_BETWEEN_LOOKS_AT_OTHERS_JOBS)
                continue
            idle = min(SECONDS_BETWEEN_LOOKS_AT_STOP, max_idle_time or math.inf)
            found = super().dequeue_job_and_maintain_ttl(timeout, int(idle))
            if found is None and (timeout is None or _is_over(idle_since, max_idle_time)):
                return None
            if found is not None and self._leaves(forest_of(found[0].id)):
                self._put_back(*found)
            elif found is not None:
                return found
        return None

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Let a process do the job, and skip its forest for a while if the job was put back."""
        began = time.time()
        super().execute_job(job, queue)
        with contextlib.suppress(NoSuchJobError):  # the queue was emptied
            if is_left_by(job, self.name, began):
                until = time.monotonic() + SECONDS_TO_LEAVE_ALONE
                self._left_until[forest_of(job.id)] = until

    def _leaves(self, forest_name: str) -> bool:
        return self._left_until.get(forest_name, 0.0) > time.monotonic()

    def _has_only_others_jobs(self) -> bool:
        """Return whether the queues hold jobs, but none that this worker may take.

        Moves the jobs before the first one that it may take to the end of the queue. Each move is
        atomic in Redis, so a killed worker loses no job.
        """
        if not any(map(self._leaves, self._left_until)):
            return False
        num_others = 0
        for queue in self.queues:
            for place, job_id in enumerate(queue.get_job_ids()):
                if not self._leaves(forest_of(job_id)):
                    for _ in range(place):
                        self.connection.lmove(queue.key, queue.key, "LEFT", "RIGHT")
                    return False
                num_others += 1
        return num_others > 0

    def _put_back(self, job: Job, queue: Queue) -> None:
        """Return a job to the end of the queue: it became the first while this worker took one."""
        with self.connection.pipeline() as pipeline:
            queue.push_job_id(job.id, pipeline=pipeline)
            pipeline.lrem(queue.intermediate_queue_key, 1, job.id)
            pipeline.execute()

    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        """Fork the job's process, and stop it if a stop arrived before its id was known."""
        super().fork_work_horse(job, queue)
        if self._stop_requested:
            self._stop_horse()

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        """Do the job in its own process, unless a stop came before the signal handlers were set."""
        self.setup_work_horse_signals()  # type: ignore[no-untyped-call]
        if self._stop_requested:
            os._exit(1)
        super().main_work_horse(job, queue)

    def handle_warm_shutdown_request(self) -> None:
        self._stop_requested = True
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]
        if self.horse_pid:
            self._stop_horse()

    def _stop_horse(self) -> None:
        # RQ signals the process group. Until the child has its own, that would be ours.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.horse_pid, signal.SIGTERM)


def _is_over(since: float, seconds: float | None) -> bool:
    return seconds is not None and time.monotonic() - since >= seconds
