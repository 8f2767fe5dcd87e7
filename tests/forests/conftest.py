"""Fixtures of the tests of pages."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pymongo.collection import Collection

from forests.models import Forest
from tests.forests.factories import add_trees, duck_tree, make_forest


@pytest.fixture
def reader(client: Client) -> Client:
    client.force_login(User.objects.create_user("reader"))
    return client


@pytest.fixture
def forest() -> Forest:
    return add_trees(make_forest(), [duck_tree()])


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """The collections that were read, in order, through the ORM or directly."""
    names: list[str] = []

    def noting(method: Callable[..., Any]) -> Callable[..., Any]:
        def read(self: Collection[Any], *args: Any, **kwargs: Any) -> Any:
            names.append(self.name)
            return method(self, *args, **kwargs)

        return read

    # `find_one` goes through `find`.
    for name in ("find", "aggregate", "count_documents"):
        monkeypatch.setattr(Collection, name, noting(getattr(Collection, name)))
    return names
