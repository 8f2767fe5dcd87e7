"""What the commands that grow forests share."""

import asyncio
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from forests.commands import (
    EXIT_PARTLY_FAILED,
    add_forest_argument,
    amount,
    get_graded_forest,
    positive_amount,
    positive_integer,
)
from forests.core.budgets import Prices
from forests.models import Forest
from rollouts.budgets import free_dead
from rollouts.core.model_names import may_have, shown_names
from rollouts.failures import BackendError, NoModelListError
from rollouts.jobs import load_frozen_config, make_client, rollout_queue
from rollouts.servers import policy_server

DEFAULT_TREES_PER_JOB = 16
LIMIT_FIELDS = ("max_requests", "max_tokens_total", "max_cost")
PRICE_FIELDS = ("price_in", "price_out")
RAISE_THE_LIMIT = "raise the limit to go on, or lift all with --no_limit"


def add_growth_arguments(parser: CommandParser) -> None:
    """Add what all commands that grow a forest take."""
    add_forest_argument(parser)
    parser.add_argument(
        "--trees_per_job",
        type=positive_integer,
        default=DEFAULT_TREES_PER_JOB,
        help="trees that one job grows (default: %(default)s)",
    )
    limits = parser.add_argument_group(
        "limits", "A forest keeps its limits and prices; an option that is given replaces one."
    )
    limits.add_argument(
        "--max_requests",
        type=positive_integer,
        help="stop when the forest has taken so many requests, failed ones included",
    )
    limits.add_argument(
        "--max_tokens_total",
        type=positive_integer,
        help="stop when the forest has taken so many prompt and completion tokens",
    )
    limits.add_argument(
        "--max_cost",
        type=positive_amount,
        help="stop when the forest has cost so much, in the currency of its prices",
    )
    limits.add_argument(
        "--no_limit", action="store_true", help="lift all limits but those that are given with it"
    )
    limits.add_argument(
        "--price_in",
        type=amount,
        help="price of a million prompt tokens (default: that of PRM_PRICES for the model)",
    )
    limits.add_argument(
        "--price_out",
        type=amount,
        help="price of a million completion tokens (default: that of PRM_PRICES for the model)",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def get_growable_forest(options: Mapping[str, Any]) -> Forest:
    """Return a forest whose config, queue and model server are ready, with its limits set.

    Raises:
        CommandError, ConfigError, redis.RedisError: one of them is not.
    """
    name = options["forest_name"]
    forest = get_graded_forest(name)
    load_frozen_config(forest)
    if free_dead(forest):
        forest = get_graded_forest(name)
    set_limits(forest, options)
    if forest.spent_limit:
        raise CommandError(f"{forest.spent_limit}: {RAISE_THE_LIMIT}")
    if forest.is_paused:
        raise CommandError(f"forest {name!r} is paused: resume it in the admin")
    if not settings.REDIS_URL:
        raise CommandError(
            "no queue: set REDIS_URL in .env, or start the embedded services with "
            "`python manage.py services`"
        )
    rollout_queue().connection.ping()
    set_prices(forest, check_backend(forest))
    if forest.spent_limit:
        raise CommandError(f"{forest.spent_limit}: {RAISE_THE_LIMIT}")
    forest.backend_message = ""  # the server answers, whatever it did before
    forest.save(update_fields=[*LIMIT_FIELDS, *PRICE_FIELDS, "backend_message"])
    return forest


def set_limits(forest: Forest, options: Mapping[str, Any]) -> None:
    """Change the limits and prices that options name; the others stay."""
    for name in LIMIT_FIELDS:
        if options[name] is not None or options["no_limit"]:
            setattr(forest, name, options[name])
    for name in PRICE_FIELDS:
        if options[name] is not None:
            setattr(forest, name, options[name])


def set_prices(forest: Forest, model: str) -> None:
    """Give a forest without prices those that the settings have for its model.

    Raises:
        CommandError: its cost is limited, and nobody knows its prices.
    """
    known = settings.PRICES.get(model, Prices())
    if forest.price_in is None:
        forest.price_in = known.prompt
    if forest.price_out is None:
        forest.price_out = known.completion
    if forest.max_cost is not None and not forest.prices.are_known:
        raise CommandError(
            f"the price of {model!r} is not known, so its cost cannot be limited: give --price_in "
            "and --price_out, or set PRM_PRICES in .env; --no_limit lifts the limit"
        )


def check_outcome(name: str) -> None:
    """Say what is left when growing has ended.

    Raises:
        CommandError: trees are unfinished or failed.
    """
    forest = Forest.objects.get(pk=name)
    if forest.num_pending and forest.spent_limit:
        raise CommandError(
            f"{forest.num_pending} trees are unfinished; {forest.spent_limit}: {RAISE_THE_LIMIT}",
            returncode=EXIT_PARTLY_FAILED,
        )
    if forest.num_pending:
        reason = forest.backend_message or "workers ended early: their output says why"
        raise CommandError(f"{forest.num_pending} trees are unfinished; {reason}")
    if forest.num_failed:
        raise CommandError(
            f"{forest.num_failed} trees failed: the forest's page shows why, and retry_failed "
            "tries them again",
            returncode=EXIT_PARTLY_FAILED,
        )


def check_backend(forest: Forest) -> str:
    """Return the model that grows a forest, where the model server can serve it.

    Raises:
        CommandError: there is no server, or it does not answer or refuses.
    """
    base_urls = forest.worker_config.get("base_urls")
    if not base_urls:
        require_backend()

    async def ask() -> str:
        async with make_client(forest) as client:
            try:
                names = await client.list_models()
            except NoModelListError:
                names = []  # then the first request tells, with the model that the config names
            model = await client.model()
        if not may_have(model, names):
            address = policy_server(base_urls or ()).servers[0].address
            raise CommandError(
                f"{address} has no model {model!r}: it has {shown_names(model, names)}"
            )
        return model

    try:
        return asyncio.run(ask())
    except BackendError as error:
        raise CommandError(str(error)) from error


def require_backend() -> None:
    """Refuse to go on without the address of a model server."""
    if not settings.OPENAI_BASE_URL:
        raise CommandError(
            "no model server: set OPENAI_BASE_URL in .env, or start the embedded services with "
            "`python manage.py services`"
        )
