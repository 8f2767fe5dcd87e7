"""Time of all tests, run as `make test` runs them but without the linters.

usage: python benchmarks/suite.py [--quick] [--json]
"""

import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from benchmarks.measures import Measure, argument_parser, print_json

GOAL = 360.0
"""Seconds on two cores."""


@dataclass(frozen=True)
class Times:
    """Seconds that the tests took, and what they would take if no core were idle."""

    took: float
    at_best: float


def main() -> None:
    options = argument_parser(__doc__, quick="only tests/common").parse_args()
    times = measure("tests/common" if options.quick else "tests")
    if options.json:
        print_json("suite", measures(times))
        return
    print(f"{times.took:.0f} s; processor time divided by the cores: {times.at_best:.0f} s")


def measure(folder: str) -> Times:
    """Return the times of the tests in a folder.

    Raises:
        SystemExit: a test failed, so the time says nothing.
    """
    command = [sys.executable, "-m", "pytest", "-q", "-n", "auto", "--dist", "worksteal", folder]
    began = monotonic()
    done = subprocess.run(command, cwd=PROJECT, stdout=sys.stderr, check=False)
    took = monotonic() - began
    if done.returncode:
        sys.exit(f"pytest ended with {done.returncode}")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Times(took, (used.ru_utime + used.ru_stime) / len(os.sched_getaffinity(0)))


def measures(times: Times) -> list[Measure]:
    took = round(times.took, 1)
    return [
        Measure(
            case="all tests",
            baseline="goal",
            unit="s",
            figure=took,
            baseline_figure=GOAL,
            at_most=1.0,
        ),
        Measure(
            case="all tests",
            baseline="their processor time, divided by the cores",
            unit="s",
            figure=took,
            baseline_figure=round(times.at_best, 1),
        ),
    ]


if __name__ == "__main__":
    main()
