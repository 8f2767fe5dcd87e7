"""Write a simulated forest of any size directly into the database. Django must be set up."""

import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from experiment_configs.interfaces import RolloutWorkerConfig
from forests.core.counting import count_tree
from forests.core.model_counts import as_fields, count_models
from forests.core.naming import tree_id
from forests.core.tree import ROOT, Grade, NodePath, ReasoningTree, TreeNode
from forests.core.values import root_value
from forests.models import COUNTERS, SPENT_COUNTERS, Forest, Node, Tree, TreeStatus
from forests.storage.trees import Document, collection, node_document, tree_document

BRANCHING = (4, 2, 2, 1, 1)
NODES_PER_TREE = 4 + 8 + 16 + 16 + 16
NODES_PER_INSERT = 3000


def load_forest(name: str, num_nodes: int) -> Forest:
    """Insert a finished forest with about `num_nodes` nodes, in trees of `NODES_PER_TREE`."""
    num_trees = max(1, num_nodes // NODES_PER_TREE)
    trees = (simulated_tree(random.Random(index)) for index in range(num_trees))
    return add_trees(empty_forest(name), trees)


def empty_forest(name: str) -> Forest:
    config, split, _ = name.split("-", 2)
    now = datetime.now(UTC)
    return Forest.objects.create(
        name=name,
        config_name=config,
        dataset_split=split,
        config_source="",
        config_sha256="",
        worker_config=RolloutWorkerConfig().as_dict(),
        is_seeded=True,
        created_at=now,
        growth_started_at=now,
        growth_finished_at=now,
    )


def add_trees(forest: Forest, shapes: Iterable[ReasoningTree]) -> Forest:
    """Append complete trees to a forest; return the updated forest."""
    now = datetime.now(UTC)
    sums = dict.fromkeys((*COUNTERS, "num_trees", "num_complete"), 0)
    trees: list[Document] = []
    nodes: list[Document] = []
    for index, tree in enumerate(shapes, start=forest.num_trees):
        counters = {**count_tree(tree), **dict.fromkeys(SPENT_COUNTERS, len(tree))}
        for key, number in {**counters, "num_trees": 1, "num_complete": 1}.items():
            sums[key] += number
        id_ = tree_id(forest.name, index)
        trees.append(_tree_document(forest, index, tree, counters, now))
        nodes += [node_document(forest.name, id_, node, now) for node in tree if node.path]
        if len(nodes) >= NODES_PER_INSERT:
            _insert(trees, nodes)
    _insert(trees, nodes)
    collection(Forest).update_one({"_id": forest.name}, {"$inc": sums})
    return Forest.objects.get(pk=forest.name)


def simulated_tree(numbers: random.Random, branching: tuple[int, ...] = BRANCHING) -> ReasoningTree:
    """Return a tree with about half of its leaves correct."""
    return ReasoningTree.from_nodes([TreeNode(ROOT), *_below(ROOT, numbers, branching)])


def _below(
    path: NodePath, numbers: random.Random, branching: tuple[int, ...]
) -> Iterator[TreeNode]:
    for position in range(branching[len(path)]):
        child = (*path, position)
        is_leaf = len(child) == len(branching)
        is_right = numbers.random() < 0.5
        yield TreeNode(
            child,
            text=f"Step {len(child)}: we add {numbers.randint(1, 99)} and go on as before.\n",
            terminal=is_leaf,
            answer=("18" if is_right else "19") if is_leaf else None,
            grade=(Grade.CORRECT if is_right else Grade.INCORRECT) if is_leaf else None,
            tokens=16,
            logprob=-numbers.random() * 16,
            model="simulated",
        )
        if not is_leaf:
            yield from _below(child, numbers, branching)


def _tree_document(
    forest: Forest, index: int, tree: ReasoningTree, counters: dict[str, int], now: datetime
) -> Document:
    pending = tree_document(
        forest.name,
        index,
        item=f"Item {index}",
        label="18",
        prompt=f"Question {index}: how much is it?\nAnswer:",
        now=now,
    )
    return {
        **pending,
        **counters,
        "status": str(TreeStatus.COMPLETE),
        "root_value": root_value(tree, forest.estimator),
        "nodes_by_model": as_fields(count_models(tree)),
        "completed_at": now,
    }


def _insert(trees: list[Document], nodes: list[Document]) -> None:
    if trees:
        collection(Tree).insert_many(trees, ordered=False)
        collection(Node).insert_many(nodes, ordered=False)
    trees.clear()
    nodes.clear()
