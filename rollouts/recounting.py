"""Rebuild counters from what is stored."""

from pymongo import UpdateOne

from forests.core.counting import count_tree
from forests.core.model_counts import as_fields, count_models, from_fields
from forests.core.values import root_value
from forests.models import Forest, Tree
from forests.store import Document, collection, iter_trees
from rollouts.recording import sum_of_trees, write_sums

_TREES_PER_WRITE = 200


def recount_forest(forest: Forest) -> dict[str, tuple[object, object]]:
    """Set the counters of all trees and of the forest; return what was wrong in the forest's.

    Run it while no worker grows the forest: what they add meanwhile is counted twice or not at all.
    """
    updates = []
    for stored in iter_trees(forest):
        counted = {
            **count_tree(stored.tree),
            "nodes_by_model": as_fields(count_models(stored.tree)),
            "root_value": root_value(stored.tree, forest.estimator),
        }
        updates.append(UpdateOne({"_id": stored.id}, {"$set": counted}))
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
    return {name: (before[name], value) for name, value in after.items() if before[name] != value}
