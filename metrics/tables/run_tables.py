"""Tables of a run's numbers, for terminals and pages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.places import to_type
from common.text import as_percent
from metrics.core.evaluation import LEFT_OUT
from metrics.core.search.accuracy import ACCURACIES
from metrics.models import MetricRun

VALUE_NAMES = {
    "labelled": "oracle (Monte Carlo)",
    "labelled_held_out": "held-out Monte Carlo",
    "logprob": "log-probability",
    "random": "random (floor)",
    "prm": "scorer",
}
"""Names of value functions. The oracle is named as such wherever it is shown."""
PROCEDURES = {"beam": "beam search", "dvts": "DVTS", "best_of_n": "best of N"}
_HEADINGS = {
    "accuracy": "best",
    "majority_vote": "majority vote",
    "weighted_vote": "weighted vote",
    "coverage": "coverage",
}
METRICS = {
    **_HEADINGS,
    "pass": "pass@N",
    "majority": "maj@N",
    "any_correct": "some sample correct",
}
_BASELINES = {"pass": "pass@{k}", "majority": "maj@{k}"}

_NOTES = {
    "labelled": (
        "labelled values know the answers, so this search is an oracle: an upper bound, not an "
        "estimate of a reward model; compare coverage and the baselines, or use "
        "--value_function_option labelled_held_out"
    ),
    "labelled_held_out": (
        "values from one half of each tree's leaves guide a search of the other half, and vice "
        "versa: no leaf votes for itself, and each search sees half the leaves"
    ),
    "logprob": "values are the model's own mean token probability along the path",
    "random": "values are random: this search is the floor",
    "prm": "values are the scores of a reward model; evaluate_scorer measures its quality",
}


@dataclass(frozen=True)
class Cell:
    """A number with its 95 % interval, as text."""

    value: str
    interval: str = ""

    def __str__(self) -> str:
        return f"{self.value} {self.interval}".strip()


@dataclass(frozen=True)
class Table:
    """Column headings, and rows of the same length."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


def note(run: MetricRun) -> str:
    """Return a note that helps to read the numbers."""
    return _NOTES[run.parameters["value_function"]]


def left_out(run: MetricRun) -> list[str]:
    """Return the number of trees left out, for each reason."""
    return [f"{number} {LEFT_OUT[reason]}" for reason, number in sorted(run.left_out.items())]


def search_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return a table of search results; `rows` have the fields of `metrics.core.evaluation.Row`."""
    searches: dict[tuple[str, str, int], dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        if row["procedure"] is not None:
            key = row["procedure"], row["aggregation"], row["k"]
            searches.setdefault(key, {})[row["metric"]] = row
    return Table(
        ("search", "aggregation", "N", *_HEADINGS.values(), "trees", "tokens a tree"),
        [
            (
                PROCEDURES[procedure],
                aggregation,
                k,
                *(cell_of(found[name]) for name in ACCURACIES),
                found["accuracy"]["trees"],
                None if (tokens := found["accuracy"]["tokens"]) is None else round(tokens),
            )
            for (procedure, aggregation, k), found in searches.items()
        ],
    )


def baseline_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return a table of the baselines: results of the same samples without a search."""
    return Table(
        ("baseline", "share of trees", "trees"),
        [
            (_BASELINES[row["metric"]].format(k=row["k"]), cell_of(row), row["trees"])
            for row in rows
            if row["procedure"] is None
        ],
    )


def command_of(run: MetricRun) -> str:
    """Return the command that repeats this run."""
    given = run.parameters
    arguments = {
        "forest_name": run.forest_id,
        "num_beam_values": ",".join(map(str, given["num_beam_values"])),
        "value_function_option": given["value_function"],
        "aggregation": ",".join(given["aggregations"]),
        "procedures": ",".join(given.get("procedures", ["beam"])),
        "estimator": given["estimator"],
        "ungraded": given["ungraded"],
        "seed": given["seed"],
        "scorer": given.get("scorer", ""),
        "pass_rate": ",".join(map(str, given.get("pass_rate", ()))),
        "only_majority_wrong": given.get("only_majority_wrong", False),
    }
    usual = {
        "procedures": "beam",
        "ungraded": "incorrect",
        "seed": 0,
        "scorer": "",
        "pass_rate": "",
        "only_majority_wrong": False,
    }
    return command_line("beam_search", arguments, usual)


def command_line(name: str, arguments: Mapping[str, Any], usual: Mapping[str, Any]) -> str:
    """Return a command line without the arguments that have their default values."""
    given = {key: value for key, value in arguments.items() if value != usual.get(key)}
    words = (f"--{key}" if value is True else f"--{key} {value}" for key, value in given.items())
    return to_type(f"{name} {' '.join(words)}")


def cell_of(row: Mapping[str, Any]) -> Cell:
    """Return a share with its interval, in percent."""
    if row["value"] is None:
        return Cell(as_percent(None))
    if row["low"] is None:
        return Cell(as_percent(row["value"]))
    return Cell(as_percent(row["value"]), f"({100 * row['low']:.1f}-{100 * row['high']:.1f})")
