"""Command that evaluates a scorer against Monte Carlo values or labels of a forest."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from common.commands import ProjectCommand
from common.progress_bar import shown_progress
from forests.core.model_counts import from_fields
from forests.core.opinions.verdicts import GIVE_VERDICTS
from forests.forest_arguments import (
    add_forest_argument,
    get_grown_forest,
    say_uncompared,
    say_ungrouped,
)
from forests.models import Forest
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
        "Compare the scores of score_nodes or import_scores with the Monte Carlo values of the "
        "same steps. With --against, compare them with the labels of another scorer, and report "
        "StepAcc and FirstErrAcc as in AgentProcessBench. "
        "Reports AUROC, first errors found as in ProcessBench, and the gain of searches by the "
        "scores over a majority vote, beside searches by Monte Carlo values (an oracle) and at "
        "random."
    )
    examples = """
python manage.py evaluate_scorer --forest_name F --scorer shepherd
python manage.py evaluate_scorer --forest_name F --scorer qwen --num_beam_values 1,4,16 \
--aggregation min,last,product --print_as md
python manage.py evaluate_scorer --forest_name F --scorer critic --against people
"""

    def add_arguments(self, parser: CommandParser) -> None:
        add_forest_argument(parser)
        parser.add_argument("--scorer", required=True, help="the name given to score_nodes")
        add_search_arguments(parser, num_beam_values=(1, 2, 4, 8), procedures=("best_of_n", "beam"))
        parser.add_argument(
            "--label_threshold",
            type=share,
            help="a step is good if its Monte Carlo value is above this (default: 0, as in "
            "Math-Shepherd's hard labels)",
        )
        parser.add_argument(
            "--against",
            metavar="NAME",
            help="scorer whose labels are the reference, such as labels of people (default: the "
            "Monte Carlo values)",
        )
        add_value_arguments(parser)
        add_print_arguments(parser)
        add_save_argument(parser)

    def handle(self, *, forest_name: str, save: bool, print_as: str, **options: Any) -> None:
        forest = get_grown_forest(forest_name)
        get_scorer(forest, options["scorer"])
        _check_reference(forest, options)
        estimator = estimator_for(forest, options["estimator"], self, counts_samples=True)
        wanted = JudgingOptions(
            scorer=options["scorer"],
            label_threshold=options["label_threshold"] or 0.0,
            against=options["against"] or "",
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
            raise CommandError(_why_nothing(forest, wanted))
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
        if found.against:
            self.say(_coverage(found))
        what = "labels" if found.against else "scores"
        self.say(
            f"{found.num_trees_used} of {found.num_trees} trees have {what}; searches by Monte "
            "Carlo values know the answers, so they are an upper bound"
        )
        self.say(f"models: {found.models_in_words or 'not known'}")
        say_uncompared(self, found.num_uncompared, found.forest_id)
        say_ungrouped(self, found.num_ungrouped, found.forest_id)


def _check_reference(forest: Forest, options: dict[str, Any]) -> None:
    if not options["against"]:
        return
    if options["label_threshold"] is not None:
        raise CommandError("--label_threshold is about Monte Carlo values: leave --against out")
    if options["against"] == options["scorer"]:
        raise CommandError("--against names the scorer itself: give another one")
    reference = get_scorer(forest, options["against"])
    if reference.kind not in GIVE_VERDICTS:
        raise CommandError(
            f"the scores of {reference.name!r} are not labels: give a scorer of people, of a "
            "judge, or from import_scores"
        )


def _why_nothing(forest: Forest, wanted: JudgingOptions) -> str:
    names = [name for name in (wanted.against, wanted.scorer) if name]
    missing = next((one for one in names if not get_scorer(forest, one).num_trees), names[0])
    return (
        f"no complete tree of {forest.name!r} has scores of {missing!r}: run score_nodes or "
        "import_scores first"
    )


def _coverage(found: ScorerReport) -> str:
    one = found.quality["agreement"]
    return (
        f"{one['steps_without_score']} of {one['steps']} labelled steps have no score of "
        f"{found.scorer!r} and do not agree; {one['solutions_without_score']} of "
        f"{one['solutions']} labelled solutions have none at all: FirstErrAcc counts them as "
        "without an error, as AgentProcessBench does, and F1 as not judged"
    )
