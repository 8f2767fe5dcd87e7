"""Migrations against a real database."""

import os
import subprocess
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pymongo
import pytest
from django.conf import settings
from django.core.management import call_command
from pymongo.database import Database

from tests.forked_commands import ForkedCommand


@pytest.mark.django_db
def test_every_change_of_a_model_has_its_migration():
    call_command("makemigrations", check_changes=True, dry_run=True, verbosity=0)


@pytest.fixture
def database() -> Iterator[Database[dict[str, Any]]]:
    """A new, empty database, deleted afterwards."""
    name = f"migrating_{uuid4().hex[:12]}"
    with pymongo.MongoClient[dict[str, Any]](settings.MONGODB_URI) as client:
        yield client[name]
        client.drop_database(name)


def start_migrate(database: Database[dict[str, Any]]) -> ForkedCommand:
    return ForkedCommand(
        ["manage.py", "migrate", "-v", "0"],
        env=os.environ | {"PRM_DATABASE_NAME": database.name},
        stderr=subprocess.PIPE,
    )


def indexes(database: Database[dict[str, Any]]) -> dict[str, set[str]]:
    return {
        name: set(database[name].index_information()) for name in database.list_collection_names()
    }


def test_an_interrupted_migrate_can_be_repeated(database: Database[dict[str, Any]]):
    for num_collections in (2, 6, 12):
        killed = start_migrate(database)
        while len(database.list_collection_names()) < num_collections and killed.poll() is None:
            time.sleep(0.002)
        killed.kill()
        killed.communicate()

    done = start_migrate(database)
    assert (done.communicate()[1], done.returncode) == ("", 0)

    whole = indexes(database)
    assert "tree_forest_status_index" in whole["forests_tree"]
    assert "auth_user_user_permissions" in whole
    assert database["auth_group"].count_documents({"name": "reviewer"}) == 1


def test_what_a_command_wrote_before_the_first_migrate_is_kept(database: Database[dict[str, Any]]):
    database["forests_tree"].insert_one({"_id": "written-before"})

    done = start_migrate(database)

    assert (done.communicate()[1], done.returncode) == ("", 0)
    assert database["forests_tree"].find_one() is not None
    assert "tree_forest_status_index" in indexes(database)["forests_tree"]
