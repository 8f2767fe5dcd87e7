"""Limits, prices and estimates for the kinds of `score_nodes` that ask a chat model."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from common.commands import EXIT_PARTLY_FAILED, ProjectCommand, positive_integer
from forests.costs.budgets import Limits, Prices, Usage
from forests.costs.money import money
from forests.forest_arguments import amount, positive_amount
from forests.models import Forest, Scorer
from forests.storage.scores import delete_scores, start_scorer
from rollouts.client.failures import LimitSpentError
from rollouts.scoring.budget import ScorerBudget, Work
from rollouts.scoring.score_forest import Scoring

OF_CHAT_MODELS: Mapping[str, Any] = {
    "temperature": None,
    "max_tokens": None,
    "estimate": False,
    "max_requests": None,
    "max_tokens_total": None,
    "max_cost": None,
    "price_in": None,
    "price_out": None,
}
"""Options that a judge and a prover have, with their defaults."""

RAISE_THE_LIMIT = "raise the limit and run the same command again to continue"


def add_chat_model_arguments(parser: CommandParser) -> None:
    """Add the options that a judge and a prover share."""
    group = parser.add_argument_group("judge and prover", "Only for --kind judge and prover.")
    group.add_argument(
        "--temperature",
        type=amount,
        help="temperature (default: of a judge 0 for one vote and 1 for several; of a prover that "
        "of the forest)",
    )
    group.add_argument(
        "--max_tokens",
        type=positive_integer,
        help="most tokens of a reply or rollout, thoughts included (default: 8192 for a judge; "
        "max_tokens_per_rollout of the forest for a prover)",
    )
    group.add_argument(
        "--estimate",
        action="store_true",
        help="only say what scoring the trees without scores takes; sends nothing to the model",
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


def budget_of(model: str, options: Mapping[str, Any]) -> ScorerBudget:
    """Return a budget with the limits that the options name.

    Raises:
        CommandError: a cost cannot be limited without prices.
    """
    limits = Limits(options["max_requests"], options["max_tokens_total"], options["max_cost"])
    return ScorerBudget(limits, prices_of(model, options))


def start_within(
    budget: ScorerBudget,
    forest: Forest,
    options: Mapping[str, Any],
    parameters: Mapping[str, Any],
    kind: str,
) -> Scorer:
    """Return the scorer, whose requests the budget counts from now on.

    Raises:
        CommandError: a limit is spent.
        ConfigError: the scorer is known with other parameters.
    """
    if options["replace"]:
        _refuse_spent(budget)  # by checking the server: delete nothing
        delete_scores(forest, options["scorer"])
    scorer = start_scorer(forest, options["scorer"], parameters, kind)
    budget.begin(scorer)
    _refuse_spent(budget)
    return scorer


def _refuse_spent(budget: ScorerBudget) -> None:
    if budget.spent_limit:
        raise CommandError(f"{budget.spent_limit}: {RAISE_THE_LIMIT}")


@contextlib.contextmanager
def limit_in_words() -> Iterator[None]:
    """Turn the refusal of a request into the error of a command, with the remedy.

    Raises:
        CommandError: a limit leaves no room for a request.
    """
    try:
        yield
    except LimitSpentError as error:
        raise CommandError(f"{error}: {RAISE_THE_LIMIT}", returncode=EXIT_PARTLY_FAILED) from error


def prices_of(model: str, options: Mapping[str, Any]) -> Prices:
    """Return the prices of a model.

    Raises:
        CommandError: they are not known, and the options limit the cost.
    """
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


def show_estimate(
    command: ProjectCommand, work: Work, asked: str, prices: Prices, *, as_json: bool
) -> None:
    """Show the work of scoring. `asked` names what the scorer reads: solutions or prefixes."""
    most, cost = work.most, prices.cost(work.most)
    if as_json:
        told: dict[str, Any] = {"trees": work.trees, asked: work.asked}
        command.show_json(told | most.as_dict() | {"most_cost": cost})
        return
    words = (
        f"{work.trees} trees with {work.asked} {asked} to score: {most.requests} requests, about "
        f"{most.prompt_tokens} prompt tokens, at most {most.completion_tokens} completion tokens"
    )
    command.say(words if cost is None else f"{words}, at most {money(cost)}")


def show_counts(
    command: ProjectCommand, scoring: Scoring, own: Any, budget: ScorerBudget, scorer: Scorer
) -> None:
    """Show the result of a run as JSON; `own` are the counts that only this kind of scorer has."""
    counts = counts_by_name(scoring) | counts_by_name(own)
    counts["spending"] = counts_by_name(scoring.spending)
    total = budget.spent
    told = {"forest_name": scorer.forest_id, "scorer": scorer.name, **counts}
    command.show_json(told | {"spent": total.as_dict(), "cost": budget.prices.cost(total)})


def say_spent(command: ProjectCommand, scoring: Scoring, budget: ScorerBudget) -> None:
    """Say what this run used, and all runs of the scorer together."""
    spent, total = scoring.spending, budget.spent
    command.say(f"this run: {_usage_in_words(spent.usage, budget.prices)}, {spent.retries} retries")
    if total != spent.usage:
        command.say(f"all runs of this scorer: {_usage_in_words(total, budget.prices)}")


def check_outcome(scoring: Scoring) -> None:
    """Fail if some trees were not scored.

    Raises:
        CommandError: a limit is spent, or trees have no scores.
    """
    if scoring.limit:
        raise CommandError(
            f"{scoring.limit}: {RAISE_THE_LIMIT}; {scoring.trees} trees were scored in this run",
            returncode=EXIT_PARTLY_FAILED,
        )
    if scoring.failures:
        reason, _ = scoring.failures.most_common(1)[0]
        raise CommandError(
            f"{scoring.failures.total()} trees have no scores: {reason}",
            returncode=EXIT_PARTLY_FAILED,
        )


def counts_by_name(counts: Any) -> dict[str, Any]:
    """Return the fields by name. In Python 3.11 `asdict` turns a counter's keys into tuples."""
    return {field.name: getattr(counts, field.name) for field in fields(counts)}


def _usage_in_words(used: Usage, prices: Prices) -> str:
    words = (
        f"{used.requests} requests, {used.prompt_tokens} prompt tokens, {used.completion_tokens} "
        "completion tokens"
    )
    cost = prices.cost(used)
    return words if cost is None else f"{words}, {money(cost)}"
