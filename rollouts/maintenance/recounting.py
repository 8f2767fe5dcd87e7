"""Rebuild counters from what is stored."""

from pymongo import UpdateOne

from forests.core.counting import mend_counts
from forests.core.model_counts import from_fields
from forests.core.naming import node_id
from forests.counters import counted, sum_of_trees, write_sums
from forests.models import Forest, Node, Tree, TreeStatus
from forests.storage.trees import Document, StoredTree, collection, delete_orphans, iter_trees

_TREES_PER_WRITE = 200


def recount_forest(forest: Forest) -> dict[str, tuple[object, object]]:
    """Set the counters of all trees and of the forest; return what was wrong in the forest's.

    In earlier versions a worker that was away for long could leave steps of `sampled` forests whose
    samples do not add up. They are mended too, and returned as `steps_that_did_not_add_up`.

    Run it while no worker grows the forest: what they add meanwhile is counted twice or not at all.
    """
    updates, num_mended = [], 0
    for stored in iter_trees(forest):
        delete_orphans(stored)
        if forest.strategy == "sampled" and stored.status == TreeStatus.COMPLETE:
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
    """Mend the counts of a tree's steps; return how many were wrong."""
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
