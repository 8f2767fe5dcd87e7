from typing import Any

from django.core.management.base import CommandError, CommandParser

from common.commands import ProjectCommand, add_json_argument
from forests.forest_arguments import add_forest_argument, get_seeded_forest
from forests.storage.counters import recount_forest
from forests.storage.trees import is_held


class Command(ProjectCommand):
    help = "Rebuild the counters of a forest and its trees from their nodes."
    examples = "manage.py recount_forest --forest_name gsm8k_baseline-test-first"

    def add_arguments(self, parser: CommandParser) -> None:
        add_forest_argument(parser)
        add_json_argument(parser)

    def handle(self, **options: Any) -> None:
        forest = get_seeded_forest(options["forest_name"])
        if is_held(forest):
            raise CommandError(
                f"forest {forest.name!r} is growing, and its workers update the counters: "
                "stop them or pause it first"
            )
        differences = recount_forest(forest)
        if options["json"]:
            self.show_json(differences)
        elif differences:
            rows = [(name, old, new) for name, (old, new) in differences.items()]
            self.show_table(("counter", "was", "is"), rows)
        else:
            self.say("all counters were correct")
