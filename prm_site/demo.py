"""The whole flow on the embedded services: what `manage.py demo` runs."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from common.commands import EXIT_INTERRUPTED, EXIT_PARTLY_FAILED
from common.errors import UserError
from common.places import module_command, to_type
from prm_site.services import processes, registry, supervisor
from prm_site.services.definitions import ALL
from prm_site.serving import demo_login, serve_site

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
        # Two leaves for each step do not show which of two steps is better. Without more leaves,
        # hardly any pair has the wanted confidence.
        Stage("Choose the steps that need more rollouts", [
            "refine_forest", "--goal", "pairs", "--target_confidence", "0.8",
            "--max_rollouts", "16", *forest,
        ]),
        Stage("Draw them", ["rollout_worker", "--num_processes", "1", *forest]),
        # `--replace`, because a set from before the refinement cannot be continued.
        Stage("Create preferences", [
            "create_preferences", "--min_confidence", "0.8", "--replace", *forest,
        ]),
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
        say(f"\n=== {number}/{len(flow)} {stage.title}: {to_type(' '.join(stage.arguments))}")
        began = time.monotonic()
        status = _run(module_command("prm_site", *stage.arguments), base_dir)
        if status == EXIT_INTERRUPTED:
            raise KeyboardInterrupt
        if status not in (0, EXIT_PARTLY_FAILED):
            raise DemoError(f"stage {stage.title!r} ended with status {status}")
        say(f"=== {stage.title}: {time.monotonic() - began:.1f} s")


@contextmanager
def services(base_dir: Path, data_dir: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Context manager in which all services run: those that run already, or new ones.

    Raises:
        DemoError: the services do not start, or not all of them run.
    """
    if process := supervisor.holder(data_dir):
        say(f"using the services that process {process} runs")
        _wait_for_services(data_dir, lambda: bool(supervisor.holder(data_dir)))
        yield
        return
    say("starting the services")
    child = processes.start(module_command("prm_site", "services"), cwd=base_dir)
    try:
        _wait_for_services(data_dir, lambda: child.poll() is None)
        yield
    finally:
        processes.stop(child)


def serve_forest(base_dir: Path, port: int, say: Callable[[str], None]) -> NoReturn:
    """Serve the pages until interrupted.

    Raises:
        SiteError: the demo's user cannot be made, or the server ended by itself.
    """
    login = demo_login(base_dir)

    def welcome(address: str) -> None:
        say(f"\nThe forest: {address}/{FOREST}/")
        say(f"Log in as {login['username']} with password {login['password']}")
        say("Ctrl-C stops everything; the next run continues with the same data.")

    serve_site(base_dir, port, welcome)


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
