"""Command that compares stored runs of beam_search."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from common.commands import ProjectCommand, names_among
from forests.forest_arguments import get_forest
from metrics.arguments import add_print_arguments
from metrics.measuring.forests import runs_of
from metrics.models import MetricRun
from metrics.tables.comparing import (
    SHOWN,
    compared_table,
    comparison,
    difference_of_items,
    name_run,
)
from metrics.tables.printing import show_numbers
from metrics.tables.run_tables import Table, command_of


class Command(ProjectCommand):
    help = (
        "List or compare the stored runs of beam_search of one or more forests. Brackets show the "
        "difference from the first run in percentage points."
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
            help=f"numbers to show: {', '.join(SHOWN)} (default: all)",
        )
        add_print_arguments(parser)

    def handle(self, *, forest_name: str, runs: str, print_as: str, **options: Any) -> None:
        found = _runs(forest_name, runs)
        described = [_described(run, found) for run in found]
        if options["list"]:
            rows = [list(one.values()) for one in described]
            tables = [Table(list(described[0]), rows)]
            show_numbers(self, print_as, data=described, rows=described, tables=tables)
            return
        metrics = options["metrics"]
        show_numbers(
            self,
            print_as,
            data={
                "runs": described,
                "items_differ": difference_of_items(found) or None,
                "rows": comparison(found, metrics),
            },
            rows=_flat(found, metrics),
            tables=[compared_table(found, metrics)],
        )
        if len(found) > 1 and (why := difference_of_items(found)):
            self.say(f"warning: {why}")


def _runs(forest_names: str, keys: str) -> list[MetricRun]:
    forests = [get_forest(name.strip()) for name in dict.fromkeys(forest_names.split(","))]
    known = [run for forest in forests for run in reversed(runs_of(forest))]
    if not known:
        raise CommandError(f"{forest_names} has no stored run: run beam_search first")
    if not keys:
        return known
    by_key: dict[str, list[MetricRun]] = {}
    for run in known:  # runs of two forests with the same options have the same key
        by_key.setdefault(run.key, []).append(run)
    wanted = [key.strip() for key in keys.split(",")]
    if unknown := [key for key in wanted if key not in by_key]:
        raise CommandError(
            f"no run {', '.join(unknown)} of {forest_names}; known: {', '.join(by_key)}"
        )
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


def _flat(runs: list[MetricRun], metrics: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return a row per number; the columns of runs of several forests name the forest too."""
    is_of_one_forest = len({run.forest_id for run in runs}) == 1
    return [
        {
            **{name: row[name] for name in ("procedure", "metric", "aggregation", "k")},
            **{
                (run.key if is_of_one_forest else f"{run.forest_id}/{run.key}"): (
                    None if found is None else found["value"]
                )
                for run, found in zip(runs, row["found"], strict=True)
            },
        }
        for row in comparison(runs, metrics)
    ]
