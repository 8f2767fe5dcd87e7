"""The command line. All commands, including Django's own, report a missing service in one line."""

import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, cast

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import ManagementUtility, get_commands
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from redis import Redis

from common.option_spelling import as_declared
from common.storage_problems import (
    NO_DATABASE,
    NO_MODEL_SERVER,
    NO_QUEUE,
    STORAGE_ERRORS,
    is_of_storage,
    storage_problem,
)
from prm_site.command_table import VERBS

if TYPE_CHECKING:  # imported before the settings, the engine would search for GDAL
    from django_mongodb_backend.base import DatabaseWrapper

_WORKERS = ("rqworker", "rqworker-pool")
_ASKS_FOR_HELP = {"-h", "--help"}


def run(arguments: Sequence[str]) -> None:
    """Run a command. If it needs a service that is down or wrongly set, say so and exit with 1.

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
    """Accepts short names of commands, and options with `-` or `_` between their words.

    Checks the services before a worker starts: RQ would retry forever.
    """

    def __init__(self, argv: list[str]) -> None:
        super().__init__(argv)
        if Path(argv[0]).name == "__main__.py":
            self.argv[0] = self.prog_name = "prm"

    def fetch_command(self, subcommand: str) -> BaseCommand:
        name = _full_name(subcommand)
        command = super().fetch_command(name)
        gc.enable()
        options = command.create_parser(self.prog_name, subcommand)._option_string_actions  # noqa: SLF001
        self.argv[2:] = as_declared(self.argv[2:], options)
        if name in _WORKERS and not _ASKS_FOR_HELP & set(self.argv):
            _require_what_workers_need()
        return command


def _full_name(name: str) -> str:
    name = VERBS.get(name, name)
    known = get_commands()
    return next((one for one in known if one.replace("-", "_") == name.replace("-", "_")), name)


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
