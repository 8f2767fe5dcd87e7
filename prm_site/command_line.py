"""The command line. All commands, including Django's own, report a missing service in one line."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn, cast

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import ManagementUtility
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from redis import Redis

from common.storage_problems import (
    NO_DATABASE,
    NO_MODEL_SERVER,
    NO_QUEUE,
    STORAGE_ERRORS,
    is_of_storage,
    storage_problem,
)

if TYPE_CHECKING:  # before the settings are read, the engine would look for libraries for maps
    from django_mongodb_backend.base import DatabaseWrapper

_WORKERS = ("rqworker", "rqworker-pool")
_ASKS_FOR_HELP = {"-h", "--help"}


def run(arguments: Sequence[str]) -> None:
    """Run a command. If a service that it needs is down or wrongly set, say so and exit with 1.

    With `--traceback`, errors of the database and the queue are shown in full.
    """
    try:
        CommandLine(list(arguments)).execute()
    except (ImproperlyConfigured, CommandError) as problem:
        _end(str(problem))
    except STORAGE_ERRORS as error:
        if "--traceback" in arguments or not is_of_storage(error):
            raise
        _end(storage_problem(error))


class CommandLine(ManagementUtility):
    """Checks the services before a worker starts: RQ would retry forever."""

    def fetch_command(self, subcommand: str) -> BaseCommand:
        command = super().fetch_command(subcommand)
        if subcommand in _WORKERS and not _ASKS_FOR_HELP & set(self.argv):
            _require_what_workers_need()
        return command


def _require_what_workers_need() -> None:
    """Refuse to start workers that could not grow anything.

    A named model server may be down: workers wait for it.

    Raises:
        CommandError, pymongo.errors.PyMongoError, redis.RedisError: something is missing.
    """
    if not settings.MONGODB_URI:
        raise CommandError(NO_DATABASE)
    if not settings.REDIS_URL:
        raise CommandError(NO_QUEUE)
    cast("DatabaseWrapper", connection).database.command("ping")
    with Redis.from_url(settings.REDIS_URL) as queue:
        queue.ping()
    if not settings.OPENAI_BASE_URL and not _has_forest_with_servers():
        raise CommandError(NO_MODEL_SERVER)
    cast("DatabaseWrapper", connection).close_pool()  # workers fork


def _has_forest_with_servers() -> bool:
    """Return whether the config of any forest names its own model servers."""
    forests = apps.get_model("forests", "Forest").objects.only("worker_config")
    return any(forest.worker_config.get("base_urls") for forest in forests)


def _end(problem: str) -> NoReturn:
    sys.stderr.write(f"{problem}\n")
    sys.exit(1)
