from typing import Any

from django.core.management.base import CommandParser

from common.commands import ProjectCommand, add_json_argument, positive_integer
from common.progress_bar import shown_progress
from experiment_configs.refinements import Refinement
from forests.core.standings import Standing
from forests.forest_arguments import add_forest_argument, get_graded_forest
from forests.models import Forest
from forests.progress.reading import read_standing_of
from rollouts.growth_arguments import RAISE_THE_LIMIT
from rollouts.maintenance.refining import Outlook, refine_forest

LATER_STEPS = ("draw", "infer")


class Command(ProjectCommand):
    help = (
        "Draw more rollouts where the hard label of a step is undecided, and stop at the first "
        "right one. Works on a finished forest of any strategy. Run rollout_worker or "
        "populate_forest afterwards to draw them."
    )
    examples = """
manage.py refine_forest --forest_name gsm8k_baseline-test-first --dry_run
manage.py refine_forest --forest_name gsm8k_baseline-test-first --max_tokens_total 2000000
manage.py rollout_worker --forest_name gsm8k_baseline-test-first
"""

    def add_arguments(self, parser: CommandParser) -> None:
        add_forest_argument(parser)
        parser.add_argument(
            "--max_rollouts",
            type=positive_integer,
            default=16,
            help="most rollouts from one step; a step whose rollouts are all wrong has the label 0 "
            "(default: %(default)s)",
        )
        parser.add_argument(
            "--later_steps",
            choices=LATER_STEPS,
            default="draw",
            help="what decides the steps after one whose rollouts are all wrong: draw from them, "
            "too, or infer that they are wrong, as omega_prm does (default: %(default)s)",
        )
        parser.add_argument(
            "--max_tokens_total",
            type=positive_integer,
            help="stop after this many prompt and completion tokens of the forest in total",
        )
        parser.add_argument(
            "--dry_run", action="store_true", help="show what is undecided, and change nothing"
        )
        add_json_argument(parser)

    def handle(self, *, dry_run: bool, **options: Any) -> None:
        forest = get_graded_forest(options["forest_name"])
        refinement = Refinement(
            goal="labels",
            most_rollouts=options["max_rollouts"],
            infers_later=options["later_steps"] == "infer",
        )
        with shown_progress("trees", total=forest.num_trees) as report:
            outlook = refine_forest(
                forest,
                refinement,
                max_tokens=options["max_tokens_total"],
                is_dry_run=dry_run,
                report=report,
            )
        self._show(forest, refinement, outlook, is_dry_run=dry_run, as_json=options["json"])

    def _show(
        self,
        forest: Forest,
        refinement: Refinement,
        outlook: Outlook,
        *,
        is_dry_run: bool,
        as_json: bool,
    ) -> None:
        standing = read_standing_of(forest)
        known = {str(one): outlook.standings[one] for one in Standing}
        if as_json:
            self.show_json(
                {
                    "forest_name": forest.name,
                    "refinement": refinement.as_dict(),
                    "num_steps": outlook.num_steps,
                    "num_decided": outlook.num_decided,
                    "standings": known,
                    "num_trees": outlook.num_trees,
                    "num_unfinished": outlook.num_unfinished,
                    "num_rollouts_at_most": outlook.most_rollouts,
                    "num_tokens_at_most": outlook.most_tokens,
                    "is_dry_run": is_dry_run,
                    "state": str(standing.state),
                }
            )
        self.say(
            f"{outlook.num_decided} of {outlook.num_steps} steps are decided: {known['right']} "
            f"right, {known['wrong']} wrong, {known['inferred']} wrong because an earlier step is; "
            f"{known['open']} are undecided and {known['unknown']} have no result"
        )
        if outlook.num_unfinished:
            self.say(f"{outlook.num_unfinished} trees are being refined, and are not counted")
        if not outlook.num_trees:
            self.say("no complete tree needs more rollouts")
            if known["open"]:
                self.say(
                    f"the trees of {known['open']} undecided steps have reached max_nodes: "
                    f"extend_forest --forest_name {forest.name} --max_nodes N lets them grow "
                    "further, and until then exports of steps leave their solutions out"
                )
            return
        self.say(
            f"{outlook.num_trees} trees {'would' if is_dry_run else 'will'} grow further, with at "
            f"most {outlook.most_rollouts} rollouts of about {outlook.most_tokens} completion "
            "tokens; most need far fewer"
        )
        if forest.num_failed:
            self.say(f"{forest.num_failed} failed trees are left out: run retry_failed first")
        if forest.spent_limit:
            self.say(f"{forest.spent_limit}: {RAISE_THE_LIMIT}")
        if is_dry_run:
            self.say("nothing was changed: run it without --dry_run to refine the forest")
            return
        self.say(
            "the forest's values are hard labels from now on (--estimator any): soft values would "
            "be biased, as drawing stops at the first right rollout"
        )
        self.say(f"{standing}{standing.hint}")
