"""Which embedded services run on a data directory: read by the settings, so no Django here."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

SERVICES = ("mongodb", "queue", "model")


@dataclass(frozen=True, slots=True)
class Entry:
    """A service that was started."""

    pid: int
    started: str
    """Start time of the process: a process id alone may come back as another process."""
    address: str
    port: int


def services_directory(data_dir: Path) -> Path:
    return data_dir / "services"


def read_entry(data_dir: Path, service: str) -> Entry | None:
    """Return what was last started, running or not; None where nothing was."""
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


def running_addresses(data_dir: Path) -> dict[str, str]:
    """Return the address of each service whose process is alive."""
    entries = {service: read_entry(data_dir, service) for service in SERVICES}
    return {
        service: entry.address for service, entry in entries.items() if entry and is_running(entry)
    }


def is_running(entry: Entry) -> bool:
    """Return whether the very process that was started is still there."""
    try:
        os.kill(entry.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return bool(entry.started) and start_time(entry.pid) == entry.started
    return start_time(entry.pid) == entry.started


def start_time(pid: int) -> str:
    """Return when a process started, in the kernel's ticks; empty where there is no /proc."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = status.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]


def _path(data_dir: Path, service: str) -> Path:
    return services_directory(data_dir) / f"{service}.json"
