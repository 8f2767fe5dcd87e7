"""Names of runs, and tables of their paired comparison."""

from collections.abc import Iterator, Sequence
from typing import Any

from common.text import as_percent
from metrics.core.comparing.paired import PairedResult
from metrics.core.evaluation import RowKey
from metrics.measuring.comparison import Comparison, Subject
from metrics.measuring.item_storage import ANY_CORRECT
from metrics.models import MetricRun
from metrics.tables.run_tables import METRICS, PROCEDURES, VALUE_NAMES, Cell, Table

SHOWN = ("accuracy", "majority_vote", "weighted_vote", "coverage", "pass", "majority")
"""Metrics of runs that are compared."""
_OF_A_NAME = ("estimator", "ungraded", "seed", "pass_rate", "only_majority_wrong")
"""Parameters that distinguish runs with the same kind of values."""


def name_run(run: MetricRun, among: Sequence[MetricRun]) -> str:
    """Return a name for a run: its kind of values, and its parameters that differ among runs."""
    forest = run.forest_id if len({one.forest_id for one in among}) > 1 else ""
    values = VALUE_NAMES[run.parameters["value_function"]]
    if scorer := run.parameters.get("scorer"):
        values = f"{values} {scorer}"
    differing = [
        f"{key} {run.parameters.get(key)}"
        for key in _OF_A_NAME
        if len({str(one.parameters.get(key)) for one in among}) > 1
    ]
    return ", ".join(part for part in (forest, values, *differing) if part)


def name_subject(subject: Subject, among: Sequence[Subject]) -> str:
    """Return a name for a run or for the samples of a forest."""
    if subject.run is None:
        return subject.forest.name
    if len({one.run.parameters["value_function"] for one in among if one.run}) == 1 and (
        len({one.forest.name for one in among}) == len(among)
    ):
        return subject.forest.name
    return name_run(subject.run, [one.run for one in among if one.run])


def name_comparison(comparison: Comparison) -> str:
    """Return a name for a comparison: "samples", the name that all runs share, or "runs"."""
    runs = [one.run for one in comparison.subjects if one.run]
    if not runs:
        return "samples"
    names = {name_run(run, [run]) for run in runs}
    return names.pop() if len(names) == 1 else "runs"


def name_row(key: RowKey) -> str:
    """Return a name for a number in words."""
    if key.procedure is None:
        if key == ANY_CORRECT:
            return METRICS[key.metric]
        return METRICS[key.metric].replace("N", str(key.k))
    return f"{PROCEDURES[key.procedure]}, {key.aggregation}, N={key.k}: {METRICS[key.metric]}"


def comparison_tables(comparison: Comparison, metrics: Sequence[str] = SHOWN) -> Iterator[Table]:
    """Yield a table for each subject but the first; it compares the subject with the first."""
    first, *others = comparison.subjects
    rows = [row for row in comparison.rows() if row.key.metric in (*metrics, ANY_CORRECT.metric)]
    for place, other in enumerate(others):
        names = [name_subject(one, comparison.subjects) for one in (first, other)]
        yield Table(
            ("number", *names, "difference", "items", "wrong → right", "right → wrong"),
            [
                (name_row(row.key), *cells_of(pair), pair.items, pair.gained, pair.lost)
                for row in rows
                if (pair := row.pairs[place]) is not None and pair.items
            ],
        )


def cells_of(pair: PairedResult) -> tuple[str, str, Cell]:
    """Return both shares in percent, and their difference in percentage points."""
    return as_percent(pair.first), as_percent(pair.other), difference_of(pair)


def difference_of(pair: PairedResult) -> Cell:
    """Return the difference in percentage points with its 95 % interval."""
    value, low, high = pair.difference.value, pair.difference.low, pair.difference.high
    if value is None or low is None or high is None:
        return Cell("-")
    return Cell(f"{100 * value:+z.1f}", f"({100 * low:+z.1f} to {100 * high:+z.1f})")


def flat_rows(comparison: Comparison, metrics: Sequence[str] = SHOWN) -> list[dict[str, Any]]:
    """Return a row of plain values for each number and pair of subjects."""
    first, *others = comparison.subjects
    return [
        {
            "first": id_of(first),
            "other": id_of(other),
            **row.key._asdict(),
            "items": pair.items,
            "without_result": pair.without_result,
            "first_value": pair.first,
            "other_value": pair.other,
            "difference": pair.difference.value,
            "low": pair.difference.low,
            "high": pair.difference.high,
            "gained": pair.gained,
            "lost": pair.lost,
        }
        for row in comparison.rows()
        if row.key.metric in (*metrics, ANY_CORRECT.metric)
        for other, pair in zip(others, row.pairs, strict=True)
        if pair is not None
    ]


def comparison_data(comparison: Comparison, metrics: Sequence[str] = SHOWN) -> dict[str, Any]:
    """Return a comparison as JSON types."""
    return {
        "name": name_comparison(comparison),
        "subjects": [
            {
                "id": id_of(one),
                "name": name_subject(one, comparison.subjects),
                "forest": one.forest.name,
                "run": one.run.key if one.run else None,
                "num_trees": one.num_trees,
                "num_used": one.num_used,
                "models": one.models or None,
            }
            for one in comparison.subjects
        ],
        "num_shared": [len(shared) for shared in comparison.shared],
        "warnings": comparison.warnings(),
        "rows": flat_rows(comparison, metrics),
    }


def id_of(subject: Subject) -> str:
    """Return the forest's name, and the run's key if the subject is a run."""
    return subject.forest.name + (f"/{subject.run.key}" if subject.run else "")


def difference_of_items(runs: Sequence[MetricRun]) -> str:
    """Return why the numbers of runs are not comparable; empty if all runs used the same items."""
    trees = " and ".join(dict.fromkeys(f"{run.num_trees_used} trees" for run in runs))
    if not all(run.items_sha256 for run in runs):
        told = {(one.forest_id, one.num_trees_used, str(one.left_out)) for one in runs}
        return (
            f"the runs may have used different items ({trees}), because an older version computed "
            "some of them: run beam_search again"
            if len(told) > 1
            else ""
        )
    is_same = len({run.items_sha256 for run in runs}) == 1
    return (
        ""
        if is_same
        else f"the runs used different items ({trees}), so their numbers differ for that reason "
        "too: compare them over the items that they share"
    )
