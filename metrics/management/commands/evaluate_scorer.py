"""Command that evaluates a scorer against the Monte Carlo values of a forest."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from common.commands import ProjectCommand
from common.progress_bar import shown_progress
from forests.core.model_counts import from_fields
from forests.forest_arguments import (
    add_forest_argument,
    get_grown_forest,
    say_uncompared,
    say_ungrouped,
)
from forests.storage.scores import get_scorer
from metrics.arguments import (
    add_print_arguments,
    add_save_argument,
    add_search_arguments,
    add_value_arguments,
    chosen_aggregations,
    estimator_for,
    share,
)
from metrics.core.evaluation import EvaluationOptions
from metrics.core.search.value_functions import ValueOptions
from metrics.measuring.scorers import JudgingOptions, judge_scorer
from metrics.models import ScorerReport
from metrics.tables.printing import show_numbers
from metrics.tables.scorer_tables import comparison_table, quality_table


class Command(ProjectCommand):
    help = (
        "Compare the scores from score_nodes with the Monte Carlo values of the same steps. "
        "Reports AUROC, first errors found as in ProcessBench, and the gain of searches by the "
        "scores over a majority vote, beside searches by Monte Carlo values (an oracle) and at "
        "random."
    )
    examples = """
python manage.py evaluate_scorer --forest_name F --scorer shepherd
python manage.py evaluate_scorer --forest_name F --scorer qwen --num_beam_values 1,4,16 \
--aggregation min,last,product --print_as md
"""

    def add_arguments(self, parser: CommandParser) -> None:
        add_forest_argument(parser)
        parser.add_argument("--scorer", required=True, help="the name given to score_nodes")
        add_search_arguments(parser, num_beam_values=(1, 2, 4, 8), procedures=("best_of_n", "beam"))
        parser.add_argument(
            "--label_threshold",
            type=share,
            default=0.0,
            help="a step is good if its Monte Carlo value is above this (default: 0, as in "
            "Math-Shepherd's hard labels)",
        )
        add_value_arguments(parser)
        add_print_arguments(parser)
        add_save_argument(parser)

    def handle(self, *, forest_name: str, save: bool, print_as: str, **options: Any) -> None:
        forest = get_grown_forest(forest_name)
        get_scorer(forest, options["scorer"])
        estimator = estimator_for(forest, options["estimator"], self)
        wanted = JudgingOptions(
            scorer=options["scorer"],
            label_threshold=options["label_threshold"],
            searches=EvaluationOptions(
                procedures=options["procedures"],
                num_beam_values=options["num_beam_values"],
                aggregations=chosen_aggregations(options["aggregation"]),
                values=ValueOptions(estimator=estimator, ungraded=options["ungraded"]),
            ),
        )
        with shown_progress("trees", total=forest.num_trees) as report:
            found = judge_scorer(forest, wanted, report)
        if not found.num_trees_used:
            raise CommandError(
                f"no complete tree of {forest.name!r} has scores of {wanted.scorer!r}: run "
                "score_nodes first"
            )
        if save:
            found.save()
        self._show(found, print_as)

    def _show(self, found: ScorerReport, print_as: str) -> None:
        names = ("scorer", "parameters", "quality", "searches", "num_trees", "num_trees_used")
        told = {name: getattr(found, name) for name in names}
        show_numbers(
            self,
            print_as,
            data=told | {"models": from_fields(found.nodes_by_model)},
            rows=[{"values": name, **row} for name, rows in found.searches.items() for row in rows],
            tables=[quality_table(found.quality), comparison_table(found.searches)],
        )
        self.say(
            f"{found.num_trees_used} of {found.num_trees} trees have scores; searches by Monte "
            "Carlo values know the answers, so they are an upper bound"
        )
        self.say(f"models: {found.models_in_words or 'not known'}")
        say_uncompared(self, found.num_uncompared, found.forest_id)
        say_ungrouped(self, found.num_ungrouped, found.forest_id)
