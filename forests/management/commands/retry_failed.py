from typing import Any

from django.core.management.base import CommandError, CommandParser

from common.commands import ProjectCommand
from common.text import counted
from forests.core.estimators import RESEGMENTED
from forests.forest_arguments import add_forest_argument, get_seeded_forest
from forests.progress.reading import read_standing_of
from forests.storage.trees import retry_failed


class Command(ProjectCommand):
    help = "Make a forest's failed trees pending again; their nodes are kept."
    examples = "manage.py retry_failed --forest_name gsm8k_baseline-test-first"

    def add_arguments(self, parser: CommandParser) -> None:
        add_forest_argument(parser)
        parser.add_argument("--json", action="store_true", help="print the result as JSON")

    def handle(self, **options: Any) -> None:
        forest = get_seeded_forest(options["forest_name"])
        if forest.strategy == RESEGMENTED:
            raise CommandError(
                f"forest {forest.name!r} holds solutions of another forest and takes no rollouts: "
                "retry the failed trees of that one, and run resegment_forest with another suffix"
            )
        number = retry_failed(forest)
        forest.refresh_from_db()
        standing = read_standing_of(forest)
        if options["json"]:
            told = {"forest_name": forest.name, "retried": number, "state": str(standing.state)}
            self.show_json(told)
        self.say(f"{counted(number, 'tree')} made pending; {standing}{standing.hint}")
