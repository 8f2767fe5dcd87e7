"""The part of `score_nodes` that is about judges: `--kind judge`."""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from common.commands import EXIT_PARTLY_FAILED, ProjectCommand, positive_integer
from common.progress_bar import shown_progress
from forests.core.verdicts import JUDGE
from forests.costs.budgets import Limits, Prices, Usage
from forests.costs.money import money
from forests.forest_arguments import amount, positive_amount
from forests.models import Forest, Scorer
from forests.storage.scores import delete_scores, scored_indexes, start_scorer
from rollouts.client.backend import Backend
from rollouts.client.server import ServerAddress
from rollouts.scoring.judge_prompts import (
    JUDGE_TEMPLATES,
    MAX_PROMPT,
    JudgeOptions,
    check_prompt,
)
from rollouts.scoring.judging import Judge, JudgeBudget, Judging, Work, estimate, short_request
from rollouts.scoring.replacing import check_server
from rollouts.scoring.score_forest import Scoring, score_trees

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
    "temperature": None,
    "max_tokens": 8192,
    "estimate": False,
    "max_requests": None,
    "max_tokens_total": None,
    "max_cost": None,
    "price_in": None,
    "price_out": None,
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
    group.add_argument(
        "--temperature",
        type=amount,
        help="temperature of the judge (default: 0 for one vote, 1 for several)",
    )
    group.add_argument(
        "--max_tokens",
        type=positive_integer,
        default=OF_JUDGES["max_tokens"],
        help="most tokens of a reply, thoughts included (default: %(default)s)",
    )
    group.add_argument(
        "--estimate",
        action="store_true",
        help="only say what judging the unjudged trees takes; sends nothing to the model",
    )
    group.add_argument(
        "--max_requests",
        type=positive_integer,
        help="stop after this many requests in total, including failed ones",
    )
    group.add_argument(
        "--max_tokens_total",
        type=positive_integer,
        help="stop after this many prompt and completion tokens in total",
    )
    group.add_argument(
        "--max_cost",
        type=positive_amount,
        help="stop when this scorer has cost this much, in the currency of its prices",
    )
    group.add_argument(
        "--price_in",
        type=amount,
        help="price of a million prompt tokens (default: that of PRM_PRICES for the model)",
    )
    group.add_argument(
        "--price_out",
        type=amount,
        help="price of a million completion tokens (default: that of PRM_PRICES for the model)",
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
    scorer, scoring, judging, budget = asyncio.run(_judge(forest, address, wanted, options))
    counts = counts_by_name(scoring) | counts_by_name(judging)
    counts["spending"] = counts_by_name(scoring.spending)
    total = budget.spent
    told = {"forest_name": forest.name, "scorer": scorer.name, **counts}
    told |= {"spent": total.as_dict(), "cost": budget.prices.cost(total)}
    if options["json"]:
        command.show_json(told)
    else:
        _say(command, scoring, judging, budget)
    scorer.refresh_from_db()
    _check_outcome(scoring, judging, scorer)


async def _judge(
    forest: Forest, address: ServerAddress, wanted: JudgeOptions, options: Mapping[str, Any]
) -> tuple[Scorer, Scoring, Judging, JudgeBudget]:
    backend = Backend(address, timeout_seconds=TIMEOUT_SECONDS, max_attempts=MAX_ATTEMPTS)
    async with backend:
        model = options["model"] or await backend.first_model()
        wanted = replace(wanted, model=model)
        prices = _prices(model, options)
        if options["replace"]:
            request = await asyncio.to_thread(short_request, forest, wanted)
            await check_server(backend, model, request)
        scorer, budget = await asyncio.to_thread(_start, forest, options, wanted, prices)
        backend.budget = budget
        if budget.spent_limit:
            raise CommandError(f"{budget.spent_limit}: {_RAISE_THE_LIMIT}")
        judge = Judge(scorer, wanted, budget)
        with shown_progress("trees", total=forest.num_trees) as report:
            scoring = await score_trees(
                forest, scorer, backend, judge, concurrency=options["concurrency"], report=report
            )
    return scorer, scoring, judge.judging, budget


_RAISE_THE_LIMIT = "raise the limit and run the same command again to continue"


def _start(
    forest: Forest, options: Mapping[str, Any], wanted: JudgeOptions, prices: Prices
) -> tuple[Scorer, JudgeBudget]:
    if options["replace"]:
        delete_scores(forest, options["scorer"])
    scorer = start_scorer(forest, options["scorer"], asdict(wanted), JUDGE)
    limits = Limits(options["max_requests"], options["max_tokens_total"], options["max_cost"])
    return scorer, JudgeBudget(scorer, limits, prices)


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
        prompt=_own_prompt(options["judge_prompt"]),
        votes=votes,
        solutions=options["solutions"] or 0,
        temperature=temperature,
        max_tokens=options["max_tokens"],
    )


def _own_prompt(file: Path | None) -> str:
    if file is None:
        return ""
    try:
        with file.open(encoding="utf-8") as opened:
            return check_prompt(opened.read(MAX_PROMPT + 1))
    except UnicodeDecodeError as error:
        raise CommandError(f"{file} is not UTF-8: save the file as UTF-8") from error
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}") from error


def _prices(model: str, options: Mapping[str, Any]) -> Prices:
    known = settings.PRICES.get(model, Prices())
    given = (options["price_in"], options["price_out"])
    prices = Prices(
        known.prompt if given[0] is None else given[0],
        known.completion if given[1] is None else given[1],
    )
    if options["max_cost"] is not None and not prices.are_known:
        raise CommandError(
            f"the price of {model!r} is not known, so its cost cannot be limited: give --price_in "
            "and --price_out, or set PRM_PRICES in .env"
        )
    return prices


def _show_estimate(
    command: ProjectCommand, forest: Forest, wanted: JudgeOptions, options: Mapping[str, Any]
) -> None:
    judged = set() if options["replace"] else scored_indexes(forest, options["scorer"])
    work = estimate(forest, wanted, judged)
    prices = _prices(wanted.model, options)
    if options["json"]:
        told: dict[str, Any] = {"trees": work.trees, "solutions": work.solutions}
        command.show_json(told | work.most.as_dict() | {"most_cost": prices.cost(work.most)})
        return
    command.say(_estimate_in_words(work, prices))


def _estimate_in_words(work: Work, prices: Prices) -> str:
    most = work.most
    words = (
        f"{work.trees} trees with {work.solutions} solutions to judge: {most.requests} requests, "
        f"about {most.prompt_tokens} prompt tokens, at most {most.completion_tokens} completion "
        "tokens"
    )
    cost = prices.cost(most)
    return words if cost is None else f"{words}, at most {money(cost)}"


def _say(command: ProjectCommand, scoring: Scoring, judging: Judging, budget: JudgeBudget) -> None:
    spent, total = scoring.spending, budget.spent
    command.say(
        f"{judging.solutions} solutions of {scoring.trees} trees judged with {judging.votes} "
        f"votes: {scoring.nodes} steps have a score; {judging.unread} replies could not be read "
        f"and count as no result; {judging.solutions_unclear} solutions hold a tag of the prompt "
        f"and were not judged; {scoring.trees_scored_before} trees were judged before, "
        f"{scoring.trees_not_complete} are not complete"
    )
    command.say(f"this run: {_usage_in_words(spent.usage, budget.prices)}, {spent.retries} retries")
    if total != spent.usage:
        command.say(f"all runs of this scorer: {_usage_in_words(total, budget.prices)}")


def _usage_in_words(used: Usage, prices: Prices) -> str:
    words = (
        f"{used.requests} requests, {used.prompt_tokens} prompt tokens, {used.completion_tokens} "
        "completion tokens"
    )
    cost = prices.cost(used)
    return words if cost is None else f"{words}, {money(cost)}"


_ASK_OTHERWISE = (
    "raise --max_tokens, or give another --judge_template or --judge_prompt, with --replace"
)


def _check_outcome(scoring: Scoring, judging: Judging, scorer: Scorer) -> None:
    if scoring.limit:
        raise CommandError(
            f"{scoring.limit}: {_RAISE_THE_LIMIT}; {scoring.trees} trees were judged in this run",
            returncode=EXIT_PARTLY_FAILED,
        )
    if scoring.failures:
        reason, _ = scoring.failures.most_common(1)[0]
        raise CommandError(
            f"{scoring.failures.total()} trees have no scores: {reason}",
            returncode=EXIT_PARTLY_FAILED,
        )
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


def counts_by_name(counts: Any) -> dict[str, Any]:
    """Return the fields by name. In Python 3.11 `asdict` turns a counter's keys into tuples."""
    return {field.name: getattr(counts, field.name) for field in fields(counts)}
