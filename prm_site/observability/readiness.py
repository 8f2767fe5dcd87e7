"""Readiness: whether database, queue and model server answer."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from threading import Lock
from typing import cast

import pymongo
import structlog
from django.conf import settings
from django.db import connection
from django_mongodb_backend.base import DatabaseWrapper
from pymongo.errors import PyMongoError
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from rollouts.client.failures import BackendError, NoModelListError
from rollouts.client.servers_of_settings import policy_server

log = structlog.stdlib.get_logger(__name__)

SECONDS_TO_ANSWER = 2.0
SECONDS_KEPT = 5.0
"""Results are cached this long: anybody may ask, and the model server must not be flooded."""


class Readiness:
    """Checks each part at most once in `SECONDS_KEPT`, in at most one thread of the site."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._found: Sequence[tuple[str, bool]] = ()
        self._looked_at = float("-inf")

    def look(self) -> Sequence[tuple[str, bool]]:
        """Return the name of each part, and whether it answers.

        Returns the previous result, if any, while another thread checks: a part that hangs must not
        block all threads of the site.
        """
        if self._lock.acquire(blocking=not self._found):
            try:
                if time.monotonic() - self._looked_at >= SECONDS_KEPT:
                    self._found = [(part, _answers(part, ask)) for part, ask in _PARTS.items()]
                    self._looked_at = time.monotonic()
            finally:
                self._lock.release()
        return self._found


def _answers(part: str, ask: Callable[[], object]) -> bool:
    try:
        ask()
    except (PyMongoError, RedisError, BackendError, OSError) as error:
        log.warning("not ready", part=part, error=str(error))
        return False
    return True


def _ask_database() -> None:
    with pymongo.timeout(SECONDS_TO_ANSWER):
        cast(DatabaseWrapper, connection).database.command("ping")


def _ask_queue() -> None:
    with Redis.from_url(
        str(settings.RQ_QUEUES[settings.ROLLOUT_QUEUE]["URL"]),
        socket_timeout=SECONDS_TO_ANSWER,
        socket_connect_timeout=SECONDS_TO_ANSWER,
        retry=Retry(NoBackoff(), 0),
    ) as queue:
        queue.ping()


def _ask_backend() -> None:
    if not settings.OPENAI_BASE_URL:
        raise BackendError("OPENAI_BASE_URL is not set")
    asyncio.run(_list_models())


async def _list_models() -> None:
    # Commands import this module with the site's URLs, and the backend's library takes 0.6 s.
    from rollouts.client.backend import Backend  # noqa: PLC0415

    server = Backend(policy_server(), timeout_seconds=SECONDS_TO_ANSWER, max_attempts=1)
    async with server, asyncio.timeout(SECONDS_TO_ANSWER):  # `Backend` limits each read
        with contextlib.suppress(NoModelListError):  # a server without a model list answers too
            await server.first_model()


_PARTS: dict[str, Callable[[], object]] = {
    "database": _ask_database,
    "queue": _ask_queue,
    "backend": _ask_backend,
}

READINESS = Readiness()
