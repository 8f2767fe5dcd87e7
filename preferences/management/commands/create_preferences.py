"""Command that makes synthetic preferences from the values of a forest."""

from typing import Any

from django.core.management.base import CommandParser

from common.commands import ProjectCommand, add_json_argument, pick
from common.progress_bar import shown_progress
from common.text import counted
from forests.forest_arguments import (
    add_forest_argument,
    get_grown_forest,
    say_uncompared,
    say_ungrouped,
)
from forests.models import Forest
from forests.storage.reader import DatabaseReader
from metrics.arguments import add_tree_filter_arguments, tree_filter
from preferences.arguments import add_source_arguments, choose_source
from preferences.core.confidence import has_confidence
from preferences.core.pairing import REASONS
from preferences.core.value_sources import ValueSource
from preferences.models import PreferenceSet
from preferences.pairing_arguments import (
    add_pairing_arguments,
    check_pairing,
    pairing_for,
    parameters_of,
)
from preferences.sets.creation import create_preferences, stored_set
from preferences.sets.reviews import count_absent
from preferences.sets.storage import delete_set


class Command(ProjectCommand):
    help = (
        "Make a preference set: pairs of continuations of the same prefix, the one with the higher "
        "value chosen. The same parameters on the same forest give the same set. Run the command "
        "again to continue after an interruption, or to add the pairs of newly complete trees."
    )
    examples = """
python manage.py create_preferences --forest_name gsm8k_baseline-test-first
python manage.py create_preferences --forest_name F --pairing all_pairs --min_margin 0.5
python manage.py create_preferences --forest_name F --level trajectory --max_pairs_per_tree 8
python manage.py create_preferences --forest_name F --values scorer:imported
python manage.py create_preferences --forest_name F --values progress:prover
"""

    def add_arguments(self, parser: CommandParser) -> None:
        add_forest_argument(parser)
        parser.add_argument(
            "--set_name", help="name of the set; default: the pairing and a hash of the parameters"
        )
        parser.add_argument(
            "--replace",
            action="store_true",
            help="rebuild the set of this name; reviews are kept and re-attached to pairs that "
            "reappear",
        )
        add_pairing_arguments(parser)
        parser.add_argument(
            "--seed", type=int, default=0, help="seed of the limits' choice (default: 0)"
        )
        add_source_arguments(parser)
        add_tree_filter_arguments(parser)
        add_json_argument(parser)

    def handle(
        self, *, forest_name: str, set_name: str | None, replace: bool, **options: Any
    ) -> None:
        forest = get_grown_forest(forest_name)
        check_pairing(options)
        source = choose_source(DatabaseReader(forest), options, self)
        parameters = parameters_of(pairing_for(source, options), source, tree_filter(options))
        name = set_name or parameters.default_name
        if replace and (known := stored_set(forest, name)):
            gone = delete_set(known)
            self.say(f"deleted preference set {name} with {gone} pairs")
        with shown_progress("trees", total=forest.num_trees) as report:
            made = create_preferences(forest, name, parameters, report)
        self._show(forest, made, as_json=options["json"])

    def _show(self, forest: Forest, made: PreferenceSet, *, as_json: bool) -> None:
        facts = {"forest_name": forest.name, "set_name": made.name, **pick(made, _COUNTS)}
        if as_json:
            self.show_json({**facts, "parameters": made.parameters, "dropped": made.dropped})
        else:
            for name, value in facts.items():
                shown = f"{value:.3f}" if isinstance(value, float) else value
                self.stdout.write(f"{name}: {'none' if shown is None else shown}")
            if made.dropped:
                rows = [(REASONS.get(key, key), made.dropped[key]) for key in sorted(made.dropped)]
                self.show_table(("left out", "number"), rows)
        self._say_left_out(forest, made)
        if absent := count_absent(made):
            self.say(
                f"{absent} reviews belong to pairs that are not in the set; they are kept, and "
                "re-attached if such a pair reappears"
            )
        if not made.num_pairs:
            self.say(
                "no pair was found: see what was left out, then grow more rollouts, lower "
                "--min_confidence, --min_margin or --min_leaves, or use a model that is sometimes "
                "correct"
            )

    def _say_left_out(self, forest: Forest, made: PreferenceSet) -> None:
        if made.num_trees_incomplete:
            self.say(
                f"{made.num_trees_incomplete} of {forest.num_trees} trees are not complete and "
                "were left out; run the same command again when they are"
            )
        if unscored := made.dropped.get("trees_without_scores"):
            self.say(
                f"{unscored} of {forest.num_complete} complete trees have no scores of "
                f"{made.parameters['scorer']!r} and were left out; run the same command again when "
                "they have"
            )
        if unrated := made.dropped.get("pairs_without_other_scores"):
            self.say(
                f"{counted(unrated, 'pair')} left out because a source of --agree does not rate "
                "both sides: judge all solutions (score_nodes without --solutions), or label "
                "more steps"
            )
        self._say_confidence(forest, made)
        say_uncompared(self, forest.num_uncompared, forest.name)
        if made.parameters.get("drop_same_answer"):
            say_ungrouped(self, made.num_ungrouped, forest.name)

    def _say_confidence(self, forest: Forest, made: PreferenceSet) -> None:
        least = made.parameters.get("min_confidence", 0.0)
        if not has_confidence(ValueSource.from_dict(made.parameters)):
            self.say(
                "the confidence of these pairs is unknown, because their values are not shares of "
                "samples: --min_confidence does not apply to them"
            )
        elif made.prior is None:
            self.say(
                "the confidence of these pairs is unknown: an earlier release made the set; "
                "--replace it to have it"
            )
        elif forest.num_complete > made.num_trees_in_prior:
            self.say(
                f"the confidences follow from the {made.num_trees_in_prior} trees that were "
                "complete when the set was made: --replace it to use all trees"
            )
        if unsure := made.dropped.get("pairs_below_min_confidence"):
            self.say(
                f"{counted(unsure, 'pair')} left out because it is not sure enough which side is "
                f"better (confidence below {least:g}): run refine_forest --goal pairs, draw more "
                "samples of each step (rollouts_per_state or a wider branching), grow more trees, "
                "or lower --min_confidence"
            )


_COUNTS = (
    "num_pairs", "mean_margin", "num_trees_used", "num_trees_with_pairs", "num_trees_incomplete",
    "num_accepted", "num_rejected", "mean_chosen_characters", "mean_rejected_characters",
    "num_chosen_longer", "num_chosen_shorter",
)  # fmt: skip
