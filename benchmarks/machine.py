"""The machine and the software of a measurement."""

import os
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = (
    "Django", "django-mongodb-backend", "pymongo", "SecantusDB", "openai", "aiohttp", "datasets",
    "pyarrow",
)  # fmt: skip
_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Machine:
    cpu: str
    cores: int
    """Cores that this process may use."""
    memory_gibibytes: float
    load: float
    """Average number of processes that wanted a core in the last minute; 0 on an idle machine."""
    python: str
    system: str
    date: str
    libraries: dict[str, str]
    commit: str

    def lines(self) -> Iterator[str]:
        """Yield readable lines."""
        yield f"{self.cpu}, {self.cores} cores, {self.memory_gibibytes} GiB, load {self.load}"
        yield f"Python {self.python}, {self.system}, {self.date}, commit {self.commit}"
        yield ", ".join(f"{name} {number}" for name, number in self.libraries.items())


def this_machine() -> Machine:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(
        cpu=_cpu(),
        cores=_cores(),
        memory_gibibytes=round(memory / 2**30, 1),
        load=round(os.getloadavg()[0], 1),
        python=platform.python_version(),
        system=platform.platform(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        libraries={name: _version(name) for name in LIBRARIES},
        commit=_commit(),
    )


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    names = [line for line in text.splitlines() if line.startswith("model name")]
    return names[0].partition(":")[2].strip() if names else platform.machine()


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "-"


def _commit() -> str:
    """Return the commit of the project's files, with a mark if they have changed since."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        found = subprocess.run(command, cwd=_HERE, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()
