from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError, CommandParser

from forests.commands import (
    EXIT_PARTLY_FAILED,
    ProjectCommand,
    add_forest_argument,
    positive_integer,
)
from rollouts.commands import DEFAULT_TREES_PER_JOB, get_growable_forest
from rollouts.jobs import enqueue_forest
from rollouts.watching import watch_growth


class Command(ProjectCommand):
    help = "Put a forest's unfinished trees into the queue, for workers on any machine to grow."
    examples = """
manage.py populate_forest --forest_name gsm8k_baseline-test-first --watch
manage.py rqworker rollouts
manage.py rqworker-pool rollouts --num-workers 4
"""

    def add_arguments(self, parser: CommandParser) -> None:
        add_forest_argument(parser)
        parser.add_argument(
            "--trees_per_job",
            type=positive_integer,
            default=DEFAULT_TREES_PER_JOB,
            help="trees that one job grows (default: %(default)s)",
        )
        parser.add_argument(
            "--watch", action="store_true", help="show progress until no tree is unfinished"
        )
        parser.add_argument("--json", action="store_true", help="print the result as JSON")

    def handle(self, **options: Any) -> None:
        forest = get_growable_forest(options["forest_name"])
        number = enqueue_forest(forest, options["trees_per_job"])
        self.say(f"{number} jobs put into the queue, {forest.num_pending} trees unfinished")
        if not options["watch"]:
            if options["json"]:
                self.show_json({"forest_name": forest.name, "jobs": number})
            return
        summary = watch_growth(forest.name, self.stderr, goes_on=lambda _: True)
        if options["json"]:
            self.show_json(asdict(summary))
        self.say(f"{summary.num_complete} trees complete, {summary.num_failed} failed")
        if summary.num_failed:
            raise CommandError(
                f"{summary.num_failed} trees failed: the forest's page shows why",
                returncode=EXIT_PARTLY_FAILED,
            )
