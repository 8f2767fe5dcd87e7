import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandParser

from common.commands import ProjectCommand, positive_integer
from common.text import counted
from forests.forest_arguments import say_uncompared
from forests.models import Forest
from forests.progress.reading import read_standing_of
from forests.progress.states import ENDS_WATCHING
from rollouts.growing.recorder import settle_counters
from rollouts.growth_arguments import (
    add_growth_arguments,
    check_outcome,
    get_growable_forest,
    require_queue,
)
from rollouts.workers.jobs import enqueue_forest
from rollouts.workers.watching import node_limit_note, spending_note, watch_growth

DEFAULT_TREES_PER_JOB = 16
SECONDS_BETWEEN_REFILLS = 5.0


class Command(ProjectCommand):
    help = "Put a forest's unfinished trees into the queue, for workers on any machine to grow."
    examples = """
manage.py populate_forest --forest_name gsm8k_baseline-test-first --watch
manage.py rqworker rollouts
manage.py rqworker-pool rollouts --num_workers 4
"""

    def add_arguments(self, parser: CommandParser) -> None:
        add_growth_arguments(parser)
        parser.add_argument(
            "--trees_per_job",
            type=positive_integer,
            default=DEFAULT_TREES_PER_JOB,
            help="trees that one job grows (default: %(default)s)",
        )
        parser.add_argument(
            "--watch", action="store_true", help="show progress until no tree is unfinished"
        )

    def handle(self, **options: Any) -> None:
        require_queue()
        forest = get_growable_forest(options)
        number = enqueue_forest(forest, options["trees_per_job"])
        forest.refresh_from_db()  # its counters may have been settled
        standing = read_standing_of(forest)
        self.say(
            f"{counted(number, 'job')} enqueued, {counted(forest.num_pending, 'tree')} unfinished; "
            f"{standing}"
        )
        if not options["watch"]:
            if options["json"]:
                told = {"forest_name": forest.name, "jobs": number, "state": str(standing.state)}
                self.show_json(told)
            return
        summary = watch_growth(
            forest.name, self.stderr, goes_on=_refiller(options["trees_per_job"])
        )
        if options["json"]:
            self.show_json(asdict(summary))
        self.say(
            f"{summary.state}: {counted(summary.num_complete, 'tree')} complete, "
            f"{summary.num_failed} failed; "
            f"{spending_note(summary)}"
        )
        if note := node_limit_note(summary):
            self.say(note)
        say_uncompared(self, summary.num_uncompared, forest.name)
        check_outcome(forest.name)


def _refiller(trees_per_job: int) -> Callable[[Forest], bool]:
    """Return a callback that refills the queue while watching: jobs and workers may be lost."""
    next_time = time.monotonic() + SECONDS_BETWEEN_REFILLS

    def goes_on(forest: Forest) -> bool:
        nonlocal next_time
        if time.monotonic() >= next_time and not forest.is_stopped:
            enqueue_forest(forest, trees_per_job)
            settle_counters(forest)
            next_time = time.monotonic() + SECONDS_BETWEEN_REFILLS
        return read_standing_of(forest).state not in ENDS_WATCHING

    return goes_on
