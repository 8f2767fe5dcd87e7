from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError, CommandParser

from common.commands import ProjectCommand, positive_integer
from forests.forest_arguments import say_uncompared
from forests.models import Forest
from rollouts.growth_arguments import (
    add_growth_arguments,
    check_outcome,
    get_growable_forest,
    get_in_flight,
    unfinished_trees,
)
from rollouts.sampling.in_flight import InFlight, shares
from rollouts.workers.child_processes import WorkerFailedError, grow_with_processes
from rollouts.workers.watching import node_limit_note, spending_note


class Command(ProjectCommand):
    help = "Grow a forest with worker processes on this machine until all trees are finished."
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
            help="worker processes, which share the forest's `concurrency` (default: %(default)s)",
        )

    def handle(self, **options: Any) -> None:
        forest = get_growable_forest(options)
        requests = self._divide(get_in_flight(forest), forest, options["num_processes"])
        try:
            summary = grow_with_processes(forest, requests, self.stderr)
        except WorkerFailedError as error:
            forest.refresh_from_db()
            raise CommandError(f"{unfinished_trees(forest)}; {error}") from error
        if options["json"]:
            self.show_json(asdict(summary))
        self.say(
            f"{summary.state}: {summary.num_complete} of {summary.num_trees} trees complete, "
            f"{summary.num_failed} failed; {summary.num_leaves} rollouts, "
            f"{summary.leaves_per_second} rollouts/s; {spending_note(summary)}"
        )
        if note := node_limit_note(summary):
            self.say(note)
        say_uncompared(self, summary.num_uncompared, forest.name)
        check_outcome(forest.name)

    def _divide(self, in_flight: InFlight, forest: Forest, num_processes: int) -> list[int]:
        """Return the requests in flight of each process, for at most one process a tree."""
        requests = shares(in_flight.number, min(num_processes, max(1, forest.num_pending)))
        told = f"{in_flight.number} requests in flight ({in_flight.reason})"
        if len(requests) < num_processes:
            told += (
                f" and {forest.num_pending} unfinished trees, so {len(requests)} processes instead "
                f"of {num_processes}"
            )
        self.say(told)
        return requests
