from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from common.commands import ProjectCommand, add_json_argument
from common.progress_bar import shown_progress
from experiment_configs.loading import load_config
from forests.forest_arguments import add_forest_argument, get_seeded_forest
from rollouts.maintenance.regrading import Regrading, regrade_forest


class Command(ProjectCommand):
    help = (
        "Extract and grade the answers of a forest again, with the current file of its config. "
        "Draws no samples; prompts, labels and worker settings stay as they were seeded."
    )
    examples = """
manage.py regrade_forest --forest_name gsm8k_baseline-test-first --dry_run
manage.py regrade_forest --forest_name gsm8k_baseline-test-first
"""

    def add_arguments(self, parser: CommandParser) -> None:
        add_forest_argument(parser)
        parser.add_argument(
            "--dry_run", action="store_true", help="show what would change and write nothing"
        )
        add_json_argument(parser)

    def handle(self, *, forest_name: str, dry_run: bool, **options: Any) -> None:
        forest = get_seeded_forest(forest_name)
        loaded = load_config(forest.config_name, settings.CONFIG_PATH)
        with shown_progress("trees", total=forest.num_trees) as report:
            regrading = regrade_forest(forest, loaded, is_dry_run=dry_run, report=report)
        self._show(regrading, as_json=options["json"])
        if regrading.uncompared:
            self.say(
                f"{regrading.uncompared} leaves have no result, because their answers could not "
                "be compared with the label: run regrade_forest again when the machine is less "
                "busy, or fix is_correct"
            )
        if regrading.trees_changed and not dry_run:
            self.say(
                "existing metric runs and preference sets keep the old grades: run beam_search "
                "and create_preferences --replace again"
            )

    def _show(self, regrading: Regrading, *, as_json: bool) -> None:
        changes = [(old, new, leaves) for (old, new), leaves in sorted(regrading.grades.items())]
        if as_json:
            self.show_json(
                {
                    "leaves": regrading.leaves,
                    "answers_changed": regrading.answers_changed,
                    "voted_answers_changed": regrading.voted_answers_changed,
                    "uncompared": regrading.uncompared,
                    "trees_changed": regrading.trees_changed,
                    "grades_changed": [
                        {"old": old, "new": new, "leaves": leaves} for old, new, leaves in changes
                    ],
                }
            )
            return
        if changes:
            self.show_table(("grade was", "is", "leaves"), changes)
        self.say(
            f"of {regrading.leaves} leaves, {sum(regrading.grades.values())} changed their grade "
            f"and {regrading.answers_changed} their answer, in {regrading.trees_changed} trees"
        )
        if regrading.voted_answers_changed:
            self.say(
                f"the votes of {regrading.voted_answers_changed} leaves now count under a "
                "different answer"
            )
