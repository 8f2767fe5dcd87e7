"""What the commands that grow forests share."""

import argparse
import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from common.commands import EXIT_PARTLY_FAILED, positive_integer
from common.storable import storing_problem
from common.storage_problems import NO_QUEUE
from forests.costs.budgets import Prices
from forests.forest_arguments import add_forest_argument, amount, get_graded_forest, positive_amount
from forests.models import Forest
from forests.progress.reading import read_standing_of
from forests.progress.states import ForestState
from rollouts.client.failures import NoModelListError
from rollouts.growing.growing_process import load_frozen_config, make_client
from rollouts.growing.needs import require_server
from rollouts.growing.reservations import free_dead
from rollouts.probing.identity import OtherModelError, forget_unused_models
from rollouts.protocol.responses import MAX_MODEL
from rollouts.sampling.in_flight import InFlight, find_in_flight
from rollouts.workers.jobs import rollout_queue

LIMIT_FIELDS = ("max_requests", "max_tokens_total", "max_cost")
PRICE_FIELDS = ("price_in", "price_out")
RAISE_THE_LIMIT = "raise the limit to go on, or lift all with --no_limit"


def add_growth_arguments(parser: CommandParser) -> None:
    """Add what all commands that grow a forest take."""
    add_forest_argument(parser)
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
    parser.add_argument(
        "--allow_model",
        action="append",
        default=[],
        type=_model_name,
        metavar="NAME",
        help="let this model grow the forest too, by the name that its server lists; may be "
        "repeated, and is remembered",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def get_growable_forest(options: Mapping[str, Any]) -> Forest:
    """Return a forest whose config and model server are ready, with its limits set.

    Raises:
        CommandError, ConfigError: one of them is not.
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
    allowed = list(dict.fromkeys([*(forest.allowed_models or []), *options["allow_model"]]))
    set_prices(forest, check_backend(forest, allowed))
    if forest.spent_limit:
        raise CommandError(f"{forest.spent_limit}: {RAISE_THE_LIMIT}")
    forest.allowed_models = allowed
    # The server answers, whatever it did before.
    forest.backend_message = forest.stop_reason = forest.worker_message = ""
    forest.worker_message_at = None
    told = ("backend_message", "stop_reason", "worker_message", "worker_message_at")
    forest.save(update_fields=[*LIMIT_FIELDS, *PRICE_FIELDS, "allowed_models", *told])
    return forest


def require_queue() -> None:
    """Refuse to go on without a queue that answers.

    Raises:
        CommandError, redis.RedisError: the settings name none, or it does not answer.
    """
    if not settings.REDIS_URL:
        raise CommandError(NO_QUEUE)
    rollout_queue().connection.ping()


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


def unfinished_trees(forest: Forest) -> str:
    """Return "3 trees are unfinished"."""
    trees = "1 tree is" if forest.num_pending == 1 else f"{forest.num_pending} trees are"
    return f"{trees} unfinished"


def check_outcome(name: str) -> None:
    """Say what is left when growing has ended.

    Raises:
        CommandError: trees are unfinished or failed.
    """
    forest = Forest.objects.get(pk=name)
    standing = read_standing_of(forest)
    if forest.num_pending:
        told = str(standing)
        if standing.state is ForestState.NO_WORKER and not standing.reason:
            told += ", they ended early: their output says why"
        is_part = standing.state is ForestState.LIMIT_SPENT
        if is_part:
            told += ": raise the limit to go on"
        raise CommandError(
            f"{unfinished_trees(forest)}; {told}{standing.hint}",
            returncode=EXIT_PARTLY_FAILED if is_part else 1,
        )
    if forest.num_failed:
        raise CommandError(
            f"{standing}; the forest's page shows why{standing.hint}",
            returncode=EXIT_PARTLY_FAILED,
        )


def check_backend(forest: Forest, allowed: Sequence[str] = ()) -> str:
    """Return the model that grows a forest, where the model servers can serve it.

    `allowed`: further models that may.

    Raises:
        UserError: there is no server, it does not answer or refuses, or it has another model than
            the forest.
    """

    async def ask() -> str:
        async with make_client(forest, allowed=allowed) as client:
            # Without a list the first request tells, with the model that the config names.
            with contextlib.suppress(NoModelListError):
                await client.list_models()
            model = await client.model()
            await client.compare_models()
        return model

    require_server(forest)
    try:
        return asyncio.run(ask())
    except OtherModelError:
        if not forget_unused_models(forest):
            raise
        forest.refresh_from_db(fields=["grown_by"])
        return asyncio.run(ask())


async def _in_flight(forest: Forest) -> InFlight:
    async with make_client(forest) as client:
        return await find_in_flight(client)


def get_in_flight(forest: Forest) -> InFlight:
    """Return how many requests the forest's model servers should have to answer at once."""
    return asyncio.run(_in_flight(forest))


def _model_name(text: str) -> str:
    """Return the name of a model, for `type=` of an argument."""
    if not text.strip() or len(text) > MAX_MODEL or storing_problem(text):
        raise argparse.ArgumentTypeError(
            f"expected the name of a model, of at most {MAX_MODEL} characters"
        )
    return text
