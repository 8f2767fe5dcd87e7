import signal
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from common.commands import ProjectCommand, add_port_argument, positive_integer
from prm_site import demo

DEFAULT_LIMIT = 10


class Command(ProjectCommand):
    help = (
        "Run the whole flow with a real small model: start the services, seed and populate a "
        "forest, measure it, create and export preferences, then serve the site."
    )
    needs_database = False
    examples = """
manage.py demo
manage.py demo --exit --limit 4
"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--exit", action="store_true", help="exit after the export")
        parser.add_argument(
            "--limit",
            type=positive_integer,
            default=DEFAULT_LIMIT,
            help="trees of the forest (default: %(default)s)",
        )
        add_port_argument(parser)
        parser.add_argument(
            "--output",
            type=Path,
            default=Path("exports") / demo.FOREST,
            help="directory of the dataset (default: %(default)s)",
        )

    def handle(self, **options: Any) -> None:
        base_dir: Path = settings.BASE_DIR
        output: Path = options["output"].resolve()
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with demo.services(base_dir, settings.DATA_DIR, self.say):
            demo.run_stages(base_dir, demo.stages(options["limit"], output), self.say)
            self.say(f"\nThe dataset: {output}")
            if not options["exit"]:
                demo.serve_forest(base_dir, options["port"], self.say)
