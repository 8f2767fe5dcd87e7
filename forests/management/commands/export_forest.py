from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from common.commands import ProjectCommand, add_json_argument
from common.progress_bar import shown_progress
from common.storage_problems import first_line
from forests.forest_arguments import add_forest_argument, get_graded_forest
from forests.transfer.archiving import export_forest


class Command(ProjectCommand):
    help = (
        "Export a forest with its config, trees, steps and scores to a directory of Parquet "
        "files. import_forest reads them, on this site or another."
    )
    examples = """
python manage.py export_forest --forest_name gsm8k_baseline-test-first --output backups/first
"""

    def add_arguments(self, parser: CommandParser) -> None:
        add_forest_argument(parser)
        parser.add_argument("--output", type=Path, required=True, help="directory to write")
        parser.add_argument("--overwrite", action="store_true", help="replace an earlier export")
        add_json_argument(parser)

    def handle(self, *, forest_name: str, output: Path, overwrite: bool, **options: Any) -> None:
        forest = get_graded_forest(forest_name)
        try:
            with shown_progress("trees", total=forest.num_trees) as report:
                manifest = export_forest(forest, output, overwrite=overwrite, report=report)
        except OSError as error:
            raise CommandError(
                f"{output} could not be written: {first_line(error)}; nothing is left behind"
            ) from error
        if options["json"]:
            self.show_json({"output": str(output), **manifest})
            return
        self.stdout.write(f"output: {output}")
        rows = [
            (path, manifest["rows"][Path(path).stem], f"{file['bytes']:,}")
            for path, file in manifest["files"].items()
        ]
        self.show_table(("file", "rows", "bytes"), rows)
