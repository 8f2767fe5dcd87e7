"""Whether every side of a set's pairs ends its solution, which many trainers assume."""

from datetime import UTC, datetime

import pytest

from forests.core.naming import MAX_DEPTH, node_id, tree_id
from forests.core.tree import TreeNode
from forests.models import Forest, Node
from forests.storage.trees import collection, node_document
from preferences.core.pairing import Pair, Side
from preferences.models import Preference, PreferenceSet
from preferences.sets import storage
from preferences.sets.storage import has_open_ends, preference_document

pytestmark = pytest.mark.django_db

NUM_PAIRS = 3
PARENT = (7,)
LARGEST_QUERY = 16 << 20


def add_pairs(forest: Forest, preference_set: PreferenceSet) -> None:
    """Give the first tree pairs, and each of their sides the end of a solution."""
    tree, now = tree_id(forest.name, 0), datetime.now(UTC)
    sides = [Side((*PARENT, number), "5", 1.0, 1) for number in range(2 * NUM_PAIRS)]
    pairs = [
        Pair(PARENT, "", one, other) for one, other in zip(sides[::2], sides[1::2], strict=True)
    ]
    ends = [TreeNode(side.path, text="5", terminal=True) for side in sides]
    collection(Preference).insert_many(
        preference_document(preference_set, tree, 0, 1000 + number, pair)
        for number, pair in enumerate(pairs)
    )
    collection(Node).insert_many(node_document(forest.name, tree, end, now) for end in ends)


@pytest.mark.parametrize("goes_on", [0, 2 * NUM_PAIRS - 1], ids=["first", "last"])
def test_one_side_that_goes_on_is_found_in_whichever_query_it_is(
    forest: Forest, preference_set: PreferenceSet, monkeypatch: pytest.MonkeyPatch, goes_on: int
):
    collection(Preference).delete_many({})
    add_pairs(forest, preference_set)
    monkeypatch.setattr(storage, "SIDES_PER_QUERY", 4)
    assert not has_open_ends(preference_set)

    side = node_id(tree_id(forest.name, 0), (*PARENT, goes_on))
    collection(Node).update_one({"_id": side}, {"$set": {"terminal": False}})

    assert has_open_ends(preference_set)


def test_a_query_for_the_deepest_sides_is_below_what_a_database_takes():
    longest = node_id(tree_id("f" * 100, 99_999), (9999,) * MAX_DEPTH)
    assert storage.SIDES_PER_QUERY * (len(longest) + 20) < LARGEST_QUERY
