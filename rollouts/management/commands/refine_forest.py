import argparse
from typing import Any

from django.core.management.base import CommandError, CommandParser

from common.commands import ProjectCommand, add_json_argument, positive_integer
from common.progress_bar import shown_progress
from experiment_configs.refinements import GOALS, Refinement, RefinementGoal
from forests.core.certainty.contests import ContestStanding
from forests.core.certainty.standings import Standing
from forests.core.estimators import FOR_LABELS, FOR_PAIRS
from forests.forest_arguments import add_forest_argument, get_graded_forest
from forests.models import Forest
from forests.progress.reading import read_standing_of
from rollouts.growth_arguments import RAISE_THE_LIMIT
from rollouts.maintenance.refining import Outlook, refine_forest

LATER_STEPS = ("draw", "infer")
MOST_ROLLOUTS = {FOR_LABELS: 16, FOR_PAIRS: 32}
TARGET_CONFIDENCE = 0.9


def confidence(text: str) -> float:
    """Return a confidence from an option: a number from 0.5 to 1, without 1.

    Raises:
        argparse.ArgumentTypeError: it is not one.
    """
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not LEAST_CONFIDENCE <= number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0.5 to below 1")
    return number


LEAST_CONFIDENCE = 0.5


class Command(ProjectCommand):
    help = (
        "Draw more rollouts where the hard label of a step, or the order of a pair, is undecided, "
        "and stop where it is decided. Works on a finished forest of any strategy. Run "
        "rollout_worker or populate_forest afterwards to draw them."
    )
    examples = """
manage.py refine_forest --forest_name gsm8k_baseline-test-first --dry_run
manage.py refine_forest --forest_name gsm8k_baseline-test-first --max_tokens_total 2000000
manage.py rollout_worker --forest_name gsm8k_baseline-test-first
manage.py refine_forest --forest_name gsm8k_baseline-test-pairs --goal pairs --target_confidence 0.9
"""

    def add_arguments(self, parser: CommandParser) -> None:
        add_forest_argument(parser)
        parser.add_argument(
            "--goal",
            choices=GOALS,
            default=FOR_LABELS,
            help="what to decide: the hard label of each step, or which step after each prefix is "
            "better (default: %(default)s)",
        )
        parser.add_argument(
            "--max_rollouts",
            type=positive_integer,
            help="most rollouts from one step; a step whose rollouts are all wrong has the label 0 "
            f"(default: {MOST_ROLLOUTS[FOR_LABELS]}; for pairs {MOST_ROLLOUTS[FOR_PAIRS]})",
        )
        parser.add_argument(
            "--later_steps",
            choices=LATER_STEPS,
            help="for labels: what decides the steps after one whose rollouts are all wrong: draw "
            "from them, too, or infer that they are wrong, as omega_prm does (default: draw)",
        )
        parser.add_argument(
            "--target_confidence",
            type=confidence,
            help="for pairs: the probability that the better step is truly better, from which on "
            f"a pair is decided (default: {TARGET_CONFIDENCE})",
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
        refinement = _refinement_of(options)
        with shown_progress("trees", total=forest.num_trees) as report:
            outlook = refine_forest(
                forest,
                refinement,
                max_tokens=options["max_tokens_total"],
                is_dry_run=dry_run,
                report=report,
            )
        self._show(forest, outlook, is_dry_run=dry_run, as_json=options["json"])

    def _show(self, forest: Forest, outlook: Outlook, *, is_dry_run: bool, as_json: bool) -> None:
        standing = read_standing_of(forest)
        is_for_pairs = outlook.refinement.goal == FOR_PAIRS
        known = {
            str(one): outlook.standings[one]
            for one in (ContestStanding if is_for_pairs else Standing)
        }
        if as_json:
            settings = outlook.refinement.as_dict()
            del settings["prior"]
            self.show_json(
                {
                    "forest_name": forest.name,
                    "refinement": settings,
                    "num_pairs" if is_for_pairs else "num_steps": outlook.num_cases,
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
        self.say(_told_of_pairs(outlook) if is_for_pairs else _told_of_labels(outlook))
        self._say_trees(forest, outlook, is_dry_run=is_dry_run)
        if not (outlook.num_trees or outlook.num_unfinished):
            return
        if forest.num_failed:
            self.say(f"{forest.num_failed} failed trees are left out: run retry_failed first")
        if forest.spent_limit:
            self.say(f"{forest.spent_limit}: {RAISE_THE_LIMIT}")
        if is_dry_run:
            self.say("nothing was changed: run it without --dry_run to refine the forest")
            return
        self.say(_VALUES_OF_PAIRS if is_for_pairs else _VALUES_OF_LABELS)
        self.say(f"{standing}{standing.hint}")

    def _say_trees(self, forest: Forest, outlook: Outlook, *, is_dry_run: bool) -> None:
        if outlook.num_unfinished:
            self.say(f"{outlook.num_unfinished} trees are being refined, and are not counted")
        if outlook.num_trees:
            self.say(
                f"{outlook.num_trees} trees {'would' if is_dry_run else 'will'} grow further, with "
                f"at most {outlook.most_rollouts} rollouts of about {outlook.most_tokens} "
                "completion tokens; most need far fewer"
            )
            return
        self.say("no complete tree needs more rollouts")
        if num_open := outlook.standings["open"]:
            is_for_pairs = outlook.refinement.goal == FOR_PAIRS
            self._say_full(forest, num_open, is_for_pairs=is_for_pairs)

    def _say_full(self, forest: Forest, num_open: int, *, is_for_pairs: bool) -> None:
        what = "pairs" if is_for_pairs else "steps"
        more = "" if is_for_pairs else ", and until then exports of steps leave their solutions out"
        self.say(
            f"the trees of {num_open} undecided {what} have reached max_nodes: extend_forest "
            f"--forest_name {forest.name} --max_nodes N lets them grow further{more}"
        )


_VALUES_OF_LABELS = (
    "the forest's values are hard labels from now on (--estimator any): soft values would be "
    "biased, as drawing stops at the first right rollout"
)
_VALUES_OF_PAIRS = (
    "the forest's values count only rollouts through each step from now on (--estimator "
    "through_rollouts): leaves of the steps that it draws from would bias those of earlier steps"
)


def _refinement_of(options: dict[str, Any]) -> Refinement:
    goal: RefinementGoal = options["goal"]
    if goal == FOR_PAIRS and options["later_steps"]:
        raise CommandError("--later_steps is for --goal labels: leave it out")
    if goal == FOR_LABELS and options["target_confidence"]:
        raise CommandError("--target_confidence is for --goal pairs: add it, or leave this out")
    most = options["max_rollouts"] or MOST_ROLLOUTS[goal]
    if goal == FOR_PAIRS:
        target = options["target_confidence"] or TARGET_CONFIDENCE
        return Refinement(goal=goal, most_rollouts=most, target_confidence=target)
    return Refinement(goal=goal, most_rollouts=most, infers_later=options["later_steps"] == "infer")


def _told_of_labels(outlook: Outlook) -> str:
    known = outlook.standings
    return (
        f"{outlook.num_decided} of {outlook.num_cases} steps are decided: "
        f"{known[Standing.RIGHT]} right, {known[Standing.WRONG]} wrong, "
        f"{known[Standing.INFERRED]} wrong because an earlier step is; {known[Standing.OPEN]} are "
        f"undecided and {known[Standing.UNKNOWN]} have no result"
    )


def _told_of_pairs(outlook: Outlook) -> str:
    known = outlook.standings
    return (
        f"{outlook.num_decided} of {outlook.num_cases} pairs are decided with a confidence of at "
        f"least {outlook.refinement.target_confidence:g}; {known[ContestStanding.OPEN]} are "
        f"undecided, {known[ContestStanding.HOPELESS]} differ too little to be decided with "
        f"{outlook.refinement.most_rollouts} rollouts a step, and {known[ContestStanding.SPENT]} "
        "are undecided with all of them"
    )
