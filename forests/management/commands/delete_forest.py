from typing import Any

from django.core.management.base import CommandError, CommandParser

from common.commands import ProjectCommand
from common.text import counted
from forests.forest_arguments import add_forest_argument, get_forest
from forests.storage.trees import delete_forest


class Command(ProjectCommand):
    help = "Delete a forest with its trees and nodes."
    examples = "manage.py delete_forest --forest_name gsm8k_baseline-test-first --yes"

    def add_arguments(self, parser: CommandParser) -> None:
        add_forest_argument(parser)
        parser.add_argument("--yes", action="store_true", help="really delete it")

    def handle(self, **options: Any) -> None:
        forest = get_forest(options["forest_name"])
        if not options["yes"]:
            raise CommandError(
                f"{forest.name!r} has {counted(forest.num_trees, 'tree')} and "
                f"{counted(forest.num_nodes, 'node')}: "
                "add --yes to delete them"
            )
        gone = delete_forest(forest)
        self.say(", ".join(f"{number} {what}" for what, number in gone.items()) + " deleted")
