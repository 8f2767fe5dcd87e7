import argparse
import re
from dataclasses import asdict, replace
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from common.commands import ProjectCommand, add_json_argument
from common.progress_bar import shown_progress
from experiment_configs.interfaces import RolloutWorkerConfig
from experiment_configs.loading import load_config
from experiment_configs.step_delimiters import NAMED_DELIMITERS
from forests.forest_arguments import add_forest_argument, get_graded_forest
from forests.models import Forest
from forests.storage.scores import scorer_names
from rollouts.maintenance.resegmenting import NewSteps, resegment_forest
from rollouts.steps.rules import StepRule


class Command(ProjectCommand):
    help = (
        "Make a new forest from the solutions of a finished one, cut into other steps, without new "
        "rollouts. From math_shepherd and omega_prm forests it takes only solutions drawn from the "
        "root."
    )
    examples = r"""
manage.py resegment_forest --forest_name gsm8k_baseline-test-first --forest_name_suffix paragraphs --step_delimiter '\n\n' --keep_blocks
manage.py resegment_forest --forest_name gsm8k_baseline-test-first --forest_name_suffix numbered --step_regex NUMBERED_STEPS
manage.py resegment_forest --forest_name gsm8k_baseline-test-first --forest_name_suffix mine --config_name gsm8k_mine
"""  # noqa: E501

    def add_arguments(self, parser: CommandParser) -> None:
        add_forest_argument(parser)
        parser.add_argument(
            "--forest_name_suffix", required=True, help="end of the new forest's name"
        )
        rule = parser.add_mutually_exclusive_group(required=True)
        rule.add_argument(
            "--step_delimiter",
            action="append",
            type=_unescaped,
            help=r"text that ends a step, with \n, \r, \t and \\ as in Python; may be repeated",
        )
        rule.add_argument(
            "--step_regex",
            help="regular expression that ends a step, or the name of one: "
            + ", ".join(NAMED_DELIMITERS),
        )
        rule.add_argument("--config_name", help="config whose rule for steps to use")
        parser.add_argument(
            "--keep_blocks",
            action="store_true",
            help="never end a step inside code, a table or a displayed formula",
        )
        add_json_argument(parser)

    def handle(self, *, forest_name: str, forest_name_suffix: str, **options: Any) -> None:
        forest = get_graded_forest(forest_name)
        steps = _new_steps(forest, options)
        steps.rule.try_out()
        with shown_progress("trees", total=forest.num_trees) as report:
            done = resegment_forest(forest, forest_name_suffix, steps, report)
        if options["json"]:
            self.show_json(asdict(done))
        else:
            for name, value in asdict(done).items():
                self.stdout.write(f"{name}: {value}")
        if done.left_out:
            self.say(
                f"{done.left_out} rollouts that {forest.strategy} drew from inner steps are left "
                "out: they estimate values of steps that the new forest does not have"
            )
        if done.failed:
            self.say(f"{done.failed} failed trees have no nodes in the new forest")
        if forest.worker_config.get("keep_tokens"):
            self.say("token ids are not copied, because they belong to steps")
        if scorer_names(forest):
            self.say("scores are not copied, because they belong to steps: run score_nodes again")


def _new_steps(forest: Forest, options: dict[str, Any]) -> NewSteps:
    """Return the rule for steps that the options name.

    Raises:
        CommandError, ConfigError: the options do not name a usable rule.
    """
    known = RolloutWorkerConfig.from_dict(
        forest.worker_config | {"step_delimiter": "\n", "keep_blocks": False}
    )
    if name := options["config_name"]:
        if options["keep_blocks"]:
            raise CommandError("--keep_blocks is a setting of the config that --config_name names")
        loaded = load_config(name, settings.CONFIG_PATH)
        asked = loaded.config.rollout_worker_config
        rule = StepRule.of(asked, loaded.config)
        splitter = f"{name} {loaded.sha256}" if rule.splitter else ""
        worker_config = replace(
            known, step_delimiter=asked.step_delimiter, keep_blocks=asked.keep_blocks
        )
        return NewSteps(rule, worker_config, splitter)
    regex = options["step_regex"]
    texts = options["step_delimiter"]
    if regex is None:
        delimiter: Any = texts[0] if len(texts) == 1 else tuple(texts)
    else:
        delimiter = NAMED_DELIMITERS.get(regex, {"regex": regex})
    worker_config = replace(known, step_delimiter=delimiter, keep_blocks=options["keep_blocks"])
    return NewSteps(StepRule.of(worker_config), worker_config)


_ESCAPES = {"\\n": "\n", "\\r": "\r", "\\t": "\t", "\\\\": "\\"}


def _unescaped(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("a step delimiter needs at least one character")
    return re.sub(r"\\[nrt\\]", lambda found: _ESCAPES[found[0]], text)
