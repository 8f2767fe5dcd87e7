"""Logs a test's client in with one insert, where Django makes ten queries.

Tests of logging in itself send the form. `last_login` stays empty.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.conf import settings
from django.contrib import auth
from django.contrib.sessions.backends.base import VALID_KEY_CHARS
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
from django.test import Client
from django.utils.crypto import get_random_string

_KEY_LENGTH = 32


@contextmanager
def quick_logins() -> Iterator[None]:
    """Let `Client.force_login` work this way, unless the client has a session already."""
    slowly = Client._login  # type: ignore[attr-defined]

    def log_in(client: Client, user: Any, backend: str) -> None:
        if settings.SESSION_COOKIE_NAME in client.cookies:
            slowly(client, user, backend)
            return
        request = HttpRequest()
        session = request.session = SessionStore()
        session[auth.SESSION_KEY] = str(user.pk)
        session[auth.BACKEND_SESSION_KEY] = backend
        session[auth.HASH_SESSION_KEY] = user.get_session_auth_hash()
        session._session_key = get_random_string(_KEY_LENGTH, VALID_KEY_CHARS)
        session.save(must_create=True)
        client._set_login_cookies(request)  # type: ignore[attr-defined]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Client, "_login", log_in)
        yield
