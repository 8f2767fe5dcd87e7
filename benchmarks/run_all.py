"""Run all benchmarks, print one table, and write everything as JSON.

Benchmarks run one after another, each in its own process. If one fails, the table says so and the
others still run. Their output is in files beside the JSON: build/benchmarks/NAME.log.

exit codes: 0 all ran, whether goals are met or not; 2 bad usage; 3 a benchmark failed;
130 interrupted, what was finished is kept.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.machine import Machine, this_machine
from benchmarks.measures import Measure

PROJECT = Path(__file__).resolve().parent.parent
BENCHMARKS = {
    name: PROJECT / "benchmarks" / f"{name}.py"
    for name in (
        "populate", "prefix_cache", "slot_cache", "stepwise", "memory", "seeding", "pages",
        "rendering", "metrics", "export", "archives", "annotation", "calibration", "adaptive",
        "pair_refinement", "peers", "suite",
    )
}  # fmt: skip
EXIT_FAILED = 3
EXIT_INTERRUPTED = 130
SECONDS_TO_CLEAN_UP = 10.0
_MAX_REASON = 200
_WIDER_THAN_ANY_ROW = 1000


class BenchmarkFailedError(Exception):
    """A benchmark has no measures. The message is one line."""


@dataclass
class Report:
    """The result of one benchmark."""

    benchmark: str
    seconds: float = 0.0
    measures: list[Measure] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    """The JSON object that it printed."""
    failure: str = ""


def main(
    arguments: Sequence[str] | None = None, benchmarks: Mapping[str, Path] = BENCHMARKS
) -> int:
    """Return the exit code."""
    options = _options(arguments, benchmarks)
    machine = this_machine()
    logs = options.output.with_suffix("")
    logs.mkdir(parents=True, exist_ok=True)
    reports: list[Report] = []
    is_interrupted = False
    try:
        for name in options.only:
            print(f"{name} …", file=sys.stderr, flush=True)
            log = logs / f"{name}.log"
            reports.append(run(name, benchmarks[name], log, is_quick=options.quick))
            write(options.output, machine, reports, is_quick=options.quick)
    except KeyboardInterrupt:
        is_interrupted = True
    show(machine, reports)
    if is_interrupted:
        print("interrupted; what was finished is kept", file=sys.stderr)
        return EXIT_INTERRUPTED
    return EXIT_FAILED if any(report.failure for report in reports) else 0


def run(name: str, script: Path, log: Path, *, is_quick: bool) -> Report:
    """Run one benchmark to its end, then kill its remaining processes."""
    report = Report(name)
    began = monotonic()
    try:
        report.details = _output_of(script, log, is_quick=is_quick)
        report.measures = [Measure.from_json(values) for values in report.details["measures"]]
    except BenchmarkFailedError as error:
        report.failure = f"{error} (see {log})"
    except (KeyError, TypeError) as error:
        report.failure = f"its JSON has no measures: {error!r}"
    report.seconds = round(monotonic() - began, 2)
    return report


def _output_of(script: Path, log: Path, *, is_quick: bool) -> dict[str, Any]:
    command = [sys.executable, str(script), "--json", *(["--quick"] if is_quick else [])]
    # Files, because a server that outlives its benchmark would keep a pipe open.
    with tempfile.TemporaryFile() as output, log.open("wb") as errors:
        child = subprocess.Popen(
            command,
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
        try:
            child.wait()
        except BaseException:
            _interrupt(child)
            raise
        finally:
            _kill_group(child)
        output.seek(0)
        printed = output.read()
    if child.returncode:
        lines = log.read_text(errors="replace").strip().splitlines()
        raise BenchmarkFailedError(
            lines[-1].strip()[:_MAX_REASON] if lines else f"ended with {child.returncode}"
        )
    try:
        found: dict[str, Any] = json.loads(printed)
    except ValueError as error:
        raise BenchmarkFailedError(f"printed no JSON: {error}") from error
    return found


def _interrupt(child: subprocess.Popen[bytes]) -> None:
    """Interrupt a benchmark like Ctrl-C, so that it stops its servers and removes its folders."""
    with suppress(ProcessLookupError, subprocess.TimeoutExpired):
        os.killpg(child.pid, signal.SIGINT)
        child.wait(SECONDS_TO_CLEAN_UP)


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    """Kill the remaining processes of a benchmark, including its servers."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def write(path: Path, machine: Machine, reports: Sequence[Report], *, is_quick: bool) -> None:
    """Write all results so far."""
    found = {
        "machine": asdict(machine),
        "is_quick": is_quick,
        "benchmarks": [
            asdict(report) | {"measures": [measure.as_json() for measure in report.measures]}
            for report in reports
        ],
    }
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def show(machine: Machine, reports: Sequence[Report]) -> None:
    """Print the machine and the table; as Markdown if stdout is not a terminal."""
    is_terminal = sys.stdout.isatty()
    console = Console(
        width=None if is_terminal else _WIDER_THAN_ANY_ROW, markup=False, highlight=False
    )
    for line in machine.lines():
        console.print(line)
    table = Table(
        "benchmark", "case", "baseline", "measured", "ratio", "goal", "met",
        box=box.HEAVY_HEAD if is_terminal else box.MARKDOWN,
    )  # fmt: skip
    for report in reports:
        for measure in report.measures:
            table.add_row(report.benchmark, *_cells(measure))
        if report.failure:
            table.add_row(report.benchmark, f"FAILED: {report.failure}", *"-----")
    console.print(table)


def _cells(measure: Measure) -> list[str]:
    baseline, measured = measure.baseline, measure.note or "-"
    if measure.baseline_figure is not None:
        baseline += f": {measure.baseline_figure:,} {measure.unit}"
    if measure.figure is not None:
        measured = f"{measure.figure:,} {measure.unit}"
    goals = [
        f"{words} {goal}"
        for words, goal in (("at least", measure.at_least), ("at most", measure.at_most))
        if goal is not None
    ]
    ratio = "-" if measure.ratio is None else f"{measure.ratio:.2f}"
    met = {True: "yes", False: "no", None: "-"}[measure.is_met]
    return [measure.case, baseline, measured, ratio, ", ".join(goals) or "-", met]


def _options(arguments: Sequence[str] | None, benchmarks: Mapping[str, Path]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s [--quick] [--only NAME,NAME] [--output PATH]",
    )
    parser.add_argument("--quick", action="store_true", help="run only the small cases")
    parser.add_argument(
        "--only",
        type=_names_of(benchmarks),
        default=list(benchmarks),
        metavar="NAME,NAME",
        help=f"benchmarks to run: {', '.join(benchmarks)} (default: all)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=PROJECT / "build" / "benchmarks.json",
        metavar="PATH",
        help="file for the JSON (default: build/benchmarks.json)",
    )
    return parser.parse_args(arguments)


def _names_of(benchmarks: Mapping[str, Path]) -> Callable[[str], list[str]]:
    def names(text: str) -> list[str]:
        asked = [name.strip() for name in text.split(",") if name.strip()]
        unknown = [name for name in asked if name not in benchmarks]
        if unknown or not asked:
            raise argparse.ArgumentTypeError(
                f"no benchmark named {', '.join(unknown) or repr(text)}; "
                f"there are {', '.join(benchmarks)}"
            )
        return asked

    return names
