"""Command that searches a forest by its values and reports accuracies."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from common.commands import ProjectCommand, positive_integer
from common.progress_bar import shown_progress
from forests.core.model_counts import from_fields
from forests.forest_arguments import say_uncompared, say_ungrouped
from forests.models import Forest
from metrics.arguments import (
    add_print_arguments,
    add_save_argument,
    add_search_arguments,
    add_tree_filter_arguments,
    add_value_arguments,
    chosen_aggregations,
    estimator_for,
    tree_filter,
)
from metrics.core.evaluation import EvaluationOptions
from metrics.core.search.value_functions import VALUE_FUNCTIONS, ValueOptions
from metrics.forest_choice import add_forest_or_archive_argument, open_grown
from metrics.measuring.forests import evaluate_forest, metric_run, save_run
from metrics.models import MetricRun
from metrics.tables.printing import show_numbers
from metrics.tables.run_tables import baseline_table, left_out, note, search_table


class Command(ProjectCommand):
    help = (
        "Search each complete tree of a forest by the values of its nodes. Show how often the "
        "beams give the correct answer, and what the same leaves give without a search."
    )
    examples = """
python manage.py beam_search --num_beam_values 1,5 --value_function_option labelled \
--forest_name F --aggregation mean
python manage.py beam_search --forest_name F --aggregation mean,min,last --print_as csv
python manage.py beam_search --forest_name F --value_function_option labelled_held_out
python manage.py beam_search --archive backups/first --processes 2
"""

    def add_arguments(self, parser: CommandParser) -> None:
        add_forest_or_archive_argument(parser)
        parser.add_argument(
            "--value_function_option",
            choices=VALUE_FUNCTIONS,
            default="labelled",
            help="labelled: Monte Carlo values, an oracle; labelled_held_out: Monte Carlo values "
            "from one half of the leaves, for a search of the other half; logprob: the model's "
            "confidence; random: the floor; prm: the scores of --scorer (default: %(default)s)",
        )
        parser.add_argument("--scorer", default="", help="for prm: the name given to score_nodes")
        add_search_arguments(parser, num_beam_values=(1, 5), procedures=("beam",))
        add_value_arguments(parser)
        add_tree_filter_arguments(parser)
        parser.add_argument("--seed", type=int, default=0, help="seed for random (default: 0)")
        parser.add_argument(
            "--processes",
            type=positive_integer,
            default=1,
            help="processes that share the trees of a large forest (default: 1)",
        )
        add_print_arguments(parser)
        add_save_argument(parser)

    def handle(
        self,
        *,
        forest_name: str | None,
        archive: Path | None,
        save: bool,
        print_as: str,
        **options: Any,
    ) -> None:
        _check_scorer(options)
        reader = open_grown(forest_name, archive)
        forest = reader.forest
        wanted = _evaluation_options(
            options
            | {"estimator": estimator_for(forest, options["estimator"], self, counts_samples=True)}
        )
        if wanted.values.scorer:
            reader.scorer(wanted.values.scorer)
        with shown_progress("trees", total=forest.num_trees) as report:
            evaluation = evaluate_forest(reader, wanted, report, options["processes"])
        run = metric_run(reader, evaluation)
        if save and not archive:
            save_run(run, evaluation)
        self._show(forest, run, print_as)
        if save and archive:
            self.say(
                "the numbers are not stored, because no page shows an archive: import_forest makes "
                "a forest of it"
            )

    def _show(self, forest: Forest, run: MetricRun, print_as: str) -> None:
        tables = search_table(run.rows), baseline_table(run.rows)
        show_numbers(self, print_as, data=_as_json(forest, run), rows=run.rows, tables=tables)
        if print_as == "table":
            self.stdout.write(f"trees used: {run.num_trees_used} of {run.num_trees}")
            self.show(f"models: {run.models_in_words or 'not known'}")
        self.say(f"{note(run)}.")
        if reasons := left_out(run):
            self.say(f"trees left out: {', '.join(reasons)}")
        say_uncompared(self, run.num_uncompared, forest.name)
        say_ungrouped(self, run.num_ungrouped, forest.name)


def _check_scorer(options: dict[str, Any]) -> None:
    if (options["value_function_option"] == "prm") != bool(options["scorer"]):
        raise CommandError(
            "--value_function_option prm and --scorer go together: give both, with the name that "
            "score_nodes got"
        )


def _evaluation_options(options: dict[str, Any]) -> EvaluationOptions:
    return EvaluationOptions(
        procedures=options["procedures"],
        num_beam_values=options["num_beam_values"],
        aggregations=chosen_aggregations(options["aggregation"]),
        values=ValueOptions(
            value_function=options["value_function_option"],
            estimator=options["estimator"],
            ungraded=options["ungraded"],
            seed=options["seed"],
            scorer=options["scorer"],
        ),
        trees=tree_filter(options),
    )


def _as_json(forest: Forest, run: MetricRun) -> dict[str, Any]:
    return {
        "forest_name": forest.name,
        "parameters": run.parameters,
        "is_oracle": run.parameters["value_function"] == "labelled",
        "note": note(run),
        "trees": {
            "total": run.num_trees,
            "used": run.num_trees_used,
            "left_out": run.left_out,
        },
        "models": from_fields(run.nodes_by_model),
        "cost": run.forest_cost,
        "samples": {"uncompared": run.num_uncompared, "ungrouped": run.num_ungrouped},
        "rows": run.rows,
    }
