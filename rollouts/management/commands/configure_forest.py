from typing import Any

from django.core.management.base import CommandParser

from common.commands import ProjectCommand, add_json_argument
from forests.forest_arguments import add_forest_argument, get_forest
from rollouts.maintenance.configuring import as_lines, changeable_settings, configure_forest


class Command(ProjectCommand):
    help = "Change settings of a forest that do not affect samples; without --set, list them."
    examples = """
manage.py configure_forest --forest_name gsm8k_baseline-test-first \\
    --set concurrency=32 request_timeout_seconds=600
"""

    def add_arguments(self, parser: CommandParser) -> None:
        add_forest_argument(parser)
        parser.add_argument(
            "--set",
            nargs="+",
            default=[],
            metavar="NAME=VALUE",
            help="settings to change; base_urls takes addresses separated by commas, or nothing",
        )
        add_json_argument(parser)

    def handle(self, **options: Any) -> None:
        forest = get_forest(options["forest_name"])
        if options["set"]:
            values = configure_forest(forest, options["set"])
        else:
            values = changeable_settings(forest)
        if options["json"]:
            self.show_json({"forest_name": forest.name, "settings": values})
            return
        for line in as_lines(values):
            self.show(line)
        if options["set"]:
            self.say("jobs that start from now on use these settings")
