"""The part of `score_nodes` that is about judges: `--kind judge`."""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from common.commands import EXIT_PARTLY_FAILED, ProjectCommand, positive_integer
from common.progress_bar import shown_progress
from forests.core.opinions.verdicts import JUDGE
from forests.models import Forest, Scorer
from forests.storage.scores import scored_indexes
from rollouts.client.backend import Backend
from rollouts.client.server import ServerAddress
from rollouts.client.spending import Spending
from rollouts.sampling.completion_client import count_usage
from rollouts.scoring.budget import ScorerBudget, estimate
from rollouts.scoring.judge_prompts import (
    JUDGE_TEMPLATES,
    JudgeOptions,
    read_prompt,
)
from rollouts.scoring.judging import Judge, Judging, most_of_judging, short_request
from rollouts.scoring.replacing import check_server
from rollouts.scoring.score_forest import Scoring, score_trees
from rollouts.scoring_commands.limits import (
    budget_of,
    check_outcome,
    limit_in_words,
    prices_of,
    say_spent,
    show_counts,
    show_estimate,
    start_within,
)

TIMEOUT_SECONDS = 600.0
"""For one reply: a judge that thinks writes thousands of tokens."""
MAX_ATTEMPTS = 6
TEMPERATURE_OF_SEVERAL = 1.0
"""Temperature of several votes, as in ProcessBench's voting; one vote is greedy."""

OF_JUDGES: Mapping[str, Any] = {
    "judge_template": "first_error",
    "judge_prompt": None,
    "votes": 1,
    "solutions": None,
}
"""Options that only a judge has, with their defaults."""


def add_judge_arguments(parser: CommandParser) -> None:
    """Add the options of `--kind judge`."""
    group = parser.add_argument_group("judge", "Only for --kind judge.")
    group.add_argument(
        "--judge_template",
        choices=JUDGE_TEMPLATES,
        default=OF_JUDGES["judge_template"],
        help="first_error: the judge names the first wrong step, and says nothing of later ones "
        "(as ProcessBench's critics); per_step: it judges every step (default: %(default)s)",
    )
    group.add_argument(
        "--judge_prompt",
        type=Path,
        metavar="FILE",
        help="text to send in place of the template's, with {problem} and {solution}; the reply is "
        "read as --judge_template says",
    )
    group.add_argument(
        "--votes",
        type=positive_integer,
        default=OF_JUDGES["votes"],
        help="replies for each solution; the score of a step is their mean (default: %(default)s)",
    )
    group.add_argument(
        "--solutions",
        type=positive_integer,
        help="most solutions of a tree to judge; those that part early come first (default: all)",
    )


def handle_judge(
    command: ProjectCommand, forest: Forest, address: ServerAddress, options: Mapping[str, Any]
) -> None:
    """Run `score_nodes --kind judge`.

    Raises:
        CommandError: an option is wrong, a limit is spent, or some trees were not judged.
    """
    wanted = _judge_options(options)
    if options["estimate"]:
        _show_estimate(command, forest, wanted, options)
        return
    scoring, judge, budget = asyncio.run(_judge(forest, address, wanted, options))
    judging, scorer = judge.judging, judge.scorer
    if options["json"]:
        show_counts(command, scoring, judging, budget, scorer)
    else:
        _say(command, scoring, judging)
        say_spent(command, scoring, budget)
    check_outcome(scoring)
    scorer.refresh_from_db()
    _check_replies(scoring, judging, scorer)


async def _judge(
    forest: Forest, address: ServerAddress, wanted: JudgeOptions, options: Mapping[str, Any]
) -> tuple[Scoring, Judge, ScorerBudget]:
    backend = Backend(address, timeout_seconds=TIMEOUT_SECONDS, max_attempts=MAX_ATTEMPTS)
    async with backend:
        wanted = replace(wanted, model=options["model"] or await backend.first_model())
        budget = backend.budget = budget_of(wanted.model, options)
        spent = Spending()
        if options["replace"]:
            request = await asyncio.to_thread(short_request, forest, wanted)
            with limit_in_words():
                await check_server(backend, wanted.model, request, spent, count_usage)
        scorer = await asyncio.to_thread(
            start_within, budget, forest, options, asdict(wanted), JUDGE
        )
        judge = Judge(scorer, wanted, budget, backend)
        with shown_progress("trees", total=forest.num_trees) as report:
            scoring = await score_trees(
                forest, scorer, backend, judge, concurrency=options["concurrency"], report=report
            )
    scoring.spending.add(spent)
    return scoring, judge, budget


def _judge_options(options: Mapping[str, Any]) -> JudgeOptions:
    votes, temperature = options["votes"], options["temperature"]
    if temperature is None:
        temperature = TEMPERATURE_OF_SEVERAL if votes > 1 else 0.0
    if votes > 1 and not temperature:
        raise CommandError(
            f"--votes {votes} with --temperature 0 asks the same thing {votes} times: give a "
            "temperature above 0, or one vote"
        )
    return JudgeOptions(
        model=options["model"] or "",
        template=options["judge_template"],
        prompt=read_prompt(options["judge_prompt"]) if options["judge_prompt"] else "",
        votes=votes,
        solutions=options["solutions"] or 0,
        temperature=temperature,
        max_tokens=options["max_tokens"] or JudgeOptions.max_tokens,
    )


def _show_estimate(
    command: ProjectCommand, forest: Forest, wanted: JudgeOptions, options: Mapping[str, Any]
) -> None:
    judged = set() if options["replace"] else scored_indexes(forest, options["scorer"])
    work = estimate(forest, judged, lambda stored: most_of_judging(stored, wanted))
    prices = prices_of(wanted.model, options)
    show_estimate(command, work, "solutions", prices, as_json=options["json"])


def _say(command: ProjectCommand, scoring: Scoring, judging: Judging) -> None:
    command.say(
        f"{judging.solutions} solutions of {scoring.trees} trees judged with {judging.votes} "
        f"votes: {scoring.nodes} steps have a score; {judging.unread} replies could not be read "
        f"and count as no result; {judging.solutions_unclear} solutions hold a tag of the prompt "
        f"and were not judged; {scoring.trees_scored_before} trees were judged before, "
        f"{scoring.trees_not_complete} are not complete"
    )


_ASK_OTHERWISE = (
    "raise --max_tokens, or give another --judge_template or --judge_prompt, with --replace"
)


def _check_replies(scoring: Scoring, judging: Judging, scorer: Scorer) -> None:
    """Fail if no reply could be read.

    Raises:
        CommandError: no reply could be read, in this run or in any run.
    """
    if judging.votes and judging.unread == judging.votes:
        raise CommandError(
            "no reply could be read: the model does not end its replies as asked; "
            f"{_ASK_OTHERWISE}",
            returncode=EXIT_PARTLY_FAILED,
        )
    unread = (scorer.spent or {}).get("unread", 0)
    if unread and not scorer.num_nodes:
        raise CommandError(
            f"{scoring.trees_scored_before} trees were judged before, and 0 steps have a score: "
            f"{unread} replies could not be read; {_ASK_OTHERWISE}",
            returncode=EXIT_PARTLY_FAILED,
        )
