"""Put a simulated forest of any size straight into the database: needs Django to be set up."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime

from forests.core.counting import count_tree, root_value
from forests.core.naming import tree_id
from forests.core.tree import ROOT, Grade, NodePath, ReasoningTree, TreeNode
from forests.models import COUNTERS, SPENT_COUNTERS, Forest, Node, Tree, TreeStatus
from forests.store import Document, collection, node_document

BRANCHING = (4, 2, 2, 1, 1)
NODES_PER_TREE = 4 + 8 + 16 + 16 + 16
TREES_PER_INSERT = 50


def load_forest(name: str, num_nodes: int) -> Forest:
    """Insert a finished forest with about so many nodes, in trees of `NODES_PER_TREE`."""
    config, split, _ = name.split("-", 2)
    num_trees = max(1, num_nodes // NODES_PER_TREE)
    now = datetime.now(UTC)
    sums = dict.fromkeys(COUNTERS, 0)
    trees: list[Document] = []
    nodes: list[Document] = []
    for index in range(num_trees):
        tree = simulated_tree(random.Random(index))
        counters = {**count_tree(tree), **dict.fromkeys(SPENT_COUNTERS, NODES_PER_TREE)}
        sums = {key: sums[key] + counters[key] for key in COUNTERS}
        id_ = tree_id(name, index)
        trees.append(_tree_document(name, id_, index, counters, now))
        nodes += [node_document(name, id_, node, now) for node in tree if node.path]
        if len(trees) == TREES_PER_INSERT:
            _insert(trees, nodes)
    _insert(trees, nodes)
    forest = Forest(
        name=name,
        config_name=config,
        dataset_split=split,
        config_source="",
        config_sha256="",
        worker_config={},
        is_seeded=True,
        num_trees=num_trees,
        num_complete=num_trees,
        created_at=now,
        growth_started_at=now,
        growth_finished_at=now,
        **sums,
    )
    forest.save(force_insert=True)
    return forest


def simulated_tree(numbers: random.Random) -> ReasoningTree:
    """Return a tree of which about half the leaves are right."""
    return ReasoningTree.from_nodes([TreeNode(ROOT), *_below(ROOT, numbers)])


def _below(path: NodePath, numbers: random.Random) -> Iterator[TreeNode]:
    for position in range(BRANCHING[len(path)]):
        child = (*path, position)
        is_leaf = len(child) == len(BRANCHING)
        is_right = numbers.random() < 0.5
        yield TreeNode(
            child,
            text=f"Step {len(child)}: we add {numbers.randint(1, 99)} and go on as before.\n",
            terminal=is_leaf,
            answer=("18" if is_right else "19") if is_leaf else None,
            grade=(Grade.CORRECT if is_right else Grade.INCORRECT) if is_leaf else None,
            tokens=16,
            logprob=-numbers.random() * 16,
        )
        if not is_leaf:
            yield from _below(child, numbers)


def _tree_document(
    forest: str, id_: str, index: int, counters: dict[str, int], now: datetime
) -> Document:
    return {
        "_id": id_, "forest_id": forest, "index": index, "item": f"Item {index}", "label": "18",
        "prompt": f"Question {index}: how much is it?\nAnswer:", "status": str(TreeStatus.COMPLETE),
        "error": "", "lease_holder": "", "lease_expires_at": None, **counters, "failures": {},
        "root_value": root_value(counters["num_correct"], counters["num_leaves"]),
        "created_at": now, "completed_at": now,
    }  # fmt: skip


def _insert(trees: list[Document], nodes: list[Document]) -> None:
    if trees:
        collection(Tree).insert_many(trees, ordered=False)
        collection(Node).insert_many(nodes, ordered=False)
    trees.clear()
    nodes.clear()
