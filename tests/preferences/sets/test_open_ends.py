"""Whether every side of a set's pairs ends its solution, which many trainers assume."""

from datetime import UTC, datetime

import pytest

from forests.core.naming import MAX_DEPTH, node_id, tree_id
from forests.core.tree import TreeNode
from forests.models import Forest, Node
from forests.storage.trees import collection, node_document
from preferences.core.pairing import Pair, Side
from preferences.models import Preference, PreferenceSet
from preferences.sets.storage import has_open_ends, preference_document

pytestmark = pytest.mark.django_db

NUM_PAIRS = 900
DEEP = (9999,) * MAX_DEPTH
"""Ids below this node are 10 kB long, so 1,800 of them are more than one query may hold."""


def add_deep_pairs(forest: Forest, preference_set: PreferenceSet) -> None:
    """Give the first tree many pairs whose sides are deep, and each the end of a solution."""
    tree, now = tree_id(forest.name, 0), datetime.now(UTC)
    sides = [Side((*DEEP, number), "5", 1.0, 1) for number in range(2 * NUM_PAIRS)]
    pairs = [Pair(DEEP, "", one, other) for one, other in zip(sides[::2], sides[1::2], strict=True)]
    ends = [TreeNode(side.path, text="5", terminal=True) for side in sides]
    collection(Preference).insert_many(
        preference_document(preference_set, tree, 0, 1000 + number, pair)
        for number, pair in enumerate(pairs)
    )
    collection(Node).insert_many(node_document(forest.name, tree, end, now) for end in ends)


def test_one_side_that_goes_on_is_found_among_any_number_of_deep_ones(
    forest: Forest, preference_set: PreferenceSet
):
    collection(Preference).delete_many({})
    add_deep_pairs(forest, preference_set)
    assert not has_open_ends(preference_set)

    last = node_id(tree_id(forest.name, 0), (*DEEP, 2 * NUM_PAIRS - 1))
    collection(Node).update_one({"_id": last}, {"$set": {"terminal": False}})

    assert has_open_ends(preference_set)
