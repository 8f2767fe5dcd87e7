"""Processes that tests start."""

import os

from django.db import connection


def on_test_database(**variables: str) -> dict[str, str]:
    """Return the environment of a process that uses the database of the running test.

    It names a model server, which workers need to start, and which is away unless given.
    """
    named = {
        "PRM_DATABASE_NAME": str(connection.settings_dict["NAME"]),
        "OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
    }
    return os.environ | named | variables
