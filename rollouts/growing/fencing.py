"""Fencing: keep a late writer from changing a tree that another worker has taken.

A lease cannot stop a write that is already on its way: its process may have been suspended, or its
connection stalled, for longer than the lease. So each claim starts a new generation of the tree.
The new holder first moves the nodes to its generation, then reads them. An update names the
generation of its node, and changes nothing if the node has a later one. An insert of an older
generation can still arrive: readers skip such nodes, and the holder overwrites them.

A tree's first generation is the database time in milliseconds, and each claim adds one. So fencing
also works against a writer whose forest was deleted and created again under the same name. A tree
without nodes already names the generation of its next claim as its oldest: nothing has to be moved.

Writes that arrive before the nodes are moved are part of the tree, like those of a killed worker.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from pymongo import UpdateOne

from forests.models import LEAF_COUNTERS, Forest, Node, Tree, TreeStatus
from forests.storage.scores import delete_scores_of_tree
from forests.storage.trees import (
    Document,
    collection,
    in_batches,
    insert_up_to_known,
    replace_late,
    server_time,
)
from rollouts.growing import leases


def take_over(generations: Mapping[str, int], holder: str) -> set[str]:
    """Move the nodes of claimed trees to the generation of the claim.

    Returns the trees that no later holder has taken over.
    """
    oldest_generations = _oldest_generations(generations)
    to_move = {
        tree: oldest
        for tree, oldest in oldest_generations.items()
        if oldest != generations[tree]  # else the tree was empty until this claim
    }
    # Trees that were seeded together have equal generations, so one update moves many of them.
    alike = defaultdict[tuple[int, int], list[str]](list)
    for tree, oldest in to_move.items():
        alike[oldest, generations[tree]].append(tree)
    for (oldest, generation), some in alike.items():
        for batch in in_batches(some):
            collection(Node).update_many(
                {"tree_id": {"$in": batch}, "generation": _before(generation, oldest)},
                {"$set": {"generation": generation}},
            )
            collection(Tree).update_many(
                {"_id": {"$in": batch}, "lease_holder": holder, "generation": generation},
                {"$set": {"oldest_generation": generation}},
            )
    moved = oldest_generations | _oldest_generations(to_move)
    return {tree for tree, generation in generations.items() if moved.get(tree) == generation}


def take_over_unfinished(forest: Forest) -> None:
    """Fence off all workers that claimed unfinished trees of a forest before this call."""
    holder = leases.new_holder()
    unfinished = {"forest_id": forest.name, "status": {"$in": leases.UNFINISHED}}
    trees = [tree["_id"] for tree in collection(Tree).find(unfinished, {"_id": 1})]
    for batch in in_batches(trees):
        take_over(leases.claim(batch, holder), holder)
        leases.release(batch, holder)


GROWS_AGAIN = {
    "status": str(TreeStatus.PENDING),
    "error": "",
    "hit_max_nodes": False,
    "completed_at": None,
    "lease_holder": "",
    "lease_expires_at": None,
}
"""Fields to set so that a tree grows again from the root."""


def forget_nodes(
    trees: Iterable[tuple[str, int]], fields: Mapping[str, Any], *, also_held: bool = False
) -> int:
    """Empty trees, delete their scores and set `fields` on them; return their number.

    Their nodes keep an older generation, so readers skip them. The recorded costs stay.

    Args:
        trees: ids, each with the generation that the tree must still have: another worker may have
            taken the tree.
        fields: further fields to set.
        also_held: whether to empty trees that a worker holds. The worker loses them at its next
            write.
    """
    free = {} if also_held else {"lease_expires_at": {"$not": {"$gt": server_time()}}}
    number = 0
    for tree, generation in trees:
        changes = {
            "generation": generation + 1,
            "oldest_generation": generation + 2,  # that of the next claim
            **dict.fromkeys(LEAF_COUNTERS, 0),
            "nodes_by_model": {},
            "root_value": None,
            "majority_value": None,
            "refined_steps": None,
            **fields,
        }
        # Older versions wrote no generation.
        ours = {"_id": tree, "generation": {"$in": [generation, generation or None]}}
        if collection(Tree).update_one({**ours, **free}, {"$set": changes}).modified_count:
            delete_scores_of_tree(tree)
            number += 1
    return number


def update_nodes(documents: Sequence[Document]) -> bool:
    """Overwrite stored nodes; return whether each still had the expected generation."""
    result = collection(Node).bulk_write(
        [
            UpdateOne(
                # Older versions wrote no generation; the next claim of the tree adds one.
                {"_id": one["_id"], "generation": {"$in": [one["generation"], None]}},
                {"$set": {name: value for name, value in one.items() if name != "_id"}},
            )
            for one in documents
        ],
        ordered=True,
    )
    return result.matched_count == len(documents)


def insert_nodes(documents: Sequence[Document]) -> set[str]:
    """Insert nodes in order, and return the trees into which later holders have written.

    Nothing more is inserted into such a tree. A late node of an earlier holder is overwritten. If
    the driver repeats a write because its answer got lost, the stored nodes are equal, which is not
    a conflict.
    """
    lost: set[str] = set()
    rest = list(documents)
    while rest:
        number = insert_up_to_known(Node, rest)
        if number < len(rest) and not _is_stored(rest[number]) and not replace_late(rest[number]):
            lost.add(rest[number]["tree_id"])
        rest = [one for one in rest[number + 1 :] if one["tree_id"] not in lost]
    return lost


def _before(generation: int, oldest: int) -> dict[str, Any]:
    """Return the filter for generations of nodes that belong to a tree before this claim."""
    if oldest:
        return {"$gte": oldest, "$lt": generation}
    return {"$not": {"$gte": generation}}  # older versions wrote none


def _oldest_generations(trees: Collection[str]) -> dict[str, int]:
    if not trees:
        return {}
    found = collection(Tree).find({"_id": {"$in": list(trees)}}, {"oldest_generation": 1})
    return {tree["_id"]: tree.get("oldest_generation") or 0 for tree in found}


def _is_stored(document: Document) -> bool:
    """Return whether the database has exactly this document."""
    noted_at = document["created_at"]
    milliseconds = noted_at.microsecond // 1000  # the resolution of BSON
    stored_at = noted_at.replace(microsecond=milliseconds * 1000, tzinfo=None)
    found = collection(Node).find_one({"_id": document["_id"]})
    return found == document | {"created_at": stored_at}
