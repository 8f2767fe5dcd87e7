"""Command that computes the metrics of samples from a file."""

import itertools
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from common.commands import ProjectCommand
from common.progress_bar import shown_progress
from experiment_configs.interfaces import Grader
from experiment_configs.loading import load_config
from forests.core.values import UNGRADED
from forests.grading import same_by
from metrics.arguments import (
    add_aggregation_argument,
    add_print_arguments,
    chosen_aggregations,
    numbers_up_to,
)
from metrics.core.evaluation import LEFT_OUT, Evaluation, EvaluationOptions
from metrics.core.sample_trees import search_of
from metrics.core.search.value_functions import SearchSpace, ValueOptions
from metrics.measuring.sample_files import read_samples
from metrics.tables.printing import show_numbers
from metrics.tables.run_tables import baseline_table, search_table

MAX_SAMPLES = 4096


class Command(ProjectCommand):
    help = (
        "Compute metrics of samples from a file with one JSON object per line: `label`, `answers` "
        "or `texts`, and optionally `scores` (for each sample a number or a list of step scores). "
        "Reports pass@k and majority vote; with scores, also best-of-N and weighted best-of-N."
    )
    examples = """
python manage.py evaluate_samples samples.jsonl --num_samples 1,8,64
python manage.py evaluate_samples scored.jsonl --aggregation min,last --print_as md
python manage.py evaluate_samples liar.jsonl --dataset_config_name liar_new
"""
    needs_database = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE", help="JSON lines, UTF-8")
        parser.add_argument(
            "--num_samples",
            type=numbers_up_to(MAX_SAMPLES),
            default=(1, 4, 16, 64),
            metavar="N,N",
            help="numbers of samples to choose from (default: 1,4,16,64)",
        )
        parser.add_argument(
            "--dataset_config_name",
            help="config that extracts and grades answers (default: the rules of docs/answers.md)",
        )
        add_aggregation_argument(parser)
        parser.add_argument(
            "--ungraded",
            choices=UNGRADED,
            default="incorrect",
            help="what a sample without an answer counts as (default: %(default)s)",
        )
        add_print_arguments(parser)

    def handle(self, *, file: Path, print_as: str, **options: Any) -> None:
        grader = _grader(options["dataset_config_name"])
        is_same = same_by(grader)
        searches = (search_of(samples, is_same) for samples in read_samples(file, grader))
        with shown_progress("problems", total=None) as report:
            first = list(itertools.islice(searches, 1))
            if not first:
                raise CommandError(f"{file} has no problems: give one JSON object per line")
            has_scores = _has_scores(first[0])
            evaluation = Evaluation(_options(options, has_scores=has_scores))
            for done, search in enumerate(itertools.chain(first, searches), start=1):
                if _has_scores(search) and not has_scores:
                    raise CommandError(
                        f"{file}: problem {done} has scores and the first problem has none: move "
                        "a problem with scores to the first line, or remove all scores"
                    )
                evaluation.add(str(done), search.tree, [search])
                report(done)
        self._show(evaluation, print_as)

    def _show(self, evaluation: Evaluation, print_as: str) -> None:
        rows = [asdict(row) for row in evaluation.rows()]
        left_out = evaluation.left_out
        problems = {"used": evaluation.trees_used, "left_out": left_out}
        samples = {"uncompared": evaluation.num_uncompared}
        data = {"problems": problems, "samples": samples, "rows": rows}
        tables = search_table(rows), baseline_table(rows)
        show_numbers(self, print_as, data=data, rows=rows, tables=tables)
        self.say(f"problems used: {evaluation.trees_used}")
        for reason, number in sorted(left_out.items()):
            self.say(f"problems left out: {number} {LEFT_OUT[reason]}")
        if evaluation.num_uncompared:
            self.say(
                f"{evaluation.num_uncompared} samples have no result, as nobody could compare "
                "their answers with the label: run the command again when the machine is less busy"
            )


def _has_scores(search: SearchSpace) -> bool:
    return any(value is not None for value in search.values.values())


def _options(options: dict[str, Any], *, has_scores: bool) -> EvaluationOptions:
    return EvaluationOptions(
        procedures=("best_of_n",) if has_scores else (),
        num_beam_values=options["num_samples"],
        aggregations=chosen_aggregations(options["aggregation"]),
        values=ValueOptions(ungraded=options["ungraded"]),
    )


def _grader(config_name: str | None) -> Grader:
    return load_config(config_name, settings.CONFIG_PATH).config if config_name else Grader()
