"""Arguments and JSON output of every benchmark: measures, each against a bare baseline."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A figure, and the baseline's figure in the same run."""

    case: str
    baseline: str
    """Name of the bare baseline."""
    unit: str
    figure: float | None = None
    """None: not measured; `note` says why."""
    baseline_figure: float | None = None
    at_least: float | None = None
    """Goals of the ratio; None: no goal."""
    at_most: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """The figure divided by the baseline's figure."""
        if self.figure is None or not self.baseline_figure:
            return None
        return round(self.figure / self.baseline_figure, 3)

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is met; None without a goal or a ratio."""
        if self.ratio is None or (self.at_least is None and self.at_most is None):
            return None
        is_enough = self.at_least is None or self.ratio >= self.at_least
        return is_enough and (self.at_most is None or self.ratio <= self.at_most)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Measure":
        return cls(**{field.name: values[field.name] for field in fields(cls)})

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"ratio": self.ratio, "is_met": self.is_met}


def argument_parser(description: str | None, *, quick: str) -> argparse.ArgumentParser:
    """Return the argument parser of every benchmark; `quick` is the help text of `--quick`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def print_json(benchmark: str, measures: Sequence[Measure], **details: Any) -> None:
    """Print one JSON object: the measures, and other results of a benchmark."""
    found = [measure.as_json() for measure in measures]
    print(json.dumps({"benchmark": benchmark, "measures": found, **details}))
