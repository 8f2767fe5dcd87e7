from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from common.commands import ProjectCommand, add_json_argument
from common.progress_bar import shown_progress
from common.storage_problems import first_line
from experiment_configs.interfaces import Grader
from experiment_configs.loading import load_config
from forests.core.naming import IMPORTED_JUDGE, IMPORTED_SCORER, forest_name
from forests.forest_arguments import say_uncompared
from forests.transfer.importing import ImportRequest, import_trees
from forests.transfer.readers.registry import READERS


class Command(ProjectCommand):
    help = (
        "Import trees or labelled steps of another program as a forest, to browse, measure and "
        "turn into pairs. jsonl: prompt, label and children with text; docs/moving-forests.md says "
        "what becomes of each other format."
    )
    examples = """
python manage.py import_trees omega.jsonl --format openr --forest_name_suffix first
python manage.py import_trees trees.jsonl --forest_name_suffix mine --dataset_config_name gsm8k_baseline
python manage.py import_trees phase2_test.jsonl --format prm800k --forest_name_suffix people
"""  # noqa: E501

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE", help="JSON lines, or one JSON file")
        parser.add_argument(
            "--format", choices=READERS, default="jsonl", help="default: %(default)s"
        )
        parser.add_argument("--forest_name_suffix", required=True, help="end of the forest's name")
        parser.add_argument(
            "--dataset_split", default="train", help="middle of the forest's name (default: train)"
        )
        parser.add_argument(
            "--dataset_config_name",
            help="config that grades leaves, and start of the forest's name (default: the "
            "built-in grading, and `imported`)",
        )
        add_json_argument(parser)

    def handle(self, *, file: Path, **options: Any) -> None:
        config_name = options["dataset_config_name"]
        loaded = load_config(config_name, settings.CONFIG_PATH) if config_name else None
        try:
            request = ImportRequest(
                file=file,
                format=options["format"],
                name=forest_name(
                    config_name or "imported",
                    options["dataset_split"],
                    options["forest_name_suffix"],
                ),
                config_name=config_name or "imported",
                dataset_split=options["dataset_split"],
                grader=loaded.config if loaded else Grader(),
                grader_sha256=loaded.sha256 if loaded else "",
            )
            with shown_progress("trees", total=None) as report:
                imported = import_trees(request, report)
        except OSError as error:
            raise CommandError(f"{file} cannot be read: {first_line(error)}") from error
        forest = imported.forest
        names = ("num_trees", "num_nodes", "num_leaves", "num_correct", "num_uncompared")
        facts = {"forest_name": forest.name, **{name: getattr(forest, name) for name in names}}
        if options["json"]:
            self.show_json({**facts, "left_out": dict(imported.left_out)})
        else:
            for name, value in facts.items():
                self.stdout.write(f"{name}: {value}")
            for reason, number in imported.left_out.items():
                self.stdout.write(f"left out: {number} {reason}")
        say_uncompared(self, forest.num_uncompared, forest.name)
        if IMPORTED_JUDGE in imported.scorers:
            self.say(f"the verdicts of the file's judge are kept as scorer {IMPORTED_JUDGE}")
        if IMPORTED_SCORER in imported.scorers:
            self.say(
                "the file's own values are kept: create_preferences and export_preferences "
                f"--values scorer:{IMPORTED_SCORER} use them, and so does beam_search "
                f"--value_function_option prm --scorer {IMPORTED_SCORER}"
            )
