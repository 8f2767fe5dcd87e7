"""Reviews of pairs. The id of a review names the nodes that the pair compares.

So a rebuilt set keeps the reviews of pairs that reappear. A pair with swapped sides is a different
pair. Reviews of pairs that do not reappear are kept, in the state absent.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pymongo.errors import DuplicateKeyError

from forests.core.naming import path_of_node
from forests.core.tree import format_path
from forests.storage.trees import TREES_PER_READ, Document, collection
from preferences.models import (
    Preference,
    PreferenceSet,
    Review,
    ReviewState,
    state_key,
    tree_key,
)
from preferences.sets.storage import pairs_by_tree, update_set

MAX_NOTE_LENGTH = 2000

_ABSENT = "absent"
_COUNTERS = {ReviewState.ACCEPTED: "num_accepted", ReviewState.REJECTED: "num_rejected"}


class ReviewConflictError(Exception):
    """Somebody reviewed the pair after the reviewer last saw it. Nothing was stored."""


def review_id(pair: Mapping[str, Any]) -> str:
    """Return the id of the review of a pair's document."""
    chosen, rejected = (
        format_path(path_of_node(pair[f"{side}_id"])) for side in ("chosen", "rejected")
    )
    return f"{pair['tree_key']}/{chosen}~{rejected}"


def review_id_of(pair: Preference) -> str:
    return review_id(
        {"chosen_id": pair.chosen_id, "rejected_id": pair.rejected_id, "tree_key": pair.tree_key}
    )


def record_review(
    pair: Preference, state: ReviewState, note: str, reviewer: str, *, seen: str | None = None
) -> Review:
    """Store a review in place of an earlier one, update the counts and return the review.

    Args:
        pair: the reviewed pair.
        state: the verdict.
        note: text of at most `MAX_NOTE_LENGTH` characters.
        reviewer: user name.
        seen: `stamp_of` the review that the reviewer saw; None to replace any review.

    Raises:
        ReviewConflictError: somebody else stored a review in between.
    """
    id_, now = review_id_of(pair), datetime.now(UTC)
    stored = Review.objects.filter(pk=id_).first()
    if seen not in (None, stamp_of(stored)):
        raise ReviewConflictError
    fields = {
        "preference_set_id": pair.preference_set_id,
        "forest_id": pair.forest_id,
        "tree_index": pair.tree_index,
        "tree_key": pair.tree_key,
        "state": str(state),
        "state_key": state_key(pair.preference_set_id, state),
        "note": note,
        "reviewer": reviewer,
        "reviewed_at": now.replace(microsecond=now.microsecond // 1000 * 1000),  # as MongoDB does
    }
    _replace(stored, {"_id": id_, **fields})
    _count(pair.preference_set_id, None if stored is None else stored.state_key, state)
    return Review(id=id_, **fields)


def stamp_of(review: Review | None) -> str:
    """Return a stamp that differs for each version of a review; "" for None."""
    return "" if review is None else review.reviewed_at.isoformat()


def reviews_of(pairs: Iterable[Preference]) -> dict[str, Review]:
    """Return the reviews of these pairs by the pair's id. It is one query: keep the list short."""
    ids = {review_id_of(pair): pair.id for pair in pairs}
    return {ids[review.id]: review for review in Review.objects.filter(pk__in=list(ids))}


def states_in(preference_set: PreferenceSet, indexes: Iterable[int]) -> dict[str, str]:
    """Return the states of the reviews in these trees, by the review's id."""
    keys = [tree_key(preference_set.id, index) for index in sorted(set(indexes))]
    states: dict[str, str] = {}
    for start in range(0, len(keys), TREES_PER_READ):
        query = {"tree_key": {"$in": keys[start : start + TREES_PER_READ]}}
        found = collection(Review).find(query, {"state": 1})
        states.update((review["_id"], review["state"]) for review in found)
    return states


def reviewed_trees(preference_set: PreferenceSet, state: ReviewState) -> dict[str, int]:
    """Return the tree of each review with this state, by the review's id, sorted by id."""
    query = {"state_key": state_key(preference_set.id, state)}
    found = collection(Review).find(query, {"tree_index": 1})
    return dict(sorted((review["_id"], review["tree_index"]) for review in found))


def apply_reviews(preference_set: PreferenceSet) -> None:
    """Recount the reviews of a set's pairs, and mark those without a pair as absent."""
    by_tree: defaultdict[int, list[Document]] = defaultdict(list)
    query = {"forest_id": preference_set.forest_id, "preference_set_id": preference_set.id}
    for review in collection(Review).find(query, dict.fromkeys(_APPLIED_FIELDS, 1)):
        by_tree[review["tree_index"]].append(review)
    states: Counter[str] = Counter()
    indexes = sorted(by_tree)
    for start in range(0, len(indexes), TREES_PER_READ):
        states += _apply(preference_set, indexes[start : start + TREES_PER_READ], by_tree)
    update_set(preference_set, **{name: states[state] for state, name in _COUNTERS.items()})


def count_absent(preference_set: PreferenceSet) -> int:
    """Return the number of reviews whose pair is not in the set."""
    query = {"state_key": state_key(preference_set.id, _ABSENT)}
    return collection(Review).count_documents(query)


def delete_reviews(forest_name: str, preference_set: str | None = None) -> None:
    """Delete the reviews of a forest, or of one set in it."""
    query = {"forest_id": forest_name}
    if preference_set is not None:
        query["preference_set_id"] = preference_set
    collection(Review).delete_many(query)


_APPLIED_FIELDS = ("tree_index", "state", "state_key")


def _apply(
    preference_set: PreferenceSet, indexes: Sequence[int], by_tree: Mapping[int, list[Document]]
) -> Counter[str]:
    """Set the state keys of the reviews in a few trees; return the number of reviews by state."""
    pairs = pairs_by_tree(preference_set, indexes)
    there = {review_id(pair) for of_tree in pairs.values() for pair in of_tree}
    states: Counter[str] = Counter()
    for review in (review for index in indexes for review in by_tree[index]):
        state = review["state"] if review["_id"] in there else _ABSENT
        states[state] += 1
        key = state_key(preference_set.id, state)
        if key != review["state_key"]:
            collection(Review).update_one({"_id": review["_id"]}, {"$set": {"state_key": key}})
    return states


def _replace(stored: Review | None, document: Document) -> None:
    """Write a review if `stored` is still the latest one.

    Raises:
        ReviewConflictError: somebody stored another review since.
    """
    if stored is None:
        try:
            collection(Review).insert_one(document)
        except DuplicateKeyError:
            raise ReviewConflictError from None
        return
    is_last = {"_id": stored.id, "reviewed_at": stored.reviewed_at}
    if not collection(Review).update_one(is_last, {"$set": document}).matched_count:
        raise ReviewConflictError


def _count(preference_set: str, key_before: str | None, state: ReviewState) -> None:
    deltas: Counter[str] = Counter()
    for one, name in _COUNTERS.items():
        deltas[name] = (one == state) - (key_before == state_key(preference_set, one))
    changes = {name: delta for name, delta in deltas.items() if delta}
    if changes:
        collection(PreferenceSet).update_one({"_id": preference_set}, {"$inc": changes})
