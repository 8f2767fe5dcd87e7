"""Records of the embedded services on a data directory.

The settings import this module, so it must not import Django.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rollouts.growing.process_identity import is_alive, started_at

SERVICES = ("mongodb", "queue", "model")


@dataclass(frozen=True, slots=True)
class Entry:
    """A service that was started."""

    pid: int
    started: str
    """Seconds from boot to its start: the system may reuse the process id."""
    address: str
    port: int

    @classmethod
    def of(cls, pid: int, address: str, port: int) -> "Entry":
        """Return the entry of a running process."""
        started = started_at(pid)
        return cls(pid, "" if started is None else f"{started:.2f}", address, port)


def services_directory(data_dir: Path) -> Path:
    return data_dir / "services"


def read_entry(data_dir: Path, service: str) -> Entry | None:
    """Return the entry of a service's last start, running or not; None if it never started."""
    try:
        return Entry(**json.loads(_path(data_dir, service).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def write_entry(data_dir: Path, service: str, entry: Entry) -> None:
    path = _path(data_dir, service)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    aside = path.with_suffix(".new")
    aside.write_text(json.dumps(asdict(entry)))
    aside.replace(path)


def forget_process(data_dir: Path, service: str) -> None:
    """Record that a service was stopped, and keep its port for the next start."""
    if entry := read_entry(data_dir, service):
        write_entry(data_dir, service, replace(entry, pid=0, started=""))


def running_addresses(data_dir: Path) -> dict[str, str]:
    """Return the address of each service whose process is alive."""
    entries = {service: read_entry(data_dir, service) for service in SERVICES}
    return {
        service: entry.address for service, entry in entries.items() if entry and is_running(entry)
    }


def is_running(entry: Entry) -> bool:
    """Return whether the process of an entry is alive. Another process may have its id now."""
    try:
        started = float(entry.started)
    except ValueError:
        return False
    return is_alive(entry.pid, started) is True


def _path(data_dir: Path, service: str) -> Path:
    return services_directory(data_dir) / f"{service}.json"
