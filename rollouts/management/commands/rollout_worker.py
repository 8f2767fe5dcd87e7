from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError, CommandParser

from forests.commands import (
    EXIT_PARTLY_FAILED,
    ProjectCommand,
    add_forest_argument,
    positive_integer,
)
from forests.models import Forest
from rollouts.commands import DEFAULT_TREES_PER_JOB, get_growable_forest
from rollouts.worker_processes import grow_with_processes


class Command(ProjectCommand):
    help = "Grow a forest with worker processes of this machine, until each tree is finished."
    examples = """
manage.py rollout_worker --num_processes 12 --forest_name gsm8k_baseline-test-first
"""

    def add_arguments(self, parser: CommandParser) -> None:
        add_forest_argument(parser)
        parser.add_argument(
            "--num_processes",
            type=positive_integer,
            default=1,
            help="worker processes; each keeps `concurrency` requests in flight "
            "(default: %(default)s)",
        )
        parser.add_argument(
            "--trees_per_job",
            type=positive_integer,
            default=DEFAULT_TREES_PER_JOB,
            help="trees that one job grows (default: %(default)s)",
        )
        parser.add_argument("--json", action="store_true", help="print the result as JSON")

    def handle(self, **options: Any) -> None:
        forest = get_growable_forest(options["forest_name"])
        summary = grow_with_processes(
            forest, options["num_processes"], options["trees_per_job"], self.stderr
        )
        if options["json"]:
            self.show_json(asdict(summary))
        self.say(
            f"{summary.num_complete} of {summary.num_trees} trees complete, "
            f"{summary.num_failed} failed; {summary.num_leaves} rollouts, "
            f"{summary.completion_tokens} tokens, {summary.leaves_per_second} rollouts/s"
        )
        self._check_outcome(Forest.objects.get(pk=forest.name))

    def _check_outcome(self, forest: Forest) -> None:
        if forest.num_pending:
            reason = forest.backend_message or "workers ended early: their output says why"
            raise CommandError(f"{forest.num_pending} trees are unfinished; {reason}")
        if forest.num_failed:
            raise CommandError(
                f"{forest.num_failed} trees failed: the forest's page shows why",
                returncode=EXIT_PARTLY_FAILED,
            )
