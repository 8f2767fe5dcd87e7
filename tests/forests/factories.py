"""Forests for tests, written as seeding and rollouts would have left them."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from experiment_configs.interfaces import RolloutWorkerConfig
from forests.core.counting import count_tree
from forests.core.model_counts import as_fields, count_models
from forests.core.naming import tree_id
from forests.core.tree import Grade, ReasoningTree, TreeNode, parse_path
from forests.core.values import root_value
from forests.core.voting import majority_value
from forests.models import Activity, Forest, Node, Tree, TreeStatus
from forests.storage.trees import Document, collection, insert_new, node_document

RIGHT, WRONG, NO_ANSWER = Grade.CORRECT, Grade.INCORRECT, Grade.UNANSWERED
UNCOMPARED = Grade.UNCOMPARED

QUESTION = (
    "Janet's ducks lay 16 eggs per day. She eats three for breakfast and bakes muffins with four. "
    "She sells the rest for $2 per egg. How much does she make every day?"
)
ITEM = (
    f"{QUESTION}\n\n**Solution**\n\nJanet sells 16 - 3 - 4 = <<16-3-4=9>>9 eggs.\n"
    "She makes 9 * 2 = $<<9*2=18>>18 every day.\n#### 18"
)


def leaf(path: str, text: str, grade: Grade | None, **fields: Any) -> TreeNode:
    """Return a node where the model finished its solution."""
    return step(path, text, terminal=True, grade=grade, finish_reason="stop", **fields)


def step(path: str, text: str, **fields: Any) -> TreeNode:
    return TreeNode(parse_path(path), text=text, tokens=max(1, len(text) // 4), **fields)


def tree_of(*nodes: TreeNode) -> ReasoningTree:
    return ReasoningTree.from_nodes([TreeNode(()), *nodes])


def duck_tree() -> ReasoningTree:
    """Return a tree with many kinds of nodes: graded, cut, repeated, with formulas."""
    return tree_of(
        step("0.0", "She uses $3 + 4 = 7$ eggs, so **9 eggs** are left.\n", count=3, logprob=-1.25),
        step("0.1", "She sells $16 - 3 = 13$ eggs a day.\n", logprob=-3.5),
        step("0.0.0", "\\[ 9 \\times \\$2 = \\$18 \\]\n", count=2),
        step("0.0.1", "At $2 per egg and 9 eggs, that is `9 * 2`.\n"),
        leaf("0.0.0.0", "#### 18", RIGHT, answer="18", count=2, logprob=-0.02),  # noqa: S104
        leaf("0.0.0.1", "The answer is $\\boxed{18}$.", RIGHT, answer="18"),
        leaf("0.0.1.0", "So she makes $\\frac{36}{2} = 18$ dollars.\n#### 18", RIGHT, answer="18"),
        leaf("0.0.1.1", "#### 19", WRONG, answer="19"),
        step("0.1.0", "13 * 2 = 26\n"),
        leaf("0.1.0.0", "#### 26", WRONG, answer="26", count=3),
        leaf("0.1.0.1", "I am not sure how to go on.", NO_ANSWER),
        leaf("0.1.1", "She keeps 4 more for muffins, " * 6, NO_ANSWER, truncated=True),
    )


def open_tree() -> ReasoningTree:
    """Return a tree that is still growing."""
    return tree_of(step("0.0", "First, count the eggs.\n"), step("0.1", "Let $x$ be the price.\n"))


def make_forest(name: str = "ducks-test-first", **fields: Any) -> Forest:
    """Insert a forest without trees."""
    config, split, _ = name.split("-", 2)
    values: dict[str, Any] = {
        "config_name": config,
        "config_source": "class Config(RolloutConfig):\n    source = 'ducks'\n",
        "config_sha256": "0123456789abcdef" * 4,
        "config_git_commit": "f" * 40,
        "config_git_branch": "main",
        "dataset_split": split,
        "dataset_source": "example/ducks",
        "worker_config": RolloutWorkerConfig(model="small-model").as_dict(),
        "is_seeded": True,
        "created_at": datetime.now(UTC),
    }
    return Forest.objects.create(name=name, **values | fields)


def add_trees(forest: Forest, trees: Sequence[ReasoningTree], **fields: Any) -> Forest:
    """Insert trees after those of the forest, add to its counters, and return it as stored."""
    _insert(forest, range(forest.num_trees, forest.num_trees + len(trees)), trees, fields)
    return Forest.objects.get(pk=forest.name)


def add_tree(forest: Forest, index: int, tree: ReasoningTree, **fields: Any) -> None:
    _insert(forest, [index], [tree], fields)


def _insert(
    forest: Forest, indexes: Sequence[int], trees: Sequence[ReasoningTree], fields: dict[str, Any]
) -> None:
    now, sums = datetime.now(UTC), Counter[str]()
    stored, nodes, kept = list[Tree](), list[Document](), dict[str, bytes]()
    for index, tree in zip(indexes, trees, strict=True):
        id_, counters, models = tree_id(forest.name, index), count_tree(tree), count_models(tree)
        values: dict[str, Any] = {
            "item": ITEM,
            "label": "18",
            "prompt": f"Question: {QUESTION}\nAnswer:",
            "status": TreeStatus.COMPLETE,
            "completion_tokens": sum(node.tokens for node in tree),
            "requests": len(tree),
            "nodes_by_model": as_fields(models),
            "root_value": root_value(tree, forest.estimator),
            "majority_value": majority_value(tree),
            "created_at": now,
        }
        new = Tree(id=id_, forest_id=forest.name, index=index, **values | counters | fields)
        stored.append(new)
        nodes += [node_document(forest.name, id_, node, now) for node in tree if node.path]
        if tree.root.kept:
            kept[id_] = tree.root.kept.pack()
        sums.update(counters)
        sums.update({f"nodes_by_model.{field}": n for field, n in as_fields(models).items()})
        sums.update({"num_trees": 1, "completion_tokens": new.completion_tokens})
        finished = {TreeStatus.COMPLETE: "num_complete", TreeStatus.FAILED: "num_failed"}
        if status := finished.get(TreeStatus(new.status)):
            sums[status] += 1
    Tree.objects.bulk_create(stored)
    # The field is missing where no tokens are kept.
    ids = {"$in": [tree.id for tree in stored]}
    collection(Tree).update_many({"_id": ids}, {"$unset": {"kept_tokens": ""}})
    for id_, packed in kept.items():
        collection(Tree).update_one({"_id": id_}, {"$set": {"kept_tokens": packed}})
    insert_new(Node, nodes)
    collection(Forest).update_one({"_id": forest.name}, {"$inc": sums})


def grow_tree(forest: Forest, index: int, *nodes: TreeNode, **fields: Any) -> None:
    """Add nodes to a tree, one request each, and set fields of it, as a worker does."""
    id_ = tree_id(forest.name, index)
    insert_new(Node, [node_document(forest.name, id_, node, datetime.now(UTC)) for node in nodes])
    counts = {"num_nodes": len(nodes), "requests": len(nodes)}
    collection(Tree).update_one({"_id": id_}, {"$inc": counts, "$set": {"error": "", **fields}})


def add_activity(forest: Forest, minute: datetime, **numbers: int) -> None:
    """Insert what workers did in a minute."""
    start = minute.replace(second=0, microsecond=0)
    id_ = f"{forest.name}/{start:%Y%m%d%H%M}"
    Activity(id=id_, forest_id=forest.name, minute=start, **numbers).save(force_insert=True)
