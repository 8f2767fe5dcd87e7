"""What the commands that grow forests share."""

import asyncio

from django.conf import settings
from django.core.management.base import CommandError

from forests.commands import get_seeded_forest
from forests.models import Forest
from rollouts.client import BackendError
from rollouts.jobs import load_frozen_config, make_client, rollout_queue

DEFAULT_TREES_PER_JOB = 16


def get_growable_forest(name: str) -> Forest:
    """Return a forest whose config, queue and model server are ready.

    Raises:
        CommandError, ConfigError, redis.RedisError: one of them is not.
    """
    forest = get_seeded_forest(name)
    load_frozen_config(forest)
    if forest.is_paused:
        raise CommandError(f"forest {name!r} is paused: resume it in the admin")
    if not settings.REDIS_URL:
        raise CommandError(
            "no queue: set REDIS_URL in .env, or start the embedded services with "
            "`python manage.py services`"
        )
    rollout_queue().connection.ping()
    check_backend(forest)
    return forest


def check_backend(forest: Forest) -> str:
    """Return the model that the server will be asked for.

    Raises:
        CommandError: there is no server, or it does not answer or refuses.
    """
    require_backend()

    async def ask() -> str:
        async with make_client(forest) as client:
            names = await client.list_models()
            model = await client.model()
        if names and model not in names:
            raise CommandError(
                f"{settings.OPENAI_BASE_URL} has no model {model!r}: it has {', '.join(names)}"
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
