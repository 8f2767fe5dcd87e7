from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from common.commands import ProjectCommand, add_json_argument
from common.progress_bar import shown_progress
from common.storage_problems import first_line
from forests.core.opinions.verdicts import IMPORTED, SCORER_KINDS
from forests.forest_arguments import add_forest_argument, get_grown_forest
from forests.labels.disagreeing import update_disagreements
from forests.transfer.importing_scores import ImportedScores, ScoresRequest, import_scores
from forests.transfer.score_rows import SCALES


class Command(ProjectCommand):
    help = (
        "Keep scores or labels of a forest's steps from a file under a name, like those of "
        "score_nodes: labels of people, published judgements, or another program's scores. A line "
        "is a JSON object with tree, step, score and optionally rationale (docs/judges.md). "
        "evaluate_scorer --against compares scorers with them."
    )
    examples = """
python manage.py import_scores labels.jsonl --forest_name F --scorer people --kind human
python manage.py import_scores verdicts.jsonl --forest_name F --scorer critic --scale signed
"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE", help="JSON lines")
        add_forest_argument(parser)
        parser.add_argument("--scorer", required=True, help="name to keep the scores under")
        parser.add_argument(
            "--kind",
            choices=SCORER_KINDS,
            default=IMPORTED,
            help="where the scores come from. Those of prm are numbers whose threshold is fitted; "
            "all others are read as verdicts: above 0.5 right, below wrong (default: %(default)s)",
        )
        parser.add_argument(
            "--scale",
            choices=SCALES,
            help="numbers from 0 to 1 (unit), or from -1 (wrong) to 1 (right), where 0 is neutral "
            "(signed) (default: signed if the file has a negative number, unit if it has a "
            "fraction and none; other numbers need this option)",
        )
        parser.add_argument(
            "--replace", action="store_true", help="delete earlier scores of this name first"
        )
        add_json_argument(parser)

    def handle(self, *, file: Path, forest_name: str, **options: Any) -> None:
        forest = get_grown_forest(forest_name)
        request = ScoresRequest(
            file=file,
            scorer=options["scorer"],
            kind=options["kind"],
            scale=options["scale"],
            replaces=options["replace"],
        )
        try:
            with shown_progress("trees", total=forest.num_trees) as report:
                found = import_scores(forest, request, report)
            update_disagreements(forest)
        except OSError as error:
            raise CommandError(f"{file} cannot be read: {first_line(error)}") from error
        self._show(forest.name, found, as_json=options["json"])

    def _show(self, forest_name: str, found: ImportedScores, *, as_json: bool) -> None:
        if as_json:
            self.show_json(
                {
                    "forest_name": forest_name,
                    "scorer": found.scorer.name,
                    "kind": found.scorer.kind,
                    "scale": found.scale,
                    "trees": found.trees,
                    "nodes": found.nodes,
                    "without_result": found.without_result,
                }
            )
            return
        scale = f" (numbers on the scale {found.scale})" if found.has_numbers else ""
        self.say(
            f"{found.nodes} steps of {found.trees} trees have a score of {found.scorer.name!r}"
            f"{scale}; {found.without_result} rows give no result"
        )
