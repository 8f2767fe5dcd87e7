"""A worker process of `rollout_worker`: grow one forest until all its trees are finished.

It does not use the queue: leases in the database decide which process grows which tree. So
processes of other commands and machines, and queue jobs, may grow the same forest at once.
"""

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import structlog
from django.core.management import CommandError, CommandParser, call_command

from common.commands import ProjectCommand
from common.text import describe, one_line
from forests.models import Forest, TreeStatus
from forests.storage.trees import Document, has_live_lease, server_time
from rollouts.growing import leases
from rollouts.growing.growing_process import Grown, all_unfinished, grow_trees, trees_with_status
from rollouts.growing.recorder import LeaseLostError

log = structlog.stdlib.get_logger(__name__)

MAX_CHARACTERS_OF_ERROR = 1_000
"""Short enough for the pipe's buffer, so that writing never waits for a reader."""


def grow_forest(name: str, *, share: int, num_shares: int, num_requests: int, parent: int) -> None:
    """Grow trees of a forest until none is unfinished, or the forest may not grow now.

    Starts with every `num_shares`-th unfinished tree, so that processes that start together rarely
    compete for one. Then takes any tree that is left.

    Raises:
        CommandError, ConfigError, pymongo.errors.PyMongoError: growth cannot continue.
    """
    trees = _unfinished(name)[share::num_shares]
    grown = Grown()
    waits = False
    while not grown.is_stopped and (trees := trees or _unfinished(name)):
        now = server_time()
        try:
            grown = grow_trees(
                Forest.objects.get(pk=name),
                [tree["index"] for tree in trees],
                num_requests=num_requests,
                waits=waits or all(has_live_lease(tree, now) for tree in trees),
                parent=parent,
            )
        except LeaseLostError as error:
            log.warning("growth begins again", reason=str(error))
        waits = not grown.complete + grown.failed
        trees = []


def _unfinished(name: str) -> Sequence[Document]:
    """Release trees of dead processes; return index and lease of all unfinished trees."""
    forest = Forest.objects.filter(pk=name).first()
    if forest is None:
        raise CommandError(f"forest {name!r} was deleted")
    leases.release_dead(trees_with_status(forest, TreeStatus.GROWING))
    return sorted(all_unfinished(forest), key=lambda tree: tree["index"])


class Command(ProjectCommand):
    """The command that `main` runs; not for users."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("forest_name")
        for name in ("share", "num_shares", "num_requests", "parent"):
            parser.add_argument(name, type=int)

    def handle(self, **options: Any) -> None:
        names = ("share", "num_shares", "num_requests", "parent")
        grow_forest(options["forest_name"], **{name: options[name] for name in names})


def main() -> None:
    """Grow the forest that the arguments name; write a failure to the pipe in the first one."""
    report, *arguments = sys.argv[1:]
    os.set_inheritable(int(report), False)  # child processes of users' code must not keep it open
    try:
        call_command(Command(), *arguments)
    except CommandError as error:
        _report(int(report), str(error))
        sys.exit(error.returncode)
    except Exception as error:
        log.exception("a worker process failed")
        _report(int(report), describe(error))
        sys.exit(1)


def _report(pipe: int, message: str) -> None:
    os.write(pipe, json.dumps(one_line(message, MAX_CHARACTERS_OF_ERROR)).encode())
