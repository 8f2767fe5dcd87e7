"""Where the embedded MongoDB is not like mongod: see docs/embedded.md.

Each test says what mongod does, and is expected to fail. If one passes with a new version, the
suite fails: delete its row in the document, and perhaps the code that works around the difference.
"""

import os
from collections.abc import Iterator
from typing import Any, cast

import pytest
from django.db import connection
from django_mongodb_backend.base import DatabaseWrapper
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(
        bool(os.environ.get("TEST_MONGODB_URI")), reason="this is not the embedded server"
    ),
]
differs = pytest.mark.xfail(strict=True, raises=AssertionError)


@pytest.fixture
def nodes() -> Iterator[Collection[dict[str, Any]]]:
    """Documents with an index on the field `tree`."""
    found = cast("DatabaseWrapper", connection).database["differences"]
    found.create_index("tree")
    found.insert_many(
        [{"_id": f"{n:03d}", "tree": n % 10, "depth": n % 3, "a": {"b": n}} for n in range(200)]
    )
    yield found
    found.drop()


def stages_of(nodes: Collection[dict[str, Any]], query: dict[str, Any]) -> set[str]:
    """Return the stages of the plan for a query, such as COLLSCAN."""

    def stages(plan: dict[str, Any]) -> Iterator[str]:
        yield plan["stage"]
        if "inputStage" in plan:
            yield from stages(plan["inputStage"])

    return set(stages(nodes.find(query).explain()["queryPlanner"]["winningPlan"]))


def test_a_flat_filter_uses_the_index(nodes):
    assert "IXSCAN" in stages_of(nodes, {"tree": 7})


@differs
def test_a_nested_projection_takes_the_field(nodes):
    found = nodes.aggregate([{"$match": {"_id": "007"}}, {"$project": {"a": {"b": 1}}}])

    assert list(found) == [{"_id": "007", "a": {"b": 7}}]


@differs
@pytest.mark.parametrize(
    "query",
    [
        {"$and": [{"tree": 7}, {"depth": 1}]},
        {"$expr": {"$eq": ["$tree", 7]}},
        {"_id": {"$gte": "010", "$lt": "020"}},
    ],
    ids=["and", "expr", "range of ids"],
)
def test_every_form_of_a_filter_uses_an_index(nodes, query):
    assert "COLLSCAN" not in stages_of(nodes, query)


@differs
def test_a_single_server_refuses_transactions(nodes):
    error: OperationFailure | None = None
    with nodes.database.client.start_session() as session:
        session.start_transaction()
        try:
            nodes.insert_one({"_id": "new"}, session=session)
        except OperationFailure as refusal:
            error = refusal
        session.abort_transaction()

    assert error is not None
