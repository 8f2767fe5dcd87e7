"""Grow one forest with child processes, without the queue."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from django.conf import settings
from django.core.management.base import OutputWrapper

from common.errors import UserError
from common.places import module_command
from forests.models import Forest
from forests.storage.trees import leave_forest
from rollouts.growing.grower import may_grow
from rollouts.growing.recorder import settle_counters
from rollouts.workers.watching import GrowthSummary, watch_growth

log = structlog.stdlib.get_logger(__name__)

SECONDS_TO_STOP = 30.0
SECONDS_TO_END_UNASKED = 5.0
SECONDS_BEFORE_REPLACING = 2.0
MAX_LOST_IN_A_ROW = 5
"""Stop when more processes than this end early without a tree being finished between them."""
_MAX_BYTES_OF_REPORT = 65_536


class WorkerFailedError(UserError):
    """A worker process cannot continue, so no other can. The message is one line."""


def grow_with_processes(
    forest: Forest, requests: Sequence[int], stderr: OutputWrapper
) -> GrowthSummary:
    """Grow a forest with one child process for each entry of `requests`; return the final state.

    Each entry is the number of requests in flight of one process. A killed process is replaced
    after a pause. Its trees are free again at once.

    Raises:
        WorkerFailedError: a process cannot grow the forest, or processes are killed repeatedly.
        KeyboardInterrupt: on SIGINT or SIGTERM, after all processes have written their samples.
    """
    children = _Children(forest.name, requests)
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return watch_growth(
            forest.name,
            stderr,
            goes_on=lambda _: children.look_after(),
            at_end=lambda: children.end(SECONDS_TO_END_UNASKED),
        )
    except BaseException:
        children.end(0.0)
        raise
    finally:
        signal.signal(signal.SIGTERM, previous)


@dataclass(slots=True)
class _Child:
    process: subprocess.Popen[bytes]
    report: int
    """Pipe for the reason why the process ended."""

    @classmethod
    def start(cls, forest_name: str, share: int, requests: Sequence[int]) -> "_Child":
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        numbers = (share, len(requests), requests[share], os.getpid())
        process = subprocess.Popen(  # noqa: S603
            module_command("rollouts", str(writing), forest_name, *map(str, numbers)),
            cwd=settings.BASE_DIR,
            stdin=subprocess.DEVNULL,
            pass_fds=[writing],
            start_new_session=True,  # Ctrl-C reaches only the parent, which stops its children
        )
        os.close(writing)
        return cls(process, reading)

    def read_report(self) -> str:
        """Return why the process could not continue, in one line; empty if unknown. Call once."""
        try:
            written = os.read(self.report, _MAX_BYTES_OF_REPORT)
        except BlockingIOError:
            written = b""
        os.close(self.report)
        return str(json.loads(written)) if written else ""


class _Children:
    """The worker processes of one forest, one for each share of its trees."""

    def __init__(self, forest_name: str, requests: Sequence[int]) -> None:
        self.forest_name = forest_name
        self.requests = requests
        self.running: dict[int, _Child] = {}
        self._due: dict[int, float] = dict.fromkeys(range(len(requests)), 0.0)
        """Shares without a process, each with the earliest time to start one."""
        self._num_lost = 0
        self._num_pending: int | None = None

    def look_after(self) -> bool:
        """Start processes that are due; return whether any is running or due.

        Raises:
            WorkerFailedError: a process cannot continue, or too many have died.
        """
        for share, child in list(self.running.items()):
            if child.process.poll() is not None:
                del self.running[share]
                self._see_off(share, child)
        for share in [one for one, due in self._due.items() if due <= time.monotonic()]:
            del self._due[share]
            self.running[share] = _Child.start(self.forest_name, share, self.requests)
        return bool(self.running or self._due)

    def _see_off(self, share: int, child: _Child) -> None:
        status = child.process.returncode
        if message := child.read_report():
            raise WorkerFailedError(message)
        if not may_grow(self.forest_name) or (status == 0 and self.running):
            return  # no work is left, or the other processes do it
        forest = Forest.objects.get(pk=self.forest_name)
        settle_counters(forest)
        forest.refresh_from_db()
        if not forest.num_pending:
            return
        if forest.num_pending != self._num_pending:
            self._num_lost, self._num_pending = 0, forest.num_pending
        self._num_lost += 1
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        if self._num_lost > MAX_LOST_IN_A_ROW:
            raise WorkerFailedError(
                f"{self._num_lost} worker processes ended before a tree was finished, and the last "
                f"{how}: if memory is short, use fewer processes"
            )
        log.warning("worker process replaced", how=how, process=child.process.pid)
        self._due[share] = time.monotonic() + SECONDS_BEFORE_REPLACING

    def end(self, seconds: float) -> None:
        """Stop all processes after `seconds`, and settle the forest's counters.

        The pause lets processes without unfinished trees end by themselves.
        """
        self._wait(seconds)
        self._stop()
        if forest := Forest.objects.filter(pk=self.forest_name).first():
            settle_counters(forest)
            forest.refresh_from_db()
            if forest.num_pending:
                leave_forest(forest)  # killed workers did not do this

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        processes = [child.process for child in self.running.values()]
        while time.monotonic() < deadline and any(one.poll() is None for one in processes):
            time.sleep(0.1)

    def _stop(self) -> None:
        """Ask all processes to write their samples and end; kill those that do not."""
        processes = [child.process for child in self.running.values()]
        for process in processes:
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + SECONDS_TO_STOP
        for process in processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
