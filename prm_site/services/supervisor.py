"""Start the embedded services on a data directory, keep them running, and stop them."""

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from common.errors import UserError
from prm_site.services import processes, registry
from prm_site.services.definitions import Service

SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_TO_GET_LOCK = 0.5
MAX_RESTARTS = 5
"""The supervisor gives up after this many restarts of one service in a row."""
SECONDS_OF_HEALTH = 60.0
"""A service that ran this long counts as healthy, which resets its restarts."""


class ServiceError(UserError):
    """A service does not start or stay running. The message is one line with the remedy."""


def holder(data_dir: Path) -> str:
    """Return the id of the process that supervises a data directory; empty if there is none."""
    try:
        lock = _lock_file(data_dir).open()
    except FileNotFoundError:
        return ""
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return lock.read().strip()
    return ""


def is_ready(data_dir: Path) -> bool:
    """Return whether services run on a data directory and are ready."""
    process = holder(data_dir)
    try:
        return bool(process) and _ready_file(data_dir).read_text() == process
    except FileNotFoundError:
        return False


class Supervisor:
    """Context manager in which services run. Only one for each data directory."""

    def __init__(
        self, data_dir: Path, services: Sequence[Service], say: Callable[[str], None]
    ) -> None:
        self.data_dir = data_dir
        self.services = services
        self.say = say
        self._directory = registry.services_directory(data_dir)
        self._lock: IO[str] | None = None
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._started_at: dict[str, float] = {}
        self._restarts: dict[str, int] = {}

    def __enter__(self) -> Self:
        """Start all services.

        Raises:
            ServiceError: another supervisor uses this directory, or a service does not start.
            MissingPackageError: a package is not installed.
        """
        self._take_lock()
        try:
            for service in self.services:
                self._end_leftover(service)
                self._start(service)
        except BaseException:
            self._stop_all()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop_all()

    def mark_ready(self) -> None:
        """Tell waiting processes that the services are ready."""
        _ready_file(self.data_dir).write_text(str(os.getpid()))

    def watch(self) -> None:
        """Restart services that die, until interrupted.

        Raises:
            ServiceError: a service keeps dying.
        """
        while True:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            self.restart_dead()

    def restart_dead(self) -> None:
        """Restart each service whose process has ended, on the same data and port."""
        for service in self.services:
            status = self._running[service.name].poll()
            if status is None:
                continue
            if time.monotonic() - self._started_at[service.name] > SECONDS_OF_HEALTH:
                self._restarts[service.name] = 0
            self._restarts[service.name] = self._restarts.get(service.name, 0) + 1
            if self._restarts[service.name] > MAX_RESTARTS:
                raise ServiceError(f"{service.name} keeps dying: {self._log_hint(service)}")
            self.say(f"{service.name} ended with status {status}: restarting it")
            self._start(service)

    def _start(self, service: Service) -> None:
        directory = self.data_dir / service.name
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        before = registry.read_entry(self.data_dir, service.name)
        port = processes.free_port(before.port if before else None)
        child = processes.start(service.command(directory, port), log=self._log(service))
        self._running[service.name] = child
        self._started_at[service.name] = time.monotonic()
        address = service.address(port)
        self._wait_until_ready(service, child, address)
        registry.write_entry(
            self.data_dir,
            service.name,
            registry.Entry.of(child.pid, address, port),
        )

    def _wait_until_ready(
        self, service: Service, child: subprocess.Popen[bytes], address: str
    ) -> None:
        deadline = time.monotonic() + service.seconds_to_start
        while not service.is_ready(address):
            if child.poll() is not None:
                raise ServiceError(
                    f"{service.name} ended with status {child.returncode} while starting: "
                    f"{self._log_hint(service)}"
                )
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"{service.name} was not ready in {service.seconds_to_start:g} s: "
                    f"{self._log_hint(service)}"
                )
            time.sleep(0.1)

    def _take_lock(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _lock_file(self.data_dir).open("a+")
        # `holder` takes the lock for a moment too.
        deadline = time.monotonic() + SECONDS_TO_GET_LOCK
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    lock.close()
                    raise ServiceError(
                        f"services already run on {self.data_dir} "
                        f"(process {holder(self.data_dir)}): use those, or stop them first"
                    ) from error
                time.sleep(0.02)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    def _end_leftover(self, service: Service) -> None:
        """End a service that outlived its killed supervisor; only Linux ends it by itself."""
        entry = registry.read_entry(self.data_dir, service.name)
        if entry is None or not registry.is_running(entry):
            return
        deadline = time.monotonic() + processes.SECONDS_TO_STOP
        with suppress(ProcessLookupError):
            os.kill(entry.pid, signal.SIGTERM)
            while registry.is_running(entry):
                if time.monotonic() > deadline:
                    os.kill(entry.pid, signal.SIGKILL)
                time.sleep(0.1)

    def _stop_all(self) -> None:
        """Stop in reverse order, so that services used by others stop last."""
        for name in reversed(self._running):
            processes.stop(self._running[name])
            registry.forget_process(self.data_dir, name)
        self._running.clear()
        _ready_file(self.data_dir).unlink(missing_ok=True)
        if self._lock:
            self._lock.close()
            self._lock = None

    def _log(self, service: Service) -> Path:
        return self._directory / f"{service.name}.log"

    def _log_hint(self, service: Service) -> str:
        lines = self._log(service).read_text(errors="replace").strip().splitlines()
        return f"see {self._log(service)}" + (f" ({lines[-1][:200]})" if lines else "")


def _lock_file(data_dir: Path) -> Path:
    return registry.services_directory(data_dir) / "lock"


def _ready_file(data_dir: Path) -> Path:
    """Return the file with the process id of a supervisor whose services are ready."""
    return registry.services_directory(data_dir) / "ready"
