"""Options for MongoDB that the site and its workers add to those of its address."""

import sys
from importlib.abc import MetaPathFinder
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from prm_site.configuration.environment import refuse

MILLISECONDS = 1000
PAGE_READ_PREFERENCES = ("primary", "primaryPreferred")
"""Not secondaries: they lag, so pages would miss logins and reviews made a moment ago."""


class _NoGis(MetaPathFinder):
    """Makes the import of django.contrib.gis fail at once, as if GDAL were missing.

    The database engine would search for GDAL four times, with a dozen programs each. That costs
    half a second for each command, and forests have no geographic data.
    """

    def find_spec(self, name: str, *_: object) -> None:
        if name == "django.contrib.gis":
            raise ImproperlyConfigured("this project does without django.contrib.gis")


def leave_out_gis() -> None:
    """Disable GIS in the database engine. Call it before the engine is imported."""
    sys.meta_path.insert(0, _NoGis())


def client_options(
    uri: str, *, timeout_seconds: int, write_timeout_seconds: int, max_pool_size: int
) -> dict[str, Any]:
    """Return options of a MongoClient, without those that its address sets.

    A write counts once most members have it on disk, so that a failover loses no finished work. If
    a failover interrupts a write, the driver repeats it, and MongoDB applies it only once.

    Raises:
        ImproperlyConfigured: an option in the address would lose work.
    """
    named = {name.lower(): value for name, value in parse_qsl(urlsplit(uri).query)}
    if named.get("w") == "0":
        refuse("MONGODB_URI has w=0, which loses writes silently: remove it")
    if named.get("readpreference", "primary") != "primary":
        refuse(
            "MONGODB_URI has a readPreference: remove it, because workers must read what they "
            "wrote (PRM_MONGODB_READ_PREFERENCE is for pages)"
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
    """Set the read preference of connections that this process opens from now on."""
    connections.settings["default"]["OPTIONS"]["readPreference"] = preference
