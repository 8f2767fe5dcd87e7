"""Reads and writes of preferences that must be fast: keys that an index answers, small batches."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from forests.core.naming import node_id, path_of_node
from forests.models import Forest
from forests.store import TREES_PER_READ, Document, collection, in_batches, insert_new
from preferences.core.pairing import Pair, Side
from preferences.models import PAIRS_PER_PAGE, Preference, PreferenceSet, page_key, tree_key


def sets_of(forest: Forest) -> list[PreferenceSet]:
    """Return the sets of this forest, the latest first, without those of an earlier namesake."""
    found = PreferenceSet.objects.filter(forest_id=forest.name)
    mine = [one for one in found if one.forest_created_at == forest.created_at]
    return sorted(mine, key=lambda one: one.created_at, reverse=True)


def preference_document(
    preference_set: PreferenceSet, tree: str, index: int, number: int, pair: Pair
) -> Document:
    """Return the document of the pair that has this number in its tree; its page comes later."""
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
        "depth": len(pair.prefix),
        "created_at": preference_set.created_at,
    }


def pair_of_document(document: Document) -> Pair:
    """Return the pair that a document of `Preference` holds."""
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
    return Pair(path_of_node(document["prefix_id"]), document["prefix"], chosen, rejected)


def insert_preferences(
    preference_set: PreferenceSet, documents: Sequence[Document], *, may_exist: bool
) -> int:
    """Insert pairs, give each the next free place on the pages, and return how many were new."""
    fresh = _missing(documents) if may_exist else list(documents)
    for number, document in enumerate(fresh, start=preference_set.num_pairs):
        document["page_key"] = page_key(preference_set.id, number // PAIRS_PER_PAGE)
    return insert_new(Preference, fresh)


def count_pairs(preference_set: PreferenceSet) -> int:
    """Return how many pairs a set has, also where its writer was killed before it noted some."""
    pages = collection(Preference)
    page = preference_set.num_pairs // PAIRS_PER_PAGE
    while True:
        key = page_key(preference_set.id, page)
        on_page = pages.count_documents({"page_key": key})
        if on_page < PAIRS_PER_PAGE:
            return page * PAIRS_PER_PAGE + on_page
        page += 1


def update_set(preference_set: PreferenceSet, **changes: Any) -> None:
    """Change fields of a set, here and in the database, as one write."""
    for name, value in changes.items():
        setattr(preference_set, name, value)
    collection(PreferenceSet).update_one({"_id": preference_set.id}, {"$set": changes})


def read_page(preference_set: PreferenceSet, page: int) -> list[Preference]:
    """Return the pairs of a page; the first page is 0."""
    found = Preference.objects.filter(page_key=page_key(preference_set.id, page))
    return sorted(found, key=lambda one: (one.tree_index, one.number))


def pairs_by_tree(
    preference_set: PreferenceSet, indexes: Sequence[int]
) -> dict[int, list[Document]]:
    """Return the documents of the pairs of a few trees, each tree's in their order."""
    keys = [tree_key(preference_set.id, index) for index in indexes]
    found = defaultdict(list)
    for document in collection(Preference).find({"tree_key": {"$in": keys}}):
        found[document["tree_index"]].append(document)
    for documents in found.values():
        documents.sort(key=lambda one: int(one["_id"].rpartition("/")[2]))
    return dict(found)


def delete_set(preference_set: PreferenceSet, num_trees: int) -> int:
    """Delete a set with its pairs, the set last; return how many pairs went."""
    gone = 0
    for indexes in in_batches(range(num_trees)):
        keys = [tree_key(preference_set.id, index) for index in indexes]
        gone += collection(Preference).delete_many({"tree_key": {"$in": keys}}).deleted_count
    collection(PreferenceSet).delete_one({"_id": preference_set.id})
    return gone


def _missing(documents: Sequence[Document]) -> list[Document]:
    """Return those documents that the database does not have yet."""
    keys = list({document["tree_key"] for document in documents})
    there: set[str] = set()
    for start in range(0, len(keys), TREES_PER_READ):
        query = {"tree_key": {"$in": keys[start : start + TREES_PER_READ]}}
        there.update(found["_id"] for found in collection(Preference).find(query, {"_id": 1}))
    return [document for document in documents if document["_id"] not in there]
