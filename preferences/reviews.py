"""What reviewers think of pairs: kept beside the pairs, under what the pair compares.

A set that is made anew thus finds the reviews of pairs that come again, and a pair whose sides
changed places is another pair.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from forests.core.naming import path_of_node
from forests.core.tree import format_path
from forests.store import Document, collection
from preferences.models import Preference, PreferenceSet, Review, ReviewState, state_key

MAX_NOTE_LENGTH = 2000


def review_id(pair: Mapping[str, Any]) -> str:
    """Return the id of the review of a pair's document."""
    chosen, rejected = (
        format_path(path_of_node(pair[f"{side}_id"])) for side in ("chosen", "rejected")
    )
    return f"{pair['tree_key']}/{chosen}~{rejected}"


def record_review(pair: Preference, state: ReviewState, note: str, reviewer: str) -> Review:
    """Store what a reviewer thinks now, in place of what was there; return it."""
    review = Review(
        id=review_id_of(pair),
        preference_set_id=pair.preference_set_id,
        forest_id=pair.forest_id,
        tree_index=pair.tree_index,
        state=state,
        state_key=state_key(pair.preference_set_id, state),
        note=note[:MAX_NOTE_LENGTH],
        reviewer=reviewer,
        reviewed_at=datetime.now(UTC),
    )
    review.save()
    return review


def review_id_of(pair: Preference) -> str:
    return review_id(
        {
            "chosen_id": pair.chosen_id,
            "rejected_id": pair.rejected_id,
            "tree_key": pair.tree_key,
        }
    )


def reviews_of(pairs: Iterable[Preference]) -> dict[str, Review]:
    """Return the reviews of these pairs by the pair's id."""
    ids = {review_id_of(pair): pair.id for pair in pairs}
    return {ids[review.id]: review for review in Review.objects.filter(pk__in=list(ids))}


def states_of(documents: Iterable[Document]) -> dict[str, str]:
    """Return the states of those of these pairs that were reviewed, by the pair's id."""
    ids = {review_id(document): document["_id"] for document in documents}
    found = collection(Review).find({"_id": {"$in": list(ids)}}, {"state": 1})
    return {ids[review["_id"]]: review["state"] for review in found}


def count_reviews(preference_set: PreferenceSet) -> dict[ReviewState, int]:
    """Return how many pairs have each state; those that nobody judged are open."""
    found = {
        state: collection(Review).count_documents(
            {"state_key": state_key(preference_set.id, state)}
        )
        for state in (ReviewState.ACCEPTED, ReviewState.REJECTED)
    }
    return {**found, ReviewState.OPEN: max(0, preference_set.num_pairs - sum(found.values()))}


def reviewed_trees(preference_set: PreferenceSet, state: ReviewState) -> dict[str, int]:
    """Return the reviews with a state: their ids, in order, and the trees of their pairs."""
    query = {"state_key": state_key(preference_set.id, state)}
    found = collection(Review).find(query, {"tree_index": 1})
    return dict(sorted((review["_id"], review["tree_index"]) for review in found))


def delete_reviews(forest_name: str) -> None:
    collection(Review).delete_many({"forest_id": forest_name})
