"""Grow small forests against llama.cpp, vLLM, SGLang and FastChat, and say what each does.

Installs each backend in an environment of its own (7 GB in all), starts it with the packaged
small model, asks it what it does where servers differ, then verifies, seeds, populates and searches
forests with the same configs. Those that take another chat template are also started with one that
trims messages, and with one that opens a thought. Every text of a forest is compared with what the
server wrote. What cannot be installed, used or grown has failed; the rest is tried all the same.

What a backend came to is kept in `results` of the folder, and its logs in `logs`. `--resume` tries
only what an earlier run with the same packages and number of trees did not come to.

usage: python -m tests.backends [--only NAME,NAME] [--forests NAME,NAME] [--trees N]
           [--folder F] [--resume] [--json]
"""

import argparse
import os
import shutil
import signal
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from prm_site.services import registry
from prm_site.services.definitions import (
    MONGODB,
    QUEUE,
    MissingPackageError,
    packaged_weights,
)
from prm_site.services.supervisor import ServiceError, Supervisor
from tests.backends.environments import (
    REQUIREMENTS,
    PreparationError,
    ensure_environment,
    ensure_folder_of_weights,
    environment_key,
)
from tests.backends.growing import PROJECT, CommandFailedError, Project
from tests.backends.probing import NoAnswerError, Server, probe
from tests.backends.recording import Recorder
from tests.backends.report import Report, as_json, as_markdown, keep, kept
from tests.backends.servers import ALL_GROWTHS, BACKENDS, MODEL_NAME, Backend, Growth, Start

APIS = ("completions", "chat")
NUM_PROCESSES = 2


def main() -> int:
    """Return the exit code: 1 if something failed."""
    options = _options()
    # The exit unwinds the stack, so that all servers are stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    reports = [
        _Trial(
            backend,
            options.folder.resolve(),
            options.trees,
            options.forests,
            is_resumed=options.resume,
        ).run()
        for backend in options.only
    ]
    print(as_json(reports) if options.json else as_markdown(reports))
    return 1 if any(report.problems for report in reports) else 0


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
        "--forests",
        type=_forests,
        default=(),
        metavar="NAME,NAME",
        help=f"of {', '.join(one.name for one in ALL_GROWTHS)}, and ask nothing else",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=PROJECT / ".backends",
        help="where the environments are kept (default: .backends)",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="try only what an earlier run with the same packages and trees did not come to",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


def _backends(names: str) -> list[Backend]:
    known = {backend.key: backend for backend in BACKENDS}
    return [known[name] for name in _names(names, known)]


def _forests(names: str) -> list[str]:
    return _names(names, [one.name for one in ALL_GROWTHS])


def _names(names: str, known: Collection[str]) -> list[str]:
    if unknown := set(names.split(",")) - set(known):
        raise argparse.ArgumentTypeError(
            f"{', '.join(unknown)} is not known: choose of {', '.join(known)}"
        )
    return names.split(",")


class _Trial:
    """Everything that is tried with one backend; the report is kept after each part."""

    def __init__(
        self,
        backend: Backend,
        folder: Path,
        num_trees: int,
        forests: Sequence[str],
        *,
        is_resumed: bool,
    ) -> None:
        """Return a trial; `forests`: grow only these, and probe nothing; empty: try everything."""
        self._backend = backend
        self._folder = folder
        self._num_trees = num_trees
        self._growths = [one for one in backend.growths if not forests or one.name in forests]
        self._apis = () if forests else APIS
        packages = environment_key(backend.key, backend.unwanted, backend.stand_ins)
        self._key = f"{packages} {num_trees}"
        self._results = folder / "results" / f"{backend.key}.json"
        self.report = kept(self._results, self._key) or Report(backend.name, _version(backend))
        if not is_resumed:
            self.report.forget([one.name for one in self._growths], self._apis)

    def run(self) -> Report:
        """Try all that the report lacks; return the report of the backend."""
        missing = [one for one in self._growths if not self.report.has(one.name)]
        templates = dict.fromkeys(one.template for one in missing)
        if set(self._apis) - set(self.report.behaviour):
            templates = {None: None, **templates}
        if not templates:
            self._say("nothing is missing")
            return self.report
        with self._noting("installing"):
            began = time.monotonic()
            python, weights = self._installed()
            self.report.seconds_to_install = time.monotonic() - began
            for template in templates:
                self._run_started(
                    python, weights, [one for one in missing if one.template == template]
                )
        return self.report

    def _installed(self) -> tuple[Path, Path]:
        """Return the Python of the backend, and the weights in the form that it reads."""
        self._say("installing")
        backend = self._backend
        python = ensure_environment(self._folder, backend.key, backend.unwanted, backend.stand_ins)
        weights = packaged_weights()
        return python, weights if backend.reads_gguf else ensure_folder_of_weights(python, weights)

    def _run_started(self, python: Path, weights: Path, growths: Sequence[Growth]) -> None:
        """Start the backend once, and try all that needs this chat template."""
        template = growths[0].template if growths else None
        thinks = any(one.thinks for one in growths)
        part = f"starting with {template.name}" if template else "starting"
        with self._noting(part), TemporaryDirectory(prefix="prm-backends-") as name:
            data_dir = Path(name)
            services = self._backend.services(Start(python, weights, data_dir, template, thinks))
            self._say(part)
            began = time.monotonic()
            try:
                with Supervisor(data_dir, [MONGODB, QUEUE, *services], _say):
                    self.report.seconds_to_start = time.monotonic() - began
                    if not template:
                        self._probe(registry.running_addresses(data_dir)["model"])
                    self._grow_all(data_dir, growths)
            finally:
                logs = self._folder / "logs" / f"{self._backend.key}, {part}"
                shutil.copytree(
                    registry.services_directory(data_dir), logs, dirs_exist_ok=True,
                    ignore=lambda _, names: [one for one in names if not one.endswith(".log")],
                )  # fmt: skip

    def _probe(self, address: str) -> None:
        server = Server(address, MODEL_NAME)
        try:
            for api in self._apis:
                if api not in self.report.behaviour:
                    with self._noting(f"what its {api} API does"):
                        self.report.behaviour[api] = probe(server, api)
        finally:
            server.close()

    def _grow_all(self, data_dir: Path, growths: Sequence[Growth]) -> None:
        with Recorder(registry.running_addresses(data_dir)["model"]) as recorder:
            project = Project(data_dir, recorder)
            project.migrate()
            for growth in growths:
                with self._noting(growth.name):
                    self._grow(project, growth)

    def _grow(self, project: Project, growth: Growth) -> None:
        if not growth.is_refused:
            self.report.forests.append(project.grow(growth, self._num_trees, NUM_PROCESSES))
        elif why := project.refusal(growth.config):
            self.report.refused[growth.name] = why
        else:
            raise CommandFailedError("it was not refused, although the backend cannot do it")

    @contextmanager
    def _noting(self, part: str) -> Iterator[None]:
        """Say how long a part took, note the error that ended it, and keep the report."""
        began = time.monotonic()
        try:
            yield
        except (
            PreparationError, ServiceError, MissingPackageError, CommandFailedError, NoAnswerError,
        ) as error:  # fmt: skip
            self.report.problems[part] = str(error)
        outcome = self.report.problems.get(part)
        self._say(
            f"{part}: {f'FAILED: {outcome}' if outcome else 'done'} "
            f"({time.monotonic() - began:.0f} s)"
        )
        keep(self.report, self._results, self._key)

    def _say(self, words: str) -> None:
        _say(f"{self._backend.name}: {words}")


def _version(backend: Backend) -> str:
    files = REQUIREMENTS.glob(f"{backend.key}*.txt")
    pins = [pin for file in files for pin in file.read_text().splitlines()]
    return next(pin.partition("==")[2] for pin in pins if pin.startswith(f"{backend.package}=="))


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    os.chdir(PROJECT)
    sys.exit(main())
