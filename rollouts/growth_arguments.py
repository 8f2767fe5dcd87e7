"""Arguments and checks that the commands that grow forests share."""

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
from rollouts.growing.needs_of_jobs import require_server
from rollouts.growing.reservations import free_dead
from rollouts.probing.identity import OtherModelError, forget_unused_models
from rollouts.protocol.responses import MAX_MODEL
from rollouts.sampling.in_flight import InFlight, find_in_flight
from rollouts.workers.jobs import rollout_queue

LIMIT_FIELDS = ("max_requests", "max_tokens_total", "max_cost")
PRICE_FIELDS = ("price_in", "price_out")
RAISE_THE_LIMIT = "raise the limit to continue, or remove all limits with --no_limit"


def add_growth_arguments(parser: CommandParser) -> None:
    """Add the arguments of all commands that grow a forest."""
    add_forest_argument(parser)
    limits = parser.add_argument_group(
        "limits", "A forest keeps its limits and prices. Each option given here replaces one."
    )
    limits.add_argument(
        "--max_requests",
        type=positive_integer,
        help="stop after this many requests in total, including failed ones",
    )
    limits.add_argument(
        "--max_tokens_total",
        type=positive_integer,
        help="stop after this many prompt and completion tokens in total",
    )
    limits.add_argument(
        "--max_cost",
        type=positive_amount,
        help="stop when the forest has cost this much, in the currency of its prices",
    )
    limits.add_argument(
        "--no_limit", action="store_true", help="remove all limits except those given with it"
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
        help="also let this model grow the forest, by the name that its server lists; may be "
        "repeated, and is remembered",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def get_growable_forest(options: Mapping[str, Any]) -> Forest:
    """Set a forest's limits, check its config and model server, and return the forest.

    Raises:
        CommandError, ConfigError: the config or the model server is not ready, or a limit is spent.
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
    # The server answers now, so earlier messages are outdated.
    forest.backend_message = forest.stop_reason = forest.worker_message = ""
    forest.worker_message_at = None
    told = ("backend_message", "stop_reason", "worker_message", "worker_message_at")
    forest.save(update_fields=[*LIMIT_FIELDS, *PRICE_FIELDS, "allowed_models", *told])
    return forest


def require_queue() -> None:
    """Check that the queue answers.

    Raises:
        CommandError, redis.RedisError: the settings do not name a queue, or it does not answer.
    """
    if not settings.REDIS_URL:
        raise CommandError(NO_QUEUE)
    rollout_queue().connection.ping()


def set_limits(forest: Forest, options: Mapping[str, Any]) -> None:
    """Change the limits and prices that the options name, and keep the others."""
    for name in LIMIT_FIELDS:
        if options[name] is not None or options["no_limit"]:
            setattr(forest, name, options[name])
    for name in PRICE_FIELDS:
        if options[name] is not None:
            setattr(forest, name, options[name])


def set_prices(forest: Forest, model: str) -> None:
    """Fill in missing prices of a forest from the settings for its model.

    Raises:
        CommandError: its cost is limited, and its prices are unknown.
    """
    known = settings.PRICES.get(model, Prices())
    if forest.price_in is None:
        forest.price_in = known.prompt
    if forest.price_out is None:
        forest.price_out = known.completion
    if forest.max_cost is not None and not forest.prices.are_known:
        raise CommandError(
            f"the price of {model!r} is not known, so its cost cannot be limited: give --price_in "
            "and --price_out, or set PRM_PRICES in .env; --no_limit removes the limit"
        )


def unfinished_trees(forest: Forest) -> str:
    """Return the number of unfinished trees, such as "3 trees are unfinished"."""
    trees = "1 tree is" if forest.num_pending == 1 else f"{forest.num_pending} trees are"
    return f"{trees} unfinished"


def check_outcome(name: str) -> None:
    """Check that growing has completed all trees.

    Raises:
        CommandError: trees are unfinished or failed.
    """
    forest = Forest.objects.get(pk=name)
    standing = read_standing_of(forest)
    if forest.num_pending:
        told = str(standing)
        if standing.state is ForestState.NO_WORKER and not standing.reason:
            told += ", because the workers ended early: their output says why"
        is_part = standing.state is ForestState.LIMIT_SPENT
        if is_part:
            told += ": raise the limit to continue"
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
    """Check that the model servers can serve a forest; return the model that grows it.

    `allowed` names further models that may grow it.

    Raises:
        UserError: no server is set, it does not answer, it refuses requests, or its model is not
            one of the forest's.
    """

    async def ask() -> str:
        async with make_client(forest, allowed=allowed) as client:
            # Without a list the first request decides, with the model that the config names.
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
    """Return how many requests to keep in flight at the forest's model servers, and why."""
    return asyncio.run(_in_flight(forest))


def _model_name(text: str) -> str:
    """Return the name of a model, for `type=` of an argument."""
    if not text.strip() or len(text) > MAX_MODEL or storing_problem(text):
        raise argparse.ArgumentTypeError(
            f"expected the name of a model, of at most {MAX_MODEL} characters"
        )
    return text
