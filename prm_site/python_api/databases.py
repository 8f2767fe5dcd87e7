"""Set up Django if the program has not done so, and open a forest of the database."""

import os
from importlib import import_module
from typing import cast

import django
from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from common.storage_problems import NO_DATABASE
from forests.core.reading import ForestSource, ReadError


def open_in_database(name: str) -> ForestSource:
    """Return a forest of the database.

    Raises:
        ReadError: no forest has this name, no database is configured, or it does not answer.
    """
    try:
        if not apps.ready:
            _set_up()
        if not settings.MONGODB_URI:
            raise ReadError(f"{NO_DATABASE}; an archive is opened by its directory")
    except ImproperlyConfigured as error:
        raise ReadError(str(error)) from error
    # Models can be imported only after the set-up.
    source = import_module("forests.storage.database_source").DatabaseSource(name)
    return cast("ForestSource", source)


def _set_up() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "prm_site.settings")
    # A notebook runs its cells inside an event loop, where Django would refuse to read.
    os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    django.setup()
