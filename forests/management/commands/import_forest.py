from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from common.commands import ProjectCommand, add_json_argument
from common.progress_bar import shown_progress
from common.storage_problems import first_line
from common.text import counted
from forests.core.naming import forest_name
from forests.transfer.archiving import import_forest, read_manifest


class Command(ProjectCommand):
    help = (
        "Read a forest that export_forest wrote. If it is interrupted, run it again to "
        "continue. An unfinished forest can be grown further on a site that has its config."
    )
    examples = """
python manage.py import_forest backups/first
python manage.py import_forest backups/first --forest_name_suffix copy
"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("directory", type=Path, help="directory that export_forest wrote")
        parser.add_argument(
            "--forest_name_suffix", help="end of a new name (default: the original name)"
        )
        add_json_argument(parser)

    def handle(self, *, directory: Path, forest_name_suffix: str | None, **options: Any) -> None:
        try:
            facts = read_manifest(directory)["forest"]
            name = facts["name"]
            if forest_name_suffix is not None:
                name = forest_name(facts["config_name"], facts["dataset_split"], forest_name_suffix)
            with shown_progress("trees", total=facts["num_trees"]) as report:
                forest = import_forest(directory, name, report)
        except OSError as error:
            raise CommandError(f"{directory} could not be read: {first_line(error)}") from error
        if options["json"]:
            self.show_json({"forest_name": forest.name, "trees": forest.num_trees})
        else:
            self.stdout.write(f"forest_name: {forest.name}")
        self.say(
            f"{counted(forest.num_trees, 'tree')} with {counted(forest.num_nodes, 'step')} imported"
        )
