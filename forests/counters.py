"""What trees and forests keep of the numbers that follow from their nodes and trees."""

from collections import Counter
from datetime import UTC, datetime

from forests.core.counting import count_tree
from forests.core.model_counts import as_fields, count_models
from forests.core.tree import ReasoningTree
from forests.core.values import Estimator, root_value
from forests.models import COUNTERS, Forest, Tree, TreeStatus
from forests.storage.trees import Document, collection


def counted(tree: ReasoningTree, estimator: Estimator) -> Document:
    """Return what a tree's document holds of its nodes."""
    return {
        **count_tree(tree),
        "nodes_by_model": as_fields(count_models(tree)),
        "root_value": root_value(tree, estimator),
    }


def sum_of_trees(forest: Forest) -> Document:
    """Return the forest's counters as its tree documents give them, in one pass over these."""
    sums: Counter[str] = Counter(dict.fromkeys(COUNTERS, 0))
    failures: Counter[str] = Counter()
    models: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    num_hit_max_nodes = 0
    fields = dict.fromkeys((*COUNTERS, "failures", "nodes_by_model", "status", "hit_max_nodes"), 1)
    for document in collection(Tree).find({"forest_id": forest.name}, fields):
        # An older version had fewer counters.
        sums.update({name: document.get(name, 0) for name in COUNTERS})
        failures.update(document["failures"])
        models.update(document.get("nodes_by_model", {}))
        statuses[document["status"]] += 1
        num_hit_max_nodes += bool(document.get("hit_max_nodes"))
    return {
        **sums,
        "failures": dict(failures),
        "nodes_by_model": dict(models),
        "num_complete": statuses[TreeStatus.COMPLETE],
        "num_failed": statuses[TreeStatus.FAILED],
        "num_hit_max_nodes": num_hit_max_nodes,
    }


def write_sums(forest: Forest, sums: Document) -> None:
    """Set a forest's counters, and when its growth was finished, if it is."""
    is_finished = 0 < forest.num_trees == sums["num_complete"] + sums["num_failed"]
    finished_at = (forest.growth_finished_at or datetime.now(UTC)) if is_finished else None
    collection(Forest).update_one(
        {"_id": forest.name}, {"$set": {**sums, "growth_finished_at": finished_at}}
    )
