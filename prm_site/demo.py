"""The whole flow on the embedded services: what `manage.py demo` runs."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from common.commands import EXIT_INTERRUPTED, EXIT_PARTLY_FAILED
from common.errors import UserError
from prm_site.services import processes, registry, supervisor
from prm_site.services.definitions import ALL

CONFIG = "demo_arithmetic"
SPLIT = "train"
SUFFIX = "demo"
FOREST = f"{CONFIG}-{SPLIT}-{SUFFIX}"
SECONDS_TO_START_SERVICES = 240.0


class DemoError(UserError):
    """A stage failed. The message is one line; the stage itself has printed the reason."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of the flow: a command that a user would type."""

    title: str
    arguments: Sequence[str]


def stages(limit: int, output: Path) -> list[Stage]:
    """Return the steps of the flow in the order of a user."""
    forest = ["--forest_name", FOREST]
    return [
        Stage("Verify the config", [
            "verify_config", "--config_name", CONFIG, "--dataset_split", SPLIT, "--with_backend",
        ]),
        Stage("Seed the forest", [
            "seed_forest", "--dataset_config_name", CONFIG, "--dataset_split", SPLIT,
            "--forest_name_suffix", SUFFIX, "--limit", str(limit),
        ]),
        Stage("Populate it with rollouts", ["rollout_worker", "--num_processes", "1", *forest]),
        Stage("Preliminary metrics", [
            "beam_search", "--num_beam_values", "1,5", "--value_function_option", "labelled",
            "--aggregation", "mean", *forest,
        ]),
        Stage("Create preferences", ["create_preferences", *forest]),
        Stage("Export them for TRL", [
            "export_preferences", "--format", "trl", "--container", "jsonl,parquet,dataset",
            "--output", str(output), "--overwrite", *forest,
        ]),
    ]  # fmt: skip


def run_stages(base_dir: Path, flow: Sequence[Stage], say: Callable[[str], None]) -> None:
    """Run each stage as its own command. The next run skips finished work.

    Raises:
        DemoError: a stage could not run.
    """
    for number, stage in enumerate(flow, start=1):
        say(f"\n=== {number}/{len(flow)} {stage.title}: manage.py {' '.join(stage.arguments)}")
        began = time.monotonic()
        status = _run([sys.executable, "manage.py", *stage.arguments], base_dir)
        if status == EXIT_INTERRUPTED:
            raise KeyboardInterrupt
        if status not in (0, EXIT_PARTLY_FAILED):
            raise DemoError(f"stage {stage.title!r} ended with status {status}")
        say(f"=== {stage.title}: {time.monotonic() - began:.1f} s")


@contextmanager
def services(base_dir: Path, data_dir: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Context manager in which all services run. Uses running services, or starts its own.

    Raises:
        DemoError: the services do not start, or one is missing among the running ones.
    """
    if process := supervisor.holder(data_dir):
        say(f"using the services that process {process} runs")
        _wait_for_services(data_dir, lambda: bool(supervisor.holder(data_dir)))
        yield
        return
    say("starting the services")
    child = processes.start([sys.executable, "manage.py", "services"], cwd=base_dir)
    try:
        _wait_for_services(data_dir, lambda: child.poll() is None)
        yield
    finally:
        processes.stop(child)


def serve_site(base_dir: Path, port: int, say: Callable[[str], None]) -> None:
    """Serve the pages until interrupted.

    Raises:
        DemoError: the server ended by itself.
    """
    port = processes.free_port(port)
    login = _login(base_dir)
    command = [
        sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1",
        "--port", str(port), "--no-ws", "--blocking-threads", "3", "--backpressure", "512",
        "--log-level", "warning", "prm_site.wsgi:application",
    ]  # fmt: skip
    child = processes.start(command, cwd=base_dir)
    while child.poll() is None and not _accepts(port):
        time.sleep(0.2)
    say(f"\nThe forest: http://127.0.0.1:{port}/{FOREST}/")
    say(f"Log in as {login['username']} with password {login['password']}")
    say("Ctrl-C stops everything; the next `make demo` continues with the same data.")
    try:
        status = child.wait()
    finally:
        processes.stop(child)
    raise DemoError(f"the site ended with status {status}")


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _login(base_dir: Path) -> dict[str, str]:
    """Return the demo user's name and password; create the user on the first run."""
    done = subprocess.run(
        [sys.executable, "manage.py", "demo_user"],
        cwd=base_dir,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DemoError(f"the demo user cannot be made: {done.stderr.strip()}")
    login: dict[str, str] = json.loads(done.stdout)
    return login


def _run(command: Sequence[str], base_dir: Path) -> int:
    """Run a child to its end. An interruption stops the child first."""
    child = processes.start(command, cwd=base_dir)
    try:
        return child.wait()
    except KeyboardInterrupt:
        processes.stop(child)
        raise


def _wait_for_services(data_dir: Path, are_starting: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS_TO_START_SERVICES
    while not supervisor.is_ready(data_dir):
        if not are_starting():
            raise DemoError("the services did not start")
        if time.monotonic() > deadline:
            raise DemoError(f"the services took over {SECONDS_TO_START_SERVICES:g} s to start")
        time.sleep(0.2)
    running = registry.running_addresses(data_dir)
    missing = [s.name for s in ALL if s.name not in running and not s.named_addresses(os.environ)]
    if missing:
        raise DemoError(
            f"the running services lack {', '.join(missing)}: stop them, and the demo starts all"
        )
