from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandParser

from forests.commands import ProjectCommand, positive_integer
from rollouts.commands import add_growth_arguments, check_outcome, get_growable_forest
from rollouts.watching import node_limit_note, spending_note
from rollouts.worker_processes import grow_with_processes


class Command(ProjectCommand):
    help = "Grow a forest with worker processes of this machine, until each tree is finished."
    examples = """
manage.py rollout_worker --num_processes 12 --forest_name gsm8k_baseline-test-first
manage.py rollout_worker --forest_name gsm8k_baseline-test-first --max_tokens_total 1000000
"""

    def add_arguments(self, parser: CommandParser) -> None:
        add_growth_arguments(parser)
        parser.add_argument(
            "--num_processes",
            type=positive_integer,
            default=1,
            help="worker processes; each keeps `concurrency` requests in flight "
            "(default: %(default)s)",
        )

    def handle(self, **options: Any) -> None:
        forest = get_growable_forest(options)
        summary = grow_with_processes(
            forest, options["num_processes"], options["trees_per_job"], self.stderr
        )
        if options["json"]:
            self.show_json(asdict(summary))
        self.say(
            f"{summary.state}: {summary.num_complete} of {summary.num_trees} trees complete, "
            f"{summary.num_failed} failed; {summary.num_leaves} rollouts, "
            f"{summary.leaves_per_second} rollouts/s; {spending_note(summary)}"
        )
        if note := node_limit_note(summary):
            self.say(note)
        self.say_uncompared(summary.num_uncompared, forest.name)
        check_outcome(forest.name)
