"""Processes that tests start."""

import os

from django.db import connection


def on_test_database(**variables: str) -> dict[str, str]:
    """Return the environment of a process that uses the database of the running test."""
    return os.environ | {"PRM_DATABASE_NAME": str(connection.settings_dict["NAME"])} | variables
