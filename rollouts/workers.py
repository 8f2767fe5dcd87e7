"""RQ's worker for rollouts: `rqworker rollouts` uses it through the setting RQ."""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
from typing import Any

from rq import Worker
from rq.exceptions import StopRequested
from rq.job import Job
from rq.queue import Queue
from rq.serializers import JSONSerializer

from rollouts import leases, queue_guard
from rollouts.jobs import PROCESS_OF_WORKER

STOP_WITH_PARENT = "PRM_STOP_WITH_PARENT"
"""Names the process, in the environment of workers that must not outlive it."""

SECONDS_BETWEEN_LOOKS_AT_STOP = 10
_PR_SET_PDEATHSIG = 1


def _stop_with_parent() -> None:
    """Be told to stop when the pool, or the process that says so in the environment, is no more."""
    pool = multiprocessing.parent_process()
    parent = pool.pid if pool else int(os.environ.get(STOP_WITH_PARENT) or 0)
    if not parent:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died while we were starting
        raise SystemExit(1)


class RolloutWorker(Worker):
    """Forks a process for each job, and passes a stop on to it.

    RQ's own worker lets the job run to its end; ours ends when what has arrived is written.
    """

    preloaded = queue_guard  # imported before the fork, not once in each job

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # The commands of django-rq pass their default, which is not the queue's.
        super().__init__(*args, **(kwargs | {"serializer": JSONSerializer}))

    def serialize(self) -> dict[str, Any]:
        """Return what the queue's server keeps of this worker, and which process it is."""
        return super().serialize() | {PROCESS_OF_WORKER: leases.new_holder()}

    def work(self, *args: Any, **kwargs: Any) -> bool:
        """Work until stopped, without the scheduler of RQ: no job of ours waits for a time.

        RQ's pool starts one, and waits for it forever where it is stopped at that moment.
        """
        # RQ does so after it has told that the worker is there.
        self._install_signal_handlers()  # type: ignore[no-untyped-call]
        _stop_with_parent()
        try:
            return super().work(*args, **(kwargs | {"with_scheduler": False}))
        except StopRequested:  # RQ catches it only while it waits for a job
            self.register_death()  # type: ignore[no-untyped-call]
            return False

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """Return the next job, or None when the worker is to end.

        Of a stop RQ tells by an exception in the midst of anything, which what it meets there, such
        as logging, may catch: so the worker looks itself, again and again.
        """
        if timeout is None or max_idle_time is not None:
            return super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)
        while not self._stop_requested:
            found = super().dequeue_job_and_maintain_ttl(timeout, SECONDS_BETWEEN_LOOKS_AT_STOP)
            if found is not None:
                return found
        return None

    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        """Fork the job's process, and stop it where a stop came while its id was not known yet."""
        super().fork_work_horse(job, queue)
        if self._stop_requested:
            self._stop_horse()

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        """Do the job in its own process, unless a stop came before it could be told of one."""
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
        # Not its process group, as RQ does: until it has made one, that is ours.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.horse_pid, signal.SIGTERM)
