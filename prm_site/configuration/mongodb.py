"""How the site and its workers talk to MongoDB, where the address does not say it itself."""

import sys
from importlib.abc import MetaPathFinder
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from prm_site.configuration.environment import refuse

MILLISECONDS = 1000
PAGE_READ_PREFERENCES = ("primary", "primaryPreferred")
"""Pages of a server that lags behind would forget logins and reviews made a moment ago."""


class _NoGis(MetaPathFinder):
    """Says at once that there is no library for maps, as the engine takes it.

    The engine would look for one four times, with a dozen programs each, for half a second of
    every command; and forests have no places on maps.
    """

    def find_spec(self, name: str, *_: object) -> None:
        if name == "django.contrib.gis":
            raise ImproperlyConfigured("this project does without django.contrib.gis")


def leave_out_gis() -> None:
    """Let the database engine, which must not be imported yet, do without GIS."""
    sys.meta_path.insert(0, _NoGis())


def client_options(
    uri: str, *, timeout_seconds: int, write_timeout_seconds: int, max_pool_size: int
) -> dict[str, Any]:
    """Return the options of a MongoClient that are to be added to those in its address.

    Written is what most members have on disk, so that no failover loses finished work. A write that
    a failover interrupts is sent once more, which MongoDB does only once.

    Raises:
        ImproperlyConfigured: an option in the address would lose work.
    """
    named = {name.lower(): value for name, value in parse_qsl(urlsplit(uri).query)}
    if named.get("w") == "0":
        refuse("MONGODB_URI has w=0, which loses writes without a word: take it out")
    if named.get("readpreference", "primary") != "primary":
        refuse(
            "MONGODB_URI has a readPreference: take it out, workers must read what they wrote "
            "(PRM_MONGODB_READ_PREFERENCE is for pages)"
        )
    options = {
        "appName": "prm_site",
        "w": "majority",
        "wTimeoutMS": write_timeout_seconds * MILLISECONDS,
        "retryWrites": True,
        "maxPoolSize": max_pool_size,
        "serverSelectionTimeoutMS": timeout_seconds * MILLISECONDS,
    }
    return {name: value for name, value in options.items() if name.lower() not in named}


def use_read_preference(preference: str) -> None:
    """Let connections that this process opens from now on read from such members."""
    connections.settings["default"]["OPTIONS"]["readPreference"] = preference
