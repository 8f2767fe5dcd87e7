"""A forest's counters: sums over its trees, and rebuilding them from stored nodes."""

from collections import Counter
from datetime import UTC, datetime

from pymongo import UpdateOne

from forests.core.counting import count_tree, mend_counts
from forests.core.estimators import require_own_estimator
from forests.core.model_counts import as_fields, count_models, from_fields
from forests.core.naming import node_id
from forests.core.tree import ReasoningTree
from forests.core.values import Estimator, root_value
from forests.core.voting import majority_value
from forests.models import COUNTERS, Forest, Node, Tree, TreeStatus
from forests.storage.trees import Document, StoredTree, collection, delete_orphans, iter_trees

_TREES_PER_WRITE = 200


def counted(tree: ReasoningTree, estimator: Estimator) -> Document:
    """Return the part of a tree's document that follows from its nodes."""
    return {
        **count_tree(tree),
        "nodes_by_model": as_fields(count_models(tree)),
        "root_value": root_value(tree, estimator),
        "majority_value": majority_value(tree),
    }


def recount_forest(forest: Forest) -> dict[str, tuple[object, object]]:
    """Rebuild the counters of all trees and of the forest; return the forest's wrong ones.

    Returns the counter before and after, by name. Deletes nodes that are not part of their trees.

    In earlier versions, a worker that was away for long could leave steps of `sampled` forests with
    counts that do not add up. These steps are repaired too, and returned as
    `steps_that_did_not_add_up`.

    Run it while no worker grows the forest: new samples would be counted twice or not at all.

    Raises:
        EstimatorError: the package of the forest's strategy is not installed.
    """
    require_own_estimator(forest.strategy)
    updates, num_mended = [], 0
    for stored in iter_trees(forest):
        delete_orphans(stored)
        is_sampled = forest.strategy == "sampled" and stored.refined_steps is None
        if is_sampled and stored.status == TreeStatus.COMPLETE:
            num_mended += _mend(stored)
        counters = counted(stored.tree, forest.estimator)
        updates.append(UpdateOne({"_id": stored.id}, {"$set": counters}))
        if len(updates) == _TREES_PER_WRITE:
            collection(Tree).bulk_write(updates)
            updates = []
    if updates:
        collection(Tree).bulk_write(updates)
    after = sum_of_trees(forest)
    write_sums(forest, after)
    before: Document = {name: getattr(forest, name) for name in after}
    for sums in (before, after):
        sums["nodes_by_model"] = from_fields(sums["nodes_by_model"])
    differences: dict[str, tuple[object, object]] = {
        name: (before[name], value) for name, value in after.items() if before[name] != value
    }
    if num_mended:
        differences["steps_that_did_not_add_up"] = (num_mended, 0)
    return differences


def _mend(stored: StoredTree) -> int:
    """Repair the counts of a tree's steps; return how many were wrong."""
    updates = [
        UpdateOne(
            {"_id": node_id(stored.id, node.path)},
            {"$set": {"count": node.count, "drawn": {"0": node.count}}},
        )
        for node in mend_counts(stored.tree)
    ]
    if updates:
        collection(Node).bulk_write(updates)
    return len(updates)


def write_sums(forest: Forest, sums: Document) -> None:
    """Set a forest's counters, and the time when its growth finished, if it has."""
    is_finished = 0 < forest.num_trees == sums["num_complete"] + sums["num_failed"]
    finished_at = (forest.growth_finished_at or datetime.now(UTC)) if is_finished else None
    collection(Forest).update_one(
        {"_id": forest.name}, {"$set": {**sums, "growth_finished_at": finished_at}}
    )


def sum_of_trees(forest: Forest) -> Document:
    """Return the forest's counters from its tree documents, in one pass."""
    sums: Counter[str] = Counter(dict.fromkeys(COUNTERS, 0))
    failures: Counter[str] = Counter()
    models: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    num_hit_max_nodes = 0
    fields = dict.fromkeys((*COUNTERS, "failures", "nodes_by_model", "status", "hit_max_nodes"), 1)
    for document in collection(Tree).find({"forest_id": forest.name}, fields):
        # Documents of older versions have fewer counters.
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
