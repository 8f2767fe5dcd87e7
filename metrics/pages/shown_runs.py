"""The runs that the metrics page shows and its filter, read from its URL."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from django.http import QueryDict

from forests.models import Forest
from metrics.measuring.forests import runs_of
from metrics.measuring.item_storage import key_of
from metrics.models import MetricRun
from metrics.pages.row_filter import RowFilter
from metrics.tables.comparing import name_run
from metrics.tables.wide_tables import NamedRun, Search, baselines_of, searches_of

MAX_SHOWN = 8
"""Most runs to show if the URL names none."""


@dataclass(frozen=True)
class ShownRuns:
    """All runs of a forest, latest first, the shown ones, and the filter of their numbers."""

    runs: Sequence[MetricRun]
    named: Sequence[NamedRun]
    filter: RowFilter

    @classmethod
    def read(cls, forest: Forest, parameters: QueryDict) -> "ShownRuns":
        """Return the runs and the filter that a URL asks for.

        If `?run=` names no known run, the latest run of each kind of values is shown.

        Raises:
            Http404: the filter has an unknown value.
        """
        runs = runs_of(forest)
        shown = _named_by(parameters.getlist("run"), runs) or _latest_of_each(runs)
        keys = [key_of(row) for run in shown for row in run.rows]
        row_filter = RowFilter.read(parameters.dict(), keys)  # type: ignore[arg-type]
        return cls(runs, [(name_run(run, shown), run) for run in shown], row_filter)

    @cached_property
    def searches(self) -> list[Search]:
        """The searches that match the filter."""
        return searches_of(((name, run.rows) for name, run in self.named), self.filter.matches)

    @cached_property
    def baselines(self) -> list[Search]:
        return baselines_of((name, run.rows) for name, run in self.named)

    @property
    def choices(self) -> list[tuple[MetricRun, str, bool]]:
        """Each run, its name, and whether it is shown."""
        keys = {run.key for _, run in self.named}
        return [(run, name_run(run, self.runs), run.key in keys) for run in self.runs]

    @property
    def query(self) -> QueryDict:
        """URL parameters with which a picture shows the same runs and numbers."""
        found = QueryDict(mutable=True)
        found.setlist("run", [run.key for _, run in self.named])
        found.update(self.filter.query)
        return found


def _named_by(keys: Sequence[str], runs: Sequence[MetricRun]) -> list[MetricRun]:
    by_key = {run.key: run for run in runs}
    return [by_key[key] for key in dict.fromkeys(keys) if key in by_key]


def _latest_of_each(runs: Sequence[MetricRun]) -> list[MetricRun]:
    latest: dict[tuple[str, str], MetricRun] = {}
    for run in runs:
        kind = run.parameters["value_function"], run.parameters.get("scorer", "")
        latest.setdefault(kind, run)
    return list(latest.values())[:MAX_SHOWN]
