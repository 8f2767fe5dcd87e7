import argparse
from dataclasses import fields
from typing import Any

from django.core.management.base import CommandError, CommandParser

from common.commands import EXIT_BAD_USAGE, ProjectCommand, add_json_argument, positive_integer
from common.progress_bar import shown_progress
from experiment_configs.interfaces import SETTINGS_THAT_ADD, RolloutWorkerConfig
from forests.forest_arguments import add_forest_argument, get_graded_forest
from forests.models import Forest
from forests.progress.reading import read_standing_of
from forests.storage.scores import scorer_names
from rollouts.config_checks import nodes_warning
from rollouts.growth_arguments import RAISE_THE_LIMIT
from rollouts.maintenance.extending import Extension, extend_forest
from rollouts.maintenance.larger_settings import settings_that_add, why_not_extended

NUMBERS = {
    "num_rollouts": "complete rollouts from the root, or solutions to annotate",
    "rollouts_per_state": "rollouts from each annotated prefix",
    "num_searches": "maximum number of binary searches in a tree",
    "max_nodes": "maximum number of nodes below the root: trees that reached it grow further",
}


class Command(ProjectCommand):
    help = (
        "Let complete trees grow further: raise settings that only add samples. Existing samples "
        "are kept. Run rollout_worker or populate_forest afterwards to draw the missing ones."
    )
    examples = """
manage.py extend_forest --forest_name gsm8k_baseline-test-first --branching 8,2,1 --dry_run
manage.py extend_forest --forest_name gsm8k_baseline-test-first --branching 8,2,1
manage.py rollout_worker --forest_name gsm8k_baseline-test-first
"""

    def add_arguments(self, parser: CommandParser) -> None:
        add_forest_argument(parser)
        for name, words in NUMBERS.items():
            told = f"{words} ({_strategies(name)})"
            parser.add_argument(f"--{name}", type=positive_integer, help=told)
        parser.add_argument(
            "--branching",
            type=_numbers,
            help="samples from a node at depth 0, 1, …, separated by commas (branching)",
        )
        for name in _other_settings():
            parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
        parser.add_argument(
            "--dry_run", action="store_true", help="show what would grow, and change nothing"
        )
        add_json_argument(parser)

    def handle(self, *, dry_run: bool, **options: Any) -> None:
        forest = get_graded_forest(options["forest_name"])
        for name in _other_settings():
            if options[name] is not None:
                raise CommandError(why_not_extended(forest.strategy, name))
        wanted = {
            name: options[name] for name in ("branching", *NUMBERS) if options[name] is not None
        }
        if not wanted:
            adding = ", ".join(f"--{name}" for name in settings_that_add(forest.strategy))
            raise CommandError(f"name a setting to raise: {adding}", returncode=EXIT_BAD_USAGE)
        with shown_progress("trees", total=forest.num_trees) as report:
            extension = extend_forest(forest, wanted, is_dry_run=dry_run, report=report)
        self._show(forest, extension, is_dry_run=dry_run, as_json=options["json"])

    def _show(
        self, forest: Forest, extension: Extension, *, is_dry_run: bool, as_json: bool
    ) -> None:
        standing = read_standing_of(forest)
        if as_json:
            self.show_json(
                {
                    "forest_name": forest.name,
                    "settings": {
                        name: {"old": old, "new": new}
                        for name, (old, new) in extension.changes.items()
                    },
                    "num_trees": extension.num_trees,
                    "num_unfinished": extension.num_unfinished,
                    "num_samples_at_least": extension.num_samples,
                    "is_dry_run": is_dry_run,
                    "state": str(standing.state),
                }
            )
        changed = [f"{name} {old} -> {new}" for name, (old, new) in extension.changes.items()]
        told = "; ".join(changed) or "the forest has these settings already"
        number = extension.num_trees
        trees = "1 complete tree" if number == 1 else f"{number} complete trees"
        self.say(
            f"{told}: {trees} {'would' if is_dry_run else 'will'} grow further, with at least "
            f"{extension.num_samples} more samples"
        )
        if extension.num_unfinished:
            self.say(f"{extension.num_unfinished} unfinished trees grow with the same settings")
        self._say_limits(forest, extension)
        if is_dry_run:
            self.say("nothing was changed: run it without --dry_run to extend the forest")
            return
        self._say_what_is_older(forest, number)
        self.say(f"{standing}{standing.hint}")

    def _say_limits(self, forest: Forest, extension: Extension) -> None:
        values = forest.worker_config | {name: new for name, (_, new) in extension.changes.items()}
        if warning := nodes_warning(RolloutWorkerConfig.from_dict(values)):
            self.say(warning)
        if forest.num_failed:
            self.say(f"{forest.num_failed} failed trees grow further only after retry_failed")
        if forest.spent_limit:
            self.say(f"{forest.spent_limit}: {RAISE_THE_LIMIT}")

    def _say_what_is_older(self, forest: Forest, num_trees: int) -> None:
        if not num_trees:
            return
        self.say(
            "existing metric runs and preference sets keep the values of fewer samples: when "
            "the trees have grown, run beam_search and create_preferences --replace again"
        )
        if names := scorer_names(forest):
            self.say(f"new steps have no scores from {', '.join(names)}: run score_nodes again")


def _other_settings() -> list[str]:
    known = {"branching", *NUMBERS}
    return [field.name for field in fields(RolloutWorkerConfig) if field.name not in known]


def _strategies(name: str) -> str:
    return ", ".join(one for one, names in SETTINGS_THAT_ADD.items() if name in names)


def _numbers(text: str) -> tuple[int, ...]:
    """Return numbers that are separated by commas, for `type=` of an argument."""
    return tuple(positive_integer(number.strip()) for number in text.split(","))
