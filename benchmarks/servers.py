"""Servers that benchmarks start: an empty database, a queue and a simulated model server."""

import contextlib
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from prm_site.services.definitions import MODEL, MONGODB, QUEUE
from prm_site.services.registry import running_addresses
from prm_site.services.supervisor import Supervisor

PROJECT = Path(__file__).resolve().parent.parent
SIMULATOR = "openai_simulator.py"
MODEL_SERVER = "model server"
DATABASE = "database"


@contextlib.contextmanager
def empty_database() -> Iterator[None]:
    """Context manager with a temporary database and queue in the environment for Django.

    They are the embedded services that users have. BENCHMARK_MONGODB_URI names another database to
    use instead: the written data stays there.
    """
    other = os.environ.get("BENCHMARK_MONGODB_URI")
    services = [QUEUE] if other else [MONGODB, QUEUE]
    with (
        tempfile.TemporaryDirectory() as directory,
        Supervisor(Path(directory), services, lambda said: print(said, file=sys.stderr)),
    ):
        started = running_addresses(Path(directory))
        os.environ |= {
            "MONGODB_URI": other or started[MONGODB.name], "REDIS_URL": started[QUEUE.name],
            "PRM_DATA_DIR": directory, "PRM_DATABASE_NAME": "benchmark",
            "PRM_ENV_FILE": "", "DJANGO_SETTINGS_MODULE": "prm_site.settings",
        }  # fmt: skip
        subprocess.run([sys.executable, "manage.py", "migrate", "-v", "0"], cwd=PROJECT, check=True)
        yield


def cpu_of_servers() -> Counter[str]:
    """Return the CPU seconds so far of the model server, and of the database with the queue.

    Call it in the benchmark's own process, or in one that it started with `multiprocessing`.
    """
    us = psutil.Process()
    owner = us if multiprocessing.parent_process() is None else us.parent()
    seconds: Counter[str] = Counter()
    for child in owner.children() if owner else ():
        with contextlib.suppress(psutil.Error):  # it has ended meanwhile
            words = " ".join(child.cmdline())
            if "multiprocessing" not in words:
                name = MODEL_SERVER if SIMULATOR in words else DATABASE
                for one in (child, *child.children(recursive=True)):
                    times = one.cpu_times()
                    seconds[name] += times.user + times.system
    return seconds


def stats(url: str) -> dict[str, float]:
    found: dict[str, float] = ask(url, "/stats")
    return found


def ask(url: str, path: str) -> Any:
    with urllib.request.urlopen(f"{url}{path}", timeout=10) as response:  # noqa: S310  ours
        return json.load(response)


@contextlib.contextmanager
def simulator(latency: float, *options: str) -> Iterator[str]:
    """Run a simulated model server with these command-line options, and yield its address."""
    port = free_port()
    script = Path(__file__).with_name(SIMULATOR)
    command = [
        sys.executable,
        str(script),
        "--port",
        str(port),
        "--latency",
        str(latency),
        *options,
    ]
    with _serving(command, f"http://127.0.0.1:{port}", "/reset") as url:
        yield url


@contextlib.contextmanager
def llama_cpp(slots: int) -> Iterator[str]:
    """Run a llama.cpp server with the packaged model, and yield its address for clients."""
    port = free_port()
    url = MODEL.address(port)
    command = [*MODEL.command(PROJECT, port), "--parallel", str(slots)]
    with _serving(command, url, "/models", stderr=subprocess.DEVNULL):
        yield url


@contextlib.contextmanager
def _serving(command: list[str], url: str, path: str, **options: Any) -> Iterator[str]:
    """Run a server, and yield its address once it answers at a path."""
    child = subprocess.Popen(command, cwd=PROJECT, **options)
    try:
        wait_for(lambda: ask(url, path))
        yield url
    finally:
        child.terminate()
        child.wait()


def wait_for(attempt: Any, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            attempt()
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
