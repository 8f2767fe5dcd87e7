"""What the commands that grow forests share."""

import asyncio
import contextlib
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
from forests.models import Forest
from rollouts.failures import BackendError, NoModelListError, NotForThisWorkerError
from rollouts.growing_process import load_frozen_config, make_client
from rollouts.in_flight import InFlight, find_in_flight
from rollouts.jobs import rollout_queue
from rollouts.needs import require_model, require_server


def add_growth_arguments(parser: CommandParser) -> None:
    """Add what all commands that grow a forest take."""
    add_forest_argument(parser)
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
    """Return a forest whose config and model server are ready, with its limits set.

    Raises:
        CommandError, ConfigError: one of them is not.
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
    check_backend(forest)
    forest.backend_message = ""  # the server answers, whatever it did before
    forest.worker_message, forest.worker_message_at = "", None
    forest.save(
        update_fields=[
            "max_requests",
            "max_tokens_total",
            "backend_message",
            "worker_message",
            "worker_message_at",
        ]
    )
    return forest


def require_queue() -> None:
    """Refuse to go on without a queue that answers.

    Raises:
        CommandError, redis.RedisError: the settings name none, or it does not answer.
    """
    if not settings.REDIS_URL:
        raise CommandError(
            "no queue: set REDIS_URL in .env, or start the embedded services with "
            "`python manage.py services`"
        )
    rollout_queue().connection.ping()


def check_outcome(name: str) -> None:
    """Say what is left when growing has ended.

    Raises:
        CommandError: trees are unfinished or failed.
    """
    forest = Forest.objects.get(pk=name)
    if forest.num_pending and forest.spent_limit:
        raise CommandError(
            f"{forest.num_pending} trees are unfinished; {forest.spent_limit}: "
            "raise the limit to go on",
            returncode=EXIT_PARTLY_FAILED,
        )
    if forest.num_pending:
        raise CommandError(f"{forest.num_pending} trees are unfinished; {_why_unfinished(forest)}")
    if forest.num_failed:
        raise CommandError(
            f"{forest.num_failed} trees failed: the forest's page shows why, and retry_failed "
            "tries them again",
            returncode=EXIT_PARTLY_FAILED,
        )


def _why_unfinished(forest: Forest) -> str:
    if forest.is_paused:
        return "the forest is paused: resume it in the admin"
    if not forest.is_graded:
        return f"regrade_forest --forest_name {forest.name} has to end first"
    messages = forest.backend_message or forest.worker_message
    return messages or "run the same command again to grow them"


def check_backend(forest: Forest) -> None:
    """Refuse to go on where the model server cannot serve a forest.

    Raises:
        CommandError: there is no server, or it does not answer or refuses.
    """

    async def ask() -> None:
        async with make_client(forest) as client:
            with contextlib.suppress(NoModelListError):
                await client.list_models()  # otherwise the first request tells
            await require_model(client)
            await client.model()

    try:
        require_server(forest)
        asyncio.run(ask())
    except (BackendError, NotForThisWorkerError) as error:
        raise CommandError(str(error)) from error


async def _in_flight(forest: Forest) -> InFlight:
    async with make_client(forest) as client:
        return await find_in_flight(client)


def get_in_flight(forest: Forest) -> InFlight:
    """Return how many requests the forest's model servers should have to answer at once."""
    return asyncio.run(_in_flight(forest))


def require_backend() -> None:
    """Refuse to go on without the address of a model server."""
    if not settings.OPENAI_BASE_URL:
        raise CommandError(
            "no model server: set OPENAI_BASE_URL in .env, or start the embedded services with "
            "`python manage.py services`"
        )
