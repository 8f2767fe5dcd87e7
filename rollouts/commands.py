"""What the commands that grow forests share."""

import asyncio
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from forests.commands import (
    EXIT_PARTLY_FAILED,
    add_forest_argument,
    get_graded_forest,
    positive_integer,
)
from forests.core.states import ForestState
from forests.models import Forest
from forests.selectors import read_standing_of
from forests.storage_problems import NO_MODEL_SERVER, NO_QUEUE
from rollouts.core.model_names import may_have, shown_names
from rollouts.failures import BackendError, NoModelListError
from rollouts.jobs import load_frozen_config, make_client, rollout_queue
from rollouts.servers import policy_server

DEFAULT_TREES_PER_JOB = 16


def add_growth_arguments(parser: CommandParser) -> None:
    """Add what all commands that grow a forest take."""
    add_forest_argument(parser)
    parser.add_argument(
        "--trees_per_job",
        type=positive_integer,
        default=DEFAULT_TREES_PER_JOB,
        help="trees that one job grows (default: %(default)s)",
    )
    parser.add_argument(
        "--max_requests",
        type=positive_integer,
        help="stop when the forest has taken so many requests; a larger limit goes on",
    )
    parser.add_argument(
        "--max_tokens_total",
        type=positive_integer,
        help="stop when the forest has taken so many prompt and completion tokens",
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
    forest.max_requests = options["max_requests"]
    forest.max_tokens_total = options["max_tokens_total"]
    if forest.spent_limit:
        raise CommandError(f"{forest.spent_limit}: raise the limit to go on")
    if forest.is_paused:
        raise CommandError(f"forest {name!r} is paused: resume it in the admin")
    if not settings.REDIS_URL:
        raise CommandError(NO_QUEUE)
    rollout_queue().connection.ping()
    check_backend(forest)
    forest.backend_message = forest.stop_reason = ""  # the server answers, whatever it did before
    forest.save(
        update_fields=["max_requests", "max_tokens_total", "backend_message", "stop_reason"]
    )
    return forest


def check_outcome(name: str) -> None:
    """Say what is left when growing has ended.

    Raises:
        CommandError: trees are unfinished or failed.
    """
    forest = Forest.objects.get(pk=name)
    standing = read_standing_of(forest)
    if forest.num_pending:
        trees = "1 tree is" if forest.num_pending == 1 else f"{forest.num_pending} trees are"
        told = str(standing)
        if standing.state is ForestState.NO_WORKER and not standing.reason:
            told += ", they ended early: their output says why"
        is_part = standing.state is ForestState.LIMIT_SPENT
        if is_part:
            told += ": raise the limit to go on"
        raise CommandError(
            f"{trees} unfinished; {told}{standing.hint}",
            returncode=EXIT_PARTLY_FAILED if is_part else 1,
        )
    if forest.num_failed:
        raise CommandError(
            f"{standing}; the forest's page shows why{standing.hint}",
            returncode=EXIT_PARTLY_FAILED,
        )


def check_backend(forest: Forest) -> None:
    """Refuse to go on where the model server cannot serve a forest.

    Raises:
        CommandError: there is no server, or it does not answer or refuses.
    """
    base_urls = forest.worker_config.get("base_urls")
    if not base_urls:
        require_backend()

    async def ask() -> None:
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

    try:
        asyncio.run(ask())
    except BackendError as error:
        raise CommandError(str(error)) from error


def require_backend() -> None:
    """Refuse to go on without the address of a model server."""
    if not settings.OPENAI_BASE_URL:
        raise CommandError(NO_MODEL_SERVER)
