"""Grow a small forest against llama.cpp, vLLM, SGLang and FastChat, and say what each does.

Installs each backend in an environment of its own (7 GB in all), starts it with the packaged
small model, asks it what it does where servers differ, then verifies, seeds, populates and searches
a forest with the same config. Those that take another chat template are started with one that trims
messages too, and with one that opens a thought. A backend that cannot be installed or used has
failed.

usage: python -m tests.backends [--only NAME,NAME] [--trees N] [--json]
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from prm_site.services import registry
from prm_site.services.definitions import (
    MONGODB,
    QUEUE,
    MissingPackageError,
    packaged_weights,
)
from prm_site.services.supervisor import ServiceError, Supervisor
from tests.backends import growing
from tests.backends.environments import (
    REQUIREMENTS,
    PreparationError,
    ensure_environment,
    ensure_folder_of_weights,
)
from tests.backends.growing import CONFIGS, PROJECT, CommandFailedError
from tests.backends.probing import Server, probe
from tests.backends.report import Report, as_json, as_markdown
from tests.backends.servers import BACKENDS, MODEL_NAME, Backend, ChatFormat, Start

APIS = ("completions", "chat")
NUM_PROCESSES = 2


def main() -> int:
    """Return the exit code: 1 where a backend failed."""
    options = _options()
    # What is between here and the servers unwinds, so that all of them are stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    reports = []
    for backend in options.only:
        report = Report(backend.name, _version(backend))
        reports.append(report)
        try:
            _try(backend, report, options.folder, options.trees)
        except (
            PreparationError, ServiceError, MissingPackageError, CommandFailedError,
            httpx.HTTPError,
        ) as error:  # fmt: skip
            report.problem = f"{error}" or type(error).__name__
            _say(f"{backend.name} FAILED: {report.problem}")
    print(as_json(reports) if options.json else as_markdown(reports))
    return 1 if any(report.problem for report in reports) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.backends", description=__doc__)
    parser.add_argument(
        "--only",
        type=_backends,
        default=BACKENDS,
        metavar="NAME,NAME",
        help=f"of {', '.join(backend.key for backend in BACKENDS)} (default: all)",
    )
    parser.add_argument("--trees", type=int, default=4, help="of each forest (default: 4)")
    parser.add_argument(
        "--folder",
        type=Path,
        default=PROJECT / ".backends",
        help="where the environments are kept (default: .backends)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


def _backends(names: str) -> list[Backend]:
    known = {backend.key: backend for backend in BACKENDS}
    if unknown := set(names.split(",")) - set(known):
        raise argparse.ArgumentTypeError(
            f"{', '.join(unknown)} is not known: choose of {', '.join(known)}"
        )
    return [known[name] for name in names.split(",")]


def _try(backend: Backend, report: Report, folder: Path, num_trees: int) -> None:
    """Do everything with one backend and note it in the report, up to the first error."""
    began = time.monotonic()
    _say(f"{backend.name}: installing")
    python = ensure_environment(folder.resolve(), backend.key, backend.unwanted, backend.stand_ins)
    weights = packaged_weights()
    if not backend.reads_gguf:
        weights = ensure_folder_of_weights(python, weights)
    report.seconds_to_install = time.monotonic() - began

    with _running(backend, python, weights) as (data_dir, seconds):
        report.seconds_to_start = seconds
        _observe(backend, report, data_dir, num_trees)
    for chat_format in backend.chat_formats:
        _say(f"{backend.name}: growing {num_trees} trees over chat, {chat_format.name}")
        with _running(backend, python, weights, chat_format) as (data_dir, _):
            report.forests.append(
                growing.grow(
                    data_dir, f"chat, {chat_format.name}", chat_format.config, num_trees,
                    NUM_PROCESSES, thinks=chat_format.thinks,
                )
            )  # fmt: skip


@contextmanager
def _running(
    backend: Backend, python: Path, weights: Path, chat_format: ChatFormat | None = None
) -> Iterator[tuple[Path, float]]:
    """Run a backend with a database and a queue; give their directory and the seconds it took."""
    with tempfile.TemporaryDirectory(prefix="prm-backends-") as name:
        data_dir = Path(name)
        services = backend.services(Start(python, weights, data_dir, chat_format))
        began = time.monotonic()
        with Supervisor(data_dir, [MONGODB, QUEUE, *services], _say):
            seconds = time.monotonic() - began
            growing.migrate(data_dir)
            yield data_dir, seconds


def _observe(backend: Backend, report: Report, data_dir: Path, num_trees: int) -> None:
    server = Server(registry.running_addresses(data_dir)["model"], MODEL_NAME)
    try:
        for api in APIS:
            _say(f"{backend.name}: asking what its {api} API does")
            report.behaviour[api] = probe(server, api)
    finally:
        server.close()
    for api in APIS:
        _say(f"{backend.name}: growing {num_trees} trees over the {api} API")
        if api == "completions" or backend.continues_messages:
            report.forests.append(
                growing.grow(data_dir, api, CONFIGS[api], num_trees, NUM_PROCESSES, thinks=False)
            )
        elif why := growing.refusal(data_dir, CONFIGS[api]):
            report.refused[api] = why
        else:
            raise CommandFailedError(f"{api} was not refused, although it cannot be continued")


def _version(backend: Backend) -> str:
    files = REQUIREMENTS.glob(f"{backend.key}*.txt")
    pins = [pin for file in files for pin in file.read_text().splitlines()]
    return next(pin.partition("==")[2] for pin in pins if pin.startswith(f"{backend.package}=="))


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    os.chdir(PROJECT)
    sys.exit(main())
