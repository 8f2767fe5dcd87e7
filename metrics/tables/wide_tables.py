"""Tables with a row for each search, and a column for each number of beams or samples."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from common.text import as_percent
from metrics.core.evaluation import RowKey
from metrics.core.statistics.distributions import BINS, DEEPEST
from metrics.measuring.item_storage import key_of
from metrics.models import MetricRun, ScorerReport
from metrics.tables.run_tables import PROCEDURES, VALUE_NAMES, Cell, Table, cell_of
from metrics.tables.scorer_tables import gain_of, quality_table

NumberRow: TypeAlias = Mapping[str, Any]
"""A stored row: see `metrics.core.evaluation.Row`."""
NamedRun: TypeAlias = tuple[str, MetricRun]
_BASELINES = {"pass": "pass@N: some sample correct", "majority": "maj@N: majority vote"}


class Search(NamedTuple):
    """The numbers of one search, or of a baseline, by the number of beams or samples."""

    values: str
    """Name of the values that guide the search; empty for a baseline."""
    search: str
    aggregation: str
    rows: Mapping[int, NumberRow]

    @property
    def has_result(self) -> bool:
        return any(row["value"] is not None for row in self.rows.values())


@dataclass(frozen=True)
class WideTable(Table):
    """A table, and the names of rows and columns that it leaves out because they have no result."""

    left_out: Sequence[str] = ()
    num_headings: int = 1
    """Number of columns at the left that name a row."""


def searches_of(
    named: Iterable[tuple[str, Sequence[NumberRow]]], matches: Callable[[RowKey], bool]
) -> list[Search]:
    """Return the searches of runs whose numbers match, in the order of the runs."""
    found: dict[tuple[str, str, str], dict[int, NumberRow]] = {}
    for name, rows in named:
        for row in rows:
            key = key_of(row)
            if key.procedure is not None and matches(key):
                words = name, PROCEDURES[key.procedure], key.aggregation or ""
                found.setdefault(words, {})[key.k] = row
    return [Search(*words, dict(sorted(rows.items()))) for words, rows in found.items()]


def baselines_of(named: Iterable[tuple[str, Sequence[NumberRow]]]) -> list[Search]:
    """Return pass@N and the majority vote; runs with the same numbers share one row."""
    found: list[Search] = []
    for name, rows in named:
        for metric, words in _BASELINES.items():
            by_k = {
                row["k"]: row
                for row in rows
                # The majority vote of one sample is pass@1.
                if row["procedure"] is None and (row["metric"] == metric or row["k"] == 1)
            }
            known = [one.rows for one in found if one.search.startswith(words)]
            if by_k and by_k not in known:
                found.append(Search("", f"{words} ({name})" if known else words, "", by_k))
    return found


def accuracy_table(searches: Sequence[Search]) -> WideTable:
    """Return the share of trees that each search answers correctly, with 95 % intervals."""
    return _wide(searches, cell_of)


def token_table(searches: Sequence[Search]) -> WideTable:
    """Return the completion tokens that each search would have drawn, on average over trees."""

    def cell(row: NumberRow) -> Cell:
        return Cell("-" if row["tokens"] is None else f"{row['tokens']:,.0f}")

    return _wide(searches, cell)


def gain_table(searches: Sequence[Search]) -> WideTable:
    """Return the gain of each search over a majority vote of N samples, in percentage points."""
    return _wide(searches, gain_of)


def searches_of_report(
    report: ScorerReport, matches: Callable[[RowKey], bool]
) -> tuple[list[Search], list[Search]]:
    """Return the searches by a scorer, by the oracle and at random, and their baselines."""
    named = [
        (f"scorer {report.scorer}" if name == "prm" else VALUE_NAMES[name], rows)
        for name, rows in report.searches.items()
    ]
    return searches_of(named, matches), baselines_of(named[:1])


def qualities_table(reports: Sequence[ScorerReport]) -> Table:
    """Return the figures of all scorers, one row for each report."""
    found = []
    for report in reports:
        name = report.scorer + (f" against {report.against}" if report.against else "")
        rows = quality_table(report.quality).rows
        found.append((name, {str(figure): _with_number(cell, of) for figure, cell, of in rows}))
    figures = list(dict.fromkeys(figure for _, cells in found for figure in cells))
    return Table(
        ("scorer", *figures),
        [(name, *(cells.get(figure, Cell("-")) for figure in figures)) for name, cells in found],
    )


def histogram_table(named: Sequence[NamedRun]) -> Table:
    """Return the nodes of each run by value."""
    return Table(
        ("values", *BINS),
        [(name, *run.distribution["bins"]) for name, run in named if run.distribution],
    )


def depth_table(named: Sequence[NamedRun]) -> Table:
    """Return the mean value of each run by depth, and the number of nodes with a value."""
    by_run = [
        (name, {one["depth"]: one for one in run.distribution["depths"]})
        for name, run in named
        if run.distribution
    ]
    depths = sorted({depth for _, found in by_run for depth in found})
    return Table(
        ("values", *(f"depth {one}{' and more' if one == DEEPEST else ''}" for one in depths)),
        [(name, *(_depth_cell(found.get(depth)) for depth in depths)) for name, found in by_run],
    )


def _depth_cell(found: Mapping[str, Any] | None) -> Cell:
    if found is None or found["mean"] is None:
        return Cell("-")
    return Cell(f"{found['mean']:.3f}", f"of {found['valued']:,}")


def _wide(searches: Sequence[Search], cell: Callable[[NumberRow], Cell]) -> WideTable:
    filled = [one for one in searches if one.has_result]
    numbers = sorted({k for one in filled for k in one.rows})
    kept = [k for k in numbers if any(_has_result(one.rows.get(k)) for one in filled)]
    left_out = [
        f"{_name(one)}, N={','.join(map(str, one.rows))}" for one in searches if not one.has_result
    ] + [f"N={k}" for k in numbers if k not in kept]
    return WideTable(
        ("values", "search", "aggregation", *(f"N={k}" for k in kept)),
        [
            (
                one.values or "no search",
                one.search,
                one.aggregation or "-",
                *(cell(one.rows[k]) if _has_result(one.rows.get(k)) else Cell("-") for k in kept),
            )
            for one in filled
        ],
        left_out,
        num_headings=3,
    )


def _has_result(row: NumberRow | None) -> bool:
    return row is not None and row["value"] is not None


def _name(search: Search) -> str:
    return ", ".join(part for part in (search.values, search.search, search.aggregation) if part)


def _with_number(cell: object, of: object) -> Cell:
    if not isinstance(cell, Cell) or cell.value in ("-", as_percent(None)):
        return Cell("-")
    return Cell(cell.value, f"{cell.interval} {of}".strip())
