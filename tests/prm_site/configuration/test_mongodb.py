"""The options with which the driver talks to MongoDB."""

import os
import subprocess
import sys

import pytest
from django.core.exceptions import ImproperlyConfigured
from pymongo import MongoClient

from prm_site.configuration.mongodb import client_options
from tests.prm_site.configuration.test_settings import check


def client_of(uri: str) -> "MongoClient[dict[str, object]]":
    options = client_options(uri, timeout_seconds=5, write_timeout_seconds=30, max_pool_size=8)
    return MongoClient(uri, connect=False, **options)


def test_writes_are_confirmed_by_a_majority_and_sent_again_after_a_failover():
    options = client_of("mongodb://db.example.org/?replicaSet=rs0").options

    assert options.write_concern.document == {"w": "majority", "wtimeout": 30_000}
    assert options.retry_writes
    assert options.retry_reads
    assert options.pool_options.max_pool_size == 8
    assert options.server_selection_timeout == 5
    assert options.replica_set_name == "rs0"


def test_what_the_address_says_counts():
    options = client_of(
        "mongodb://a.example.org,b.example.org/?W=2&retryWrites=false&maxPoolSize=3"
        "&wTimeoutMS=100&serverSelectionTimeoutMS=900&tls=true&authSource=users"
    ).options

    assert options.write_concern.document == {"w": 2, "wtimeout": 100}
    assert not options.retry_writes
    assert options.pool_options.max_pool_size == 3
    assert options.server_selection_timeout == 0.9
    assert options.pool_options._ssl_context is not None


@pytest.mark.parametrize("option", ["w=0", "readPreference=secondary", "ReadPreference=nearest"])
def test_an_option_that_would_lose_work_is_refused(option: str):
    with pytest.raises(ImproperlyConfigured, match="remove it"):
        client_of(f"mongodb://db.example.org/?{option}")


def test_it_is_refused_in_one_line():
    done = check(MONGODB_URI="mongodb://ada:hunter2@db.example.org/?w=0")

    assert done.returncode == 1
    assert done.stderr.startswith("MONGODB_URI has w=0")
    assert len(done.stderr.strip().splitlines()) == 1
    assert "hunter2" not in done.stderr


READS_FROM = """
from django.db import connection
connection.ensure_connection()
print(connection.connection.read_preference.mongos_mode)
"""


@pytest.mark.parametrize(
    ("process", "expected"),
    [("import prm_site.wsgi", "primaryPreferred"), ("import django; django.setup()", "primary")],
)
def test_pages_may_be_read_while_a_primary_is_elected_and_workers_wait(process, expected):
    done = subprocess.run(
        [sys.executable, "-c", f"{process}\n{READS_FROM}"],
        env=os.environ
        | {
            "DJANGO_SETTINGS_MODULE": "prm_site.settings",
            "PRM_MONGODB_READ_PREFERENCE": "primaryPreferred",
        },
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == expected
