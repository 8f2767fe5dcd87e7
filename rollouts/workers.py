"""RQ's worker and job for rollouts: `rqworker rollouts` uses them through the setting RQ."""

import ctypes
import os
import signal
import sys
from typing import Any, ClassVar

from rq import Worker
from rq.exceptions import StopRequested
from rq.job import Job
from rq.serializers import JSONSerializer

from rollouts import jobs

STOP_WITH_PARENT = "PRM_STOP_WITH_PARENT"
"""Names the process, in the environment of workers that must not outlive it."""

_PR_SET_PDEATHSIG = 1


class RolloutJob(Job):
    """Names a slice of a forest, and can do nothing else, whoever put it into the queue.

    RQ's own job calls any function, and asks any address, that stands there.
    """

    functions: ClassVar = {f"{jobs.__name__}.{jobs.grow_slice.__name__}": jobs.grow_slice}

    @property
    def func(self) -> Any:
        if self.instance or self.func_name not in self.functions:
            raise ValueError(f"job {self.id} calls {self.func_name}, which is no job of this site")
        return self.functions[self.func_name]

    def restore(self, raw_data: Any) -> None:
        super().restore(raw_data)
        self._success_callback_name = self._failure_callback_name = None
        self._stopped_callback_name = None
        self.webhooks = []


class RolloutWorker(Worker):
    """Forks a process for each job, and passes a stop on to it.

    RQ's own worker lets the job run to its end; ours ends when what has arrived is written.
    """

    preloaded = jobs  # imported before the fork, not once in each job

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # The commands of django-rq pass their default, which is not the queue's.
        super().__init__(
            *args, **(kwargs | {"serializer": JSONSerializer, "job_class": RolloutJob})
        )

    def bootstrap(self, *args: Any, **kwargs: Any) -> None:
        if parent := os.environ.get(STOP_WITH_PARENT):
            if sys.platform == "linux":
                ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != int(parent):  # it died while we were starting
                raise SystemExit(1)
        super().bootstrap(*args, **kwargs)

    def work(self, *args: Any, **kwargs: Any) -> bool:
        try:
            return super().work(*args, **kwargs)
        except StopRequested:  # RQ catches it only while it waits for a job
            return False

    def handle_warm_shutdown_request(self) -> None:
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]
        if self.horse_pid:
            self.kill_horse(signal.SIGTERM)
