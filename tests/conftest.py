"""Fixtures for every test."""

import gc
import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NoReturn

import django_rq
import hypothesis
import pytest
from django.conf import settings
from django.test import override_settings
from django_mongodb_backend.base import DatabaseWrapper
from rq.queue import Queue

from experiment_configs import loading
from tests.emptying import only_what_was_written
from tests.logins import quick_logins
from tests.openai_server import OpenAIServer

# Helpers that assert: a failure in them shows its values too.
pytest.register_assert_rewrite("tests.rollouts.forests", "tests.waiting")

# How long an example takes says nothing on a busy machine; speed is measured in benchmarks.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")
hypothesis.settings.register_profile("fuzz", deadline=None, max_examples=5000)

_OWN_CONFIGS = Path(loading.__file__).parent / "rollout"
_DATABASE_FIXTURES = {"db", "transactional_db", "django_db_setup", "live_server"}


def pytest_xdist_auto_num_workers() -> int:
    """Run half as many tests again as there are cores: many wait for processes and servers."""
    return len(os.sched_getaffinity(0)) * 3 // 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run files with slow tests first: then no process waits for the last test of another."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish() -> None:
    """Keep the garbage collector from reading all modules and tests again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _quick_tests() -> Iterator[None]:
    """Empty the database, log in, hash passwords and find the commit in milliseconds.

    Git is asked once about each of our own configs, which do not change while tests run.
    """
    ask_git = loading._git_version
    known = cache(ask_git)

    def version(path: Path, beside: Iterable[str]) -> tuple[str, str]:
        is_ours = path.parent == _OWN_CONFIGS
        return known(path, tuple(beside)) if is_ours else ask_git(path, beside)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "_git_version", version)
        with (
            only_what_was_written(),
            quick_logins(),
            override_settings(
                PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
                # Each client of a test would list all static files, longer than its pages take.
                WHITENOISE_AUTOREFRESH=True,
            ),
        ):
            yield


@pytest.fixture(autouse=True)
def _no_database_unless_asked(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refuse MongoDB to tests that do not ask for it.

    pytest-django blocks `ensure_connection`, which this backend does not go through, so an
    unmarked test would read and write the development database.
    """
    if request.node.get_closest_marker("django_db"):
        return
    if _DATABASE_FIXTURES & set(request.fixturenames):
        return

    def refuse(self: DatabaseWrapper, *args: object, **kwargs: object) -> NoReturn:
        pytest.fail("This test touches MongoDB. Mark it with @pytest.mark.django_db.")

    for name in ("connect", "get_collection", "get_database"):
        monkeypatch.setattr(DatabaseWrapper, name, refuse)


@pytest.fixture
def queue() -> Iterator[Queue]:
    """The rollout queue, empty before and after."""
    queue = django_rq.get_queue(settings.ROLLOUT_QUEUE)
    queue.connection.flushdb()
    yield queue
    queue.connection.flushdb()


@pytest.fixture
def model_server(settings) -> Iterator[OpenAIServer]:
    """A scripted model server that the site is set to use."""
    with OpenAIServer() as server:
        settings.OPENAI_BASE_URL = server.url
        yield server
