"""Run RQ workers as child processes until a forest is grown."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.core.management.base import OutputWrapper

from forests.models import Forest
from forests.store import is_held, leave_forest
from rollouts.jobs import enqueue_forest
from rollouts.recording import settle_counters
from rollouts.watching import GrowthSummary, watch_growth
from rollouts.workers import STOP_WITH_PARENT

SECONDS_TO_STOP = 30.0
SECONDS_TO_END_UNASKED = 5.0
_ROUNDS_WITHOUT_PROGRESS = 2


def grow_with_processes(
    forest: Forest, num_processes: int, trees_per_job: int, stderr: OutputWrapper
) -> GrowthSummary:
    """Enqueue a forest and work on it with child processes; return the final state.

    What a killed worker leaves behind is enqueued again. Ends early where a round of workers makes
    no progress, or the model server refuses.

    Raises:
        KeyboardInterrupt: on SIGINT or SIGTERM, after the workers have written what had arrived.
    """
    # A forest with fewer trees than processes times slices would leave processes idle.
    per_job = max(1, min(trees_per_job, -(-forest.num_pending // num_processes)))
    idle_rounds = 0
    while True:
        before = Forest.objects.get(pk=forest.name)
        enqueue_forest(before, per_job)
        with _workers(num_processes) as workers:
            summary = watch_growth(
                forest.name,
                stderr,
                goes_on=lambda _: any(worker.poll() is None for worker in workers),
            )
        settle_counters(before)
        after = Forest.objects.get(pk=forest.name)
        made_progress = after.num_pending != before.num_pending
        # Trees that workers elsewhere hold, or held until their leases end, are waited for.
        idle_rounds = 0 if made_progress or is_held(after) else idle_rounds + 1
        is_over = after.is_stopped or after.spent_limit
        if not after.num_pending or is_over or idle_rounds >= _ROUNDS_WITHOUT_PROGRESS:
            if after.num_pending:
                leave_forest(after)  # also for workers that were killed
            return summary


@contextmanager
def _workers(number: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start workers that end when the queue is empty; stop those that are left at the end."""
    command = [
        sys.executable, "manage.py", "rqworker", settings.ROLLOUT_QUEUE, "--burst", "-v", "0",
    ]  # fmt: skip
    environment = os.environ | {STOP_WITH_PARENT: str(os.getpid())}
    workers = [
        subprocess.Popen(  # noqa: S603
            command, cwd=settings.BASE_DIR, env=environment, start_new_session=True
        )
        for _ in range(number)
    ]
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield workers
        _wait(workers, SECONDS_TO_END_UNASKED)
    finally:
        signal.signal(signal.SIGTERM, previous)
        _stop(workers)


def _wait(workers: list[subprocess.Popen[bytes]], seconds: float) -> None:
    """Let workers that find the queue empty end by themselves."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(worker.poll() is None for worker in workers):
        time.sleep(0.1)


def _stop(workers: list[subprocess.Popen[bytes]]) -> None:
    """Ask the workers to write what has arrived and end."""
    for worker in workers:
        if worker.poll() is None:
            worker.terminate()
    for worker in workers:
        try:
            worker.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            worker.kill()
