from datetime import UTC, datetime
from typing import Any

import pytest

from forests.core.tree import Grade, ReasoningTree, TreeNode
from forests.models import Forest, Node, Tree
from forests.storage.trees import (
    collection,
    delete_forest,
    ids_below,
    insert_new,
    iter_trees,
    node_document,
    read_tree,
)
from preferences.models import Preference
from tests.rollouts.forests import seeded

pytestmark = pytest.mark.django_db(transaction=True)

NODE = TreeNode(
    (0,), "é\n", count=2, terminal=True, answer="4", grade=Grade.CORRECT, tokens=3, logprob=-0.5,
    finish_reason="stop", model="m", seed=7,
)  # fmt: skip


def write(tree: str, *nodes: TreeNode) -> int:
    forest = tree.partition("/")[0]
    generation = Tree.objects.get(pk=tree).oldest_generation
    now = datetime.now(UTC)
    documents = [node_document(forest, tree, node, now, generation) for node in nodes]
    return insert_new(Node, documents)


def test_a_node_is_read_as_it_was_written():
    forest = seeded(1)
    write(f"{forest.name}/0000000", NODE)

    stored = read_tree(forest, 0)

    assert stored is not None
    assert stored.tree.nodes == ReasoningTree.from_nodes([TreeNode(()), NODE]).nodes


def test_the_orm_reads_what_the_store_wrote():
    forest = seeded(1)
    write(f"{forest.name}/0000000", NODE)

    node = Node.objects.get()

    assert (node.text, node.count, node.grade, node.path) == ("é\n", 2, "correct", (0,))
    assert node.parent_id == f"{forest.name}/0000000/0"
    assert node.get_absolute_url().endswith("/trees/0/?open=0.0#node-0-0")


def test_documents_that_are_there_already_stay_and_the_others_come():
    forest = seeded(1)
    tree = f"{forest.name}/0000000"
    write(tree, NODE)

    assert write(tree, TreeNode((0,), "other"), TreeNode((1,), "new")) == 1
    assert sorted(Node.objects.values_list("text", flat=True)) == ["new", "é\n"]


def test_trees_come_in_the_order_of_the_dataset():
    forest = seeded(40)

    assert [stored.index for stored in iter_trees(forest)] == list(range(40))
    assert [stored.index for stored in iter_trees(forest, [7, 3])] == [7, 3]


def test_a_missing_tree_is_none():
    assert read_tree(seeded(1), 5) is None


def test_deleting_a_forest_leaves_the_others():
    gone, kept = seeded(3, "gone"), seeded(2, "kept")
    for forest in (gone, kept):
        write(f"{forest.name}/0000001", NODE)

    assert delete_forest(gone) == {"nodes": 1, "trees": 3, "forests": 1}

    assert list(Forest.objects.values_list("name", flat=True)) == [kept.name]
    assert (Tree.objects.count(), Node.objects.count()) == (2, 1)


@pytest.mark.parametrize(
    ("model", "query"),
    [
        (Node, {"tree_id": "f/0000001"}),
        (Node, {"tree_id": ids_below("f")}),
        (Preference, {"tree_key": ids_below("f/mine")}),
        (Tree, {"forest_id": "f"}),
        (Tree, {"forest_id": "f", "status": "growing"}),
        (
            Tree,
            {"status": "growing", "lease_expires_at": {"$gt": datetime(2026, 11, 1, tzinfo=UTC)}},
        ),
    ],
)
def test_hot_reads_use_an_index(model: type[Node | Tree | Preference], query: dict[str, Any]):
    seeded(1)

    plan = collection(model).find(query).explain()["queryPlanner"]["winningPlan"]

    assert "IXSCAN" in str(plan)
