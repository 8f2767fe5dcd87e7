"""Tables of a scorer's report, for terminals and pages."""

from collections.abc import Mapping, Sequence
from typing import Any

from metrics.models import ScorerReport
from metrics.tables.run_tables import (
    PROCEDURES,
    VALUE_NAMES,
    Cell,
    Table,
    cell_of,
    command_line,
)

_BY_ANSWER = ("incorrect solutions", "correct solutions")


def quality_table(quality: Mapping[str, Any]) -> Table:
    """Return a table of the figures of `metrics.core.scorers.scorer_quality`."""
    errors = quality["first_error"]
    kinds = ("solutions with an error", "without one") if "agreement" in quality else _BY_ANSWER
    thresholds = " and ".join(f"{one:.3g}" for one in errors["thresholds"] if one is not None)
    return Table(
        ("figure", "value", "of"),
        [
            *_agreement_rows(quality.get("agreement")),
            ("AUROC of steps", _number(quality["auroc"]), f"{quality['steps']} steps"),
            (
                "first error found",
                cell_of(errors["wrong"]),
                f"{errors['wrong_solutions']} {kinds[0]}",
            ),
            (
                "no error found",
                cell_of(errors["right"]),
                f"{errors['solutions'] - errors['wrong_solutions']} {kinds[1]}",
            ),
            (
                "F1 of both",
                _number(errors["f1"]),
                f"score thresholds {thresholds}" if thresholds else "no threshold",
            ),
        ],
    )


def _agreement_rows(found: Mapping[str, Any] | None) -> list[tuple[object, ...]]:
    """Return the figures of `metrics.core.scorers.agreement`; nothing without labels."""
    if found is None:
        return []
    steps, solutions = found["steps"], found["solutions"]
    return [
        ("StepAcc", cell_of(found["step_acc"]), f"{steps} labelled steps"),
        ("FirstErrAcc", cell_of(found["first_err_acc"]), f"{solutions} labelled solutions"),
    ]


def comparison_table(searches: Mapping[str, Sequence[Mapping[str, Any]]]) -> Table:
    """Return a table of searches by the scorer, by the Monte Carlo values and at random."""
    rows: list[tuple[object, ...]] = []
    for name, found in searches.items():
        by_search: dict[tuple[str, str, int], dict[str, Mapping[str, Any]]] = {}
        for row in found:
            if row["procedure"] is not None:
                key = row["procedure"], row["aggregation"], row["k"]
                by_search.setdefault(key, {})[row["metric"]] = row
        for (procedure, aggregation, k), metrics in by_search.items():
            best, vote = metrics["accuracy"], metrics["weighted_vote"]
            rows.append(
                (
                    VALUE_NAMES[name], PROCEDURES[procedure], aggregation, k,
                    cell_of(best), gain_of(best), cell_of(vote), gain_of(vote), best["trees"],
                )
            )  # fmt: skip
    return Table(
        (
            "values", "search", "aggregation", "N",
            "best", "over majority", "weighted vote", "over majority", "trees",
        ),
        rows,
    )  # fmt: skip


def command_of_report(report: ScorerReport) -> str:
    """Return the command that repeats this report."""
    given = report.parameters
    arguments = {
        "forest_name": report.forest_id,
        "scorer": report.scorer,
        "num_beam_values": ",".join(map(str, given["num_beam_values"])),
        "aggregation": ",".join(given["aggregations"]),
        "procedures": ",".join(given["procedures"]),
        "estimator": given["estimator"],
        "ungraded": given["ungraded"],
        "label_threshold": given["label_threshold"],
        "against": report.against,
    }
    usual = {"ungraded": "incorrect", "label_threshold": 0.0, "against": ""}
    return command_line("evaluate_scorer", arguments, usual)


def gain_of(row: Mapping[str, Any]) -> Cell:
    """Return the gain of a search over a majority vote, in percentage points."""
    if row.get("gain") is None:
        return Cell("-")
    low, high = row["gain_low"], row["gain_high"]
    interval = "" if low is None else f"({100 * low:+z.1f} to {100 * high:+z.1f})"
    return Cell(f"{100 * row['gain']:+z.1f}", interval)


def _number(figure: Mapping[str, Any]) -> Cell:
    if figure["value"] is None:
        return Cell("-")
    low, high = figure["low"], figure["high"]
    return Cell(f"{figure['value']:.3f}", "" if low is None else f"({low:.3f}-{high:.3f})")
