"""Empties the test database after each test.

Django's own flush makes all content types and permissions again, a dozen times slower. A delete in
an empty collection takes half a millisecond, so only the collections that a test wrote are emptied.
What another process writes is unknown here. After a test that starts one, all of them are emptied.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any, cast

import pytest
from django.db import connection
from django.test import TransactionTestCase
from django_mongodb_backend.base import DatabaseWrapper
from pymongo import monitoring

from prm_site.access.roles import ROLES
from tests.forked_commands import ForkedCommand

_MADE_BY_MIGRATE = {"auth_permission", "django_content_type", "django_migrations"}
_GROUPS_MADE_BY_MIGRATE = {"auth_group": "_id", "auth_group_permissions": "group_id"}
_ADD_DOCUMENTS = {"insert", "update", "findAndModify"}
_ADD_NONE = {
    "aggregate", "collStats", "count", "createIndexes", "delete", "distinct", "endSessions",
    "explain", "find", "getMore", "hello", "killCursors", "listCollections", "listIndexes", "ping",
}  # fmt: skip


class _Written(monitoring.CommandListener):
    """The collections that were written since `take`."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.are_known = False

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name in _ADD_DOCUMENTS:
            self.names.add(event.command[event.command_name])
        elif event.command_name not in _ADD_NONE:
            self.are_known = False

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass

    def take(self) -> set[str]:
        """Return the names, or those of all collections, and begin again."""
        names = self.names if self.are_known else set(connection.introspection.table_names())
        self.names, self.are_known = set(), True
        return names


_written = _Written()
monitoring.register(_written)  # before Django makes its client, which would not ask it


@contextmanager
def only_what_was_written() -> Iterator[None]:
    """Let Django's tests with a database empty it this way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda _: _empty())
        for owner, start in (
            (subprocess.Popen, "__init__"), (ForkedCommand, "__init__"), (BaseProcess, "start"),
            (os, "fork"),
        ):  # fmt: skip
            patch.setattr(owner, start, _noting(getattr(owner, start)))
        yield


def _noting(start: Any) -> Any:
    def noted(*args: Any, **kwargs: Any) -> Any:
        _written.are_known = False
        return start(*args, **kwargs)

    return noted


def _empty() -> None:
    database = cast("DatabaseWrapper", connection).database
    for name in _written.take() - _MADE_BY_MIGRATE:
        query = {}
        if key := _GROUPS_MADE_BY_MIGRATE.get(name):
            roles = database["auth_group"].find({"name": {"$in": list(ROLES)}}, {"_id": True})
            query = {key: {"$nin": [role["_id"] for role in roles]}}
        database[name].delete_many(query)
