"""Fast reads and writes of preferences: by indexed keys, in small batches."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from pymongo import UpdateOne

from forests.core.naming import node_id, path_of_node
from forests.models import Forest, Node
from forests.storage.trees import (
    IN_ONE_ANSWER,
    TREES_PER_READ,
    Document,
    collection,
    ids_below,
    in_batches,
    insert_new,
    short_queries,
)
from preferences.core.pairing import Pair, Side
from preferences.models import PAIRS_PER_PAGE, Preference, PreferenceSet, page_key, tree_key

SIDES_PER_QUERY = 1000
"""A query must be below 16 MB, and the id of a deep node has several thousand characters."""


class SetTakenError(Exception):
    """Another command is changing the set, or has deleted it."""


def sets_of(forest: Forest) -> list[PreferenceSet]:
    """Return the sets of this forest, latest first, not those of an earlier forest of its name."""
    found = PreferenceSet.objects.filter(forest_id=forest.name)
    mine = [one for one in found if one.forest_created_at == forest.created_at]
    return sorted(mine, key=lambda one: one.created_at, reverse=True)


def preference_document(
    preference_set: PreferenceSet, tree: str, index: int, number: int, pair: Pair
) -> Document:
    """Return the document of a pair with this number in its tree; its page is not set yet."""
    key = tree_key(preference_set.id, index)
    return {
        "_id": f"{key}/{number}",
        "preference_set_id": preference_set.id,
        "forest_id": preference_set.forest_id,
        "tree_index": index,
        "tree_key": key,
        "prefix_id": node_id(tree, pair.prefix),
        "chosen_id": node_id(tree, pair.chosen.path),
        "rejected_id": node_id(tree, pair.rejected.path),
        "prefix": pair.prefix_text,
        "chosen": pair.chosen.text,
        "rejected": pair.rejected.text,
        "chosen_value": pair.chosen.value,
        "rejected_value": pair.rejected.value,
        "chosen_leaves": pair.chosen.leaves,
        "rejected_leaves": pair.rejected.leaves,
        "margin": pair.margin,
        "confidence": pair.confidence,
        "depth": len(pair.prefix),
        "created_at": preference_set.created_at,
    }


def pair_of_document(document: Document) -> Pair:
    """Return the pair in a document of `Preference`."""
    chosen = Side(
        path_of_node(document["chosen_id"]),
        document["chosen"],
        document["chosen_value"],
        document["chosen_leaves"],
    )
    rejected = Side(
        path_of_node(document["rejected_id"]),
        document["rejected"],
        document["rejected_value"],
        document["rejected_leaves"],
    )
    return Pair(
        path_of_node(document["prefix_id"]),
        document["prefix"],
        chosen,
        rejected,
        document.get("confidence"),  # older pairs have none
    )


def has_open_ends(preference_set: PreferenceSet) -> bool:
    """Return whether a side of some pair is not where the model ended its solution."""
    forest = preference_set.forest
    for indexes in in_batches(range(forest.num_trees)):
        keys = [tree_key(preference_set.id, index) for index in indexes]
        found = collection(Preference).find(
            {"tree_key": {"$in": keys}}, {"chosen_id": 1, "rejected_id": 1, "_id": 0}
        )
        sides = sorted({one for document in found for one in document.values()})
        for start in range(0, len(sides), SIDES_PER_QUERY):
            ids = sides[start : start + SIDES_PER_QUERY]
            ended = {"_id": {"$in": ids}, "terminal": True}
            if collection(Node).count_documents(ended) < len(ids):
                return True
    return False


def insert_preferences(
    preference_set: PreferenceSet, documents: Sequence[Document]
) -> tuple[int, int]:
    """Insert the missing pairs, each in the next free place on the pages.

    Returns:
        The number of inserted pairs, and the number that another command inserted meanwhile.
    """
    fresh = _missing(preference_set, documents)
    for number, document in enumerate(fresh, start=preference_set.num_pairs):
        document["page_key"] = page_key(preference_set.id, number // PAIRS_PER_PAGE)
    inserted = insert_new(Preference, fresh)
    return inserted, len(fresh) - inserted


def count_pairs(preference_set: PreferenceSet) -> int:
    """Return the number of a set's pairs in the database, and repair their places on the pages.

    If two commands created the set at the same time, they may have used a place twice, or left
    pairs of a set that one of them replaced.

    Raises:
        SetTakenError: another command has claimed the set, so these pairs may be those of a later
            set.
    """
    query = {"tree_key": ids_below(preference_set.id)}
    _delete_strangers(preference_set, query)
    found = collection(Preference).find(query, {"page_key": 1, "_id": 0})
    on_page = Counter(one["page_key"] for one in found)
    number = on_page.total()
    first_places = range(0, number, PAIRS_PER_PAGE)
    if on_page != {
        page_key(preference_set.id, page): min(PAIRS_PER_PAGE, number - first)
        for page, first in enumerate(first_places)
    }:
        _place_in_order(preference_set)
    return number


def _place_in_order(preference_set: PreferenceSet) -> None:
    """Renumber the places of all pairs, in the order of trees and of the pairs in them."""
    query = {"tree_key": ids_below(preference_set.id)}
    found = collection(Preference).find(query, {"tree_index": 1, "page_key": 1})
    pairs = sorted(
        (one["tree_index"], int(one["_id"].rpartition("/")[2]), one["_id"], one["page_key"])
        for one in found
    )
    changes = [
        UpdateOne({"_id": id_}, {"$set": {"page_key": key}})
        for place, (_, _, id_, key_before) in enumerate(pairs)
        if (key := page_key(preference_set.id, place // PAIRS_PER_PAGE)) != key_before
    ]
    if changes:
        collection(Preference).bulk_write(changes, ordered=False)


def claim_set(preference_set: PreferenceSet, writer: str) -> None:
    """Claim a set for a command. An earlier claimant can then no longer change the set.

    Raises:
        SetTakenError: the set was deleted or replaced meanwhile.
    """
    is_same = {"_id": preference_set.id, "created_at": preference_set.created_at}
    claim = {"$set": {"writer": writer}}
    if not collection(PreferenceSet).update_one(is_same, claim).matched_count:
        raise SetTakenError
    preference_set.writer = writer


def update_set(preference_set: PreferenceSet, **changes: Any) -> None:
    """Change fields of a set in the database, with one write, and in memory.

    Raises:
        SetTakenError: another command has claimed, deleted or replaced the set; nothing changed.
    """
    change = {"$set": changes}
    if not collection(PreferenceSet).update_one(_claimed(preference_set), change).matched_count:
        raise SetTakenError
    for name, value in changes.items():
        setattr(preference_set, name, value)


def delete_late(preference_set: PreferenceSet, documents: Sequence[Document]) -> None:
    """Delete the pairs that a writer inserted after its set was deleted or replaced."""
    ids = [document["_id"] for document in documents]
    is_mine = {"_id": preference_set.id, "created_at": preference_set.created_at}
    if ids and not collection(PreferenceSet).count_documents(is_mine, limit=1):
        mine = {"_id": {"$in": ids}, "created_at": preference_set.created_at}
        collection(Preference).delete_many(mine)


def read_page(preference_set: PreferenceSet, page: int) -> list[Preference]:
    """Return the pairs of a page; the first page is 0."""
    found = Preference.objects.filter(page_key=page_key(preference_set.id, page))
    return sorted(found, key=lambda one: (one.tree_index, one.number))


def pairs_by_tree(
    preference_set: PreferenceSet, indexes: Sequence[int]
) -> dict[int, list[Document]]:
    """Return the documents of the pairs of a few trees, by tree and in order."""
    keys = [tree_key(preference_set.id, index) for index in indexes]
    found = defaultdict(list)
    usual = preference_set.num_pairs // max(1, preference_set.num_trees_with_pairs)
    for some in short_queries(dict.fromkeys(keys, usual)):
        pairs = collection(Preference).find({"tree_key": {"$in": some}}, batch_size=IN_ONE_ANSWER)
        for document in pairs:
            found[document["tree_index"]].append(document)
    for documents in found.values():
        documents.sort(key=lambda one: int(one["_id"].rpartition("/")[2]))
    return dict(found)


def delete_set(preference_set: PreferenceSet) -> int:
    """Delete a set and its pairs, the set last; return the number of deleted pairs."""
    pairs = collection(Preference)
    found = pairs.find({"tree_key": ids_below(preference_set.id)}, {"tree_key": 1, "_id": 0})
    keys = sorted({one["tree_key"] for one in found})
    gone = 0
    for some in in_batches(keys):
        gone += pairs.delete_many({"tree_key": {"$in": some}}).deleted_count
    collection(PreferenceSet).delete_one({"_id": preference_set.id})
    return gone


def _missing(preference_set: PreferenceSet, documents: Sequence[Document]) -> list[Document]:
    """Return the documents that are not in the database."""
    keys = list({document["tree_key"] for document in documents})
    there: set[str] = set()
    for start in range(0, len(keys), TREES_PER_READ):
        query = {"tree_key": {"$in": keys[start : start + TREES_PER_READ]}}
        _delete_strangers(preference_set, query)
        there.update(found["_id"] for found in collection(Preference).find(query, {"_id": 1}))
    return [document for document in documents if document["_id"] not in there]


def _delete_strangers(preference_set: PreferenceSet, query: Mapping[str, Any]) -> None:
    """Delete pairs that the writer of an earlier set of this name inserted too late.

    Raises:
        SetTakenError: another command has claimed the set, so the pairs may be of a later set.
    """
    is_other = {**query, "created_at": {"$ne": preference_set.created_at}}
    found = defaultdict(list)
    for document in collection(Preference).find(is_other, {"created_at": 1}):
        found[document["created_at"]].append(document["_id"])
    # These pairs were found before this check, so no command that claims the set later wrote them.
    if found and not collection(PreferenceSet).count_documents(_claimed(preference_set), limit=1):
        raise SetTakenError
    for created_at, ids in found.items():
        gone = {"_id": {"$in": ids}, "created_at": created_at}
        collection(Preference).delete_many(gone)


def _claimed(preference_set: PreferenceSet) -> dict[str, Any]:
    """Return a query that finds a set unless another command has claimed it."""
    return {"_id": preference_set.id, "writer": preference_set.writer}
