"""Read what an export is made of, a few trees at a time."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

from forests.models import Forest, Tree, TreeStatus
from forests.store import Document, collection, iter_trees, tree_ids
from metrics.core.values import Estimator, Ungraded, estimate_values
from preferences.core.formats import Item
from preferences.core.prompts import as_seen
from preferences.models import PreferenceSet, ReviewState
from preferences.reviews import states_of
from preferences.store import batches, pair_of_document, pairs_by_tree

Reviewed: TypeAlias = Literal["all", "not_rejected", "accepted"]
REVIEWED: tuple[Reviewed, ...] = get_args(Reviewed)


def iter_pair_items(
    forest: Forest, preference_set: PreferenceSet, reviewed: Reviewed, left_out: Counter[str]
) -> Iterator[tuple[Any, Item]]:
    """Yield (stored prompt, item) of each tree that has pairs, in the order of the dataset.

    Pairs that reviewers left out are counted in `left_out`.
    """
    for indexes in batches(forest.num_trees):
        found = pairs_by_tree(preference_set, indexes)
        if reviewed != "all":
            found = _as_reviewed(found, reviewed, left_out)
        trees = _trees_without_nodes(forest, sorted(found))
        for index, tree in trees.items():
            pairs = [pair_of_document(document) for document in found[index]]
            yield tree["prompt"], Item(**_common(forest, tree), pairs=pairs)


def _as_reviewed(
    found: dict[int, list[Document]], reviewed: Reviewed, left_out: Counter[str]
) -> dict[int, list[Document]]:
    states = states_of(document for documents in found.values() for document in documents)
    kept: dict[int, list[Document]] = {}
    for index, documents in found.items():
        for document in documents:
            state = states.get(document["_id"], ReviewState.OPEN)
            if state == ReviewState.ACCEPTED or (
                reviewed == "not_rejected" and state != ReviewState.REJECTED
            ):
                kept.setdefault(index, []).append(document)
            else:
                left_out[f"review: {state}"] += 1
    return kept


def iter_tree_items(
    forest: Forest, estimator: Estimator, ungraded: Ungraded
) -> Iterator[tuple[Any, Item]]:
    """Yield (stored prompt, item) of each complete tree, in the order of the dataset."""
    for stored in iter_trees(forest):
        if stored.status != TreeStatus.COMPLETE:
            continue
        values = estimate_values(stored.tree, estimator, ungraded)
        document = {"prompt": stored.prompt, "label": stored.label}
        yield stored.prompt, Item(**_common(forest, document), tree=stored.tree, values=values)


def _common(forest: Forest, tree: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "prompt": as_seen(tree["prompt"], forest.worker_config.get("api", "completions")),
        "label": tree["label"],
        "dataset": forest.config_name,
        "timestamp": forest.created_at.isoformat(),
    }


def _trees_without_nodes(forest: Forest, indexes: Sequence[int]) -> dict[int, Document]:
    if not indexes:
        return {}
    query = {"_id": {"$in": tree_ids(forest, indexes)}}
    found = collection(Tree).find(query, {"index": 1, "prompt": 1, "label": 1})
    return {document["index"]: document for document in sorted(found, key=lambda d: d["index"])}
