"""Comparison of stored runs."""

from collections.abc import Mapping, Sequence
from typing import Any

from metrics.models import MetricRun
from metrics.tables.run_tables import METRICS, PROCEDURES, Cell, Table, cell_of

_NO_DIFFERENCE = (
    "the differences in brackets also come from the items, not only from searches or models"
)
SHOWN = ("accuracy", "majority_vote", "weighted_vote", "coverage", "pass", "majority")


def name_run(run: MetricRun, among: Sequence[MetricRun]) -> str:
    """Return a name for a run from its values and from what differs among the runs."""
    forest = run.forest_id if len({one.forest_id for one in among}) > 1 else ""
    values = run.parameters["value_function"]
    if scorer := run.parameters.get("scorer"):
        values = f"{values} {scorer}"
    differing = [
        f"{key} {run.parameters.get(key)}"
        for key in ("estimator", "ungraded", "seed")
        if len({str(one.parameters.get(key)) for one in among}) > 1
    ]
    return ", ".join(part for part in (forest, values, *differing) if part)


def comparison(runs: Sequence[MetricRun], metrics: Sequence[str] = SHOWN) -> list[dict[str, Any]]:
    """Return a row for each number that any of the runs has.

    Keys: `procedure`, `metric`, `aggregation`, `k`, and `found`: the row of each run, in order, or
    None for a run without this number.
    """
    by_run = [
        {(row["procedure"], row["metric"], row["aggregation"], row["k"]): row for row in run.rows}
        for run in runs
    ]
    keys = dict.fromkeys(key for rows in by_run for key in rows if key[1] in metrics)
    return [
        {
            "procedure": procedure,
            "metric": metric,
            "aggregation": aggregation,
            "k": k,
            "found": [rows.get((procedure, metric, aggregation, k)) for rows in by_run],
        }
        for procedure, metric, aggregation, k in sorted(keys, key=lambda key: key[0] is None)
    ]


def compared_table(runs: Sequence[MetricRun], metrics: Sequence[str] = SHOWN) -> Table:
    """Return a table with a column for each run; later runs show the difference from the first."""
    rows = [
        (
            _search(row),
            row["aggregation"] or "-",
            row["k"],
            METRICS[row["metric"]],
            *(_against(found, row["found"][0]) for found in row["found"]),
        )
        for row in comparison(runs, metrics)
    ]
    told = [
        (
            "run",
            "-",
            "-",
            "trees used",
            *(f"{run.num_trees_used} of {run.num_trees}" for run in runs),
        ),
        ("run", "-", "-", "models", *(run.models_in_words or "-" for run in runs)),
    ]
    names = [name_run(run, runs) for run in runs]
    return Table(("search", "aggregation", "N", "answer", *names), [*told, *rows])


def difference_of_items(runs: Sequence[MetricRun]) -> str:
    """Return why the numbers of runs are not comparable; empty if all runs used the same items.

    Runs of an older version did not record their items; they count as the same only if forest and
    trees are the same.
    """
    trees = " and ".join(dict.fromkeys(f"{run.num_trees_used} trees" for run in runs))
    if all(run.items_sha256 for run in runs):
        is_same = len({run.items_sha256 for run in runs}) == 1
        return "" if is_same else f"the runs used different items ({trees}): {_NO_DIFFERENCE}"
    told = {(one.forest_id, one.num_trees_used, str(one.left_out)) for one in runs}
    if len(told) == 1:
        return ""
    return (
        f"the runs may have used different items ({trees}), because an older version computed some "
        "of them: run beam_search again"
    )


def _search(row: Mapping[str, Any]) -> str:
    return PROCEDURES[row["procedure"]] if row["procedure"] else "no search"


def _against(found: Mapping[str, Any] | None, first: Mapping[str, Any] | None) -> Cell:
    if found is None:
        return Cell("-")
    cell = cell_of(found)
    if first is None or found is first or found["value"] is None or first["value"] is None:
        return cell
    points = 100 * (found["value"] - first["value"])
    return Cell(f"{cell.value} [{points:+z.1f}]", cell.interval)
