"""Command that compares forests, and stored runs of beam_search, over the items that they share."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from common.commands import ProjectCommand, names_among
from forests.forest_arguments import get_forest
from forests.models import Forest
from metrics.arguments import add_print_arguments
from metrics.measuring.comparison import Comparison, compare_forests, compare_named
from metrics.measuring.forests import runs_of
from metrics.models import MetricRun
from metrics.tables.comparing import (
    SHOWN,
    comparison_data,
    comparison_tables,
    flat_rows,
    name_comparison,
    name_run,
)
from metrics.tables.printing import show_numbers
from metrics.tables.run_tables import Table, command_of


class Command(ProjectCommand):
    help = (
        "Compare forests, or stored runs of beam_search, over the items that they share: paired "
        "differences in percentage points, with 95 % intervals. Several forests are compared by "
        "their samples and by the runs that they have in common; one forest by all of its runs. "
        "The first forest or run is the one that others are compared with."
    )
    examples = """
python manage.py compare_runs --forest_name F --list
python manage.py compare_runs --forest_name F --runs 3f2a91c04b7d,8d01c9aa52e3
python manage.py compare_runs --forest_name F,G --metrics accuracy,coverage --print_as md
"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--forest_name",
            required=True,
            metavar="NAME,NAME",
            help="names of forests, separated by commas",
        )
        parser.add_argument(
            "--runs", default="", metavar="KEY,KEY", help="keys of the runs, as shown by --list"
        )
        parser.add_argument("--list", action="store_true", help="show the runs without numbers")
        parser.add_argument(
            "--metrics",
            type=names_among(SHOWN),
            default=SHOWN,
            metavar="NAME,NAME",
            help=f"numbers of runs to show: {', '.join(SHOWN)} (default: all)",
        )
        add_print_arguments(parser)

    def handle(self, *, forest_name: str, runs: str, print_as: str, **options: Any) -> None:
        forests = [get_forest(name) for name in _names(forest_name)]
        if options["list"]:
            self._list(_runs(forests, runs), print_as)
            return
        metrics = options["metrics"]
        found = _comparisons(forests, runs)
        show_numbers(
            self,
            print_as,
            data={"comparisons": [comparison_data(one, metrics) for one in found]},
            rows=[row for one in found for row in flat_rows(one, metrics)],
            tables=[table for one in found for table in _tables(one, metrics)],
        )
        for warning in dict.fromkeys(words for one in found for words in one.warnings()):
            self.say(f"warning: {warning}")

    def _list(self, runs: list[MetricRun], print_as: str) -> None:
        described = [_described(run, runs) for run in runs]
        rows = [list(one.values()) for one in described]
        tables = [Table(list(described[0]), rows)]
        show_numbers(self, print_as, data=described, rows=described, tables=tables)


def _comparisons(forests: list[Forest], keys: str) -> list[Comparison]:
    if keys or len(forests) == 1:
        runs = _runs(forests, keys)
        if len(runs) < 2:  # noqa: PLR2004  a pair
            raise CommandError(
                "there is one run only: name two or more with --runs, or two forests with "
                "--forest_name; --list shows the runs"
            )
        return [compare_named(runs)]
    return compare_forests(forests)


def _tables(comparison: Comparison, metrics: tuple[str, ...]) -> list[Table]:
    title = name_comparison(comparison)
    tables = comparison_tables(comparison, metrics)
    return [
        Table((f"{title}: {table.columns[0]}", *table.columns[1:]), table.rows) for table in tables
    ]


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in text.split(",")))


def _runs(forests: list[Forest], keys: str) -> list[MetricRun]:
    names = ",".join(forest.name for forest in forests)
    known = [run for forest in forests for run in reversed(runs_of(forest))]
    if not known:
        raise CommandError(f"{names} has no stored run: run beam_search first")
    if not keys:
        return known
    by_key: dict[str, list[MetricRun]] = {}
    for run in known:  # with the same options, runs of different forests have the same key
        by_key.setdefault(run.key, []).append(run)
    wanted = _names(keys)
    if unknown := [key for key in wanted if key not in by_key]:
        raise CommandError(f"no run {', '.join(unknown)} of {names}; known: {', '.join(by_key)}")
    return [run for key in wanted for run in by_key[key]]


def _described(run: MetricRun, among: list[MetricRun]) -> dict[str, Any]:
    return {
        "run": run.key,
        "forest": run.forest_id,
        "name": name_run(run, among),
        "trees": f"{run.num_trees_used} of {run.num_trees}",
        "models": run.models_in_words or None,
        "computed": f"{run.created_at:%Y-%m-%d %H:%M}",
        "command": command_of(run),
    }
