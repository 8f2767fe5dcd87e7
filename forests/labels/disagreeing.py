"""Where the scorers of a forest disagree, kept with each tree so that no page has to compute it."""

from collections.abc import Callable, Collection, Mapping, Sequence

from pymongo import UpdateOne

from forests.core.opinions.disagreements import (
    Disagreement,
    disagreements_of,
    intervals_of,
    largest,
)
from forests.core.tree import NodePath, Scores, format_path, parse_path
from forests.core.values import Estimator
from forests.models import Forest, Tree
from forests.storage.scores import read_scores, verdict_scorers
from forests.storage.trees import Document, StoredTree, collection, in_batches, read_trees


def update_disagreements(forest: Forest, report: Callable[[int], None] = lambda _: None) -> None:
    """Compute where the scorers of a forest disagree.

    Call it whenever scores or grades change. Calls `report` with the number of trees done.
    """
    names = verdict_scorers(forest)
    if not names:
        forget_disagreements(forest)
        return
    done = 0
    for some in in_batches(range(forest.num_trees)):
        _update(forest, read_trees(forest, some), names)
        done += len(some)
        report(done)


def update_disagreements_of(forest: Forest, stored: StoredTree) -> None:
    """Compute where the scorers of a forest disagree about one tree, after it got a label."""
    _update(forest, [stored], verdict_scorers(forest))


def _update(forest: Forest, trees: Sequence[StoredTree], names: Sequence[str]) -> None:
    indexes = [stored.index for stored in trees]
    scores = {name: read_scores(forest, name, indexes) for name in names}
    changes = [
        _change(stored, forest.estimator, _of_tree(scores, stored.index)) for stored in trees
    ]
    if changes:
        collection(Tree).bulk_write(changes, ordered=False)


def forget_disagreements(forest: Forest) -> None:
    """Clear where the scorers of a forest disagree, because its values or scores change."""
    fields: Document = {"disagreement": None, "disagreements": []}
    collection(Tree).update_many({"forest_id": forest.name}, {"$set": fields})


def read_largest(
    forest: Forest, number: int, without: Collection[tuple[int, NodePath]] = ()
) -> list[tuple[int, Disagreement]]:
    """Return the steps on which scorers disagree most, each with the index of its tree.

    Returns at most `number` steps, at most `MAX_OF_A_TREE` of one tree, and none in `without`.
    """
    most = number + len(without)
    wanted = {"forest_id": forest.name, "disagreement": {"$gt": 0}}
    fields = {"index": 1, "disagreements": 1}
    trees = collection(Tree).find(wanted, fields).sort("disagreement", -1).limit(most)
    found = largest(((tree["index"], disagreements_in(tree)) for tree in trees), most)
    return [(index, one) for index, one in found if (index, one.path) not in without][:number]


def disagreements_in(tree: Document) -> list[Disagreement]:
    """Return the disagreements in a tree's document; older versions wrote none."""
    return [
        Disagreement(parse_path(path), size, one, other)
        for path, size, one, other in tree.get("disagreements") or []
    ]


def _of_tree(scores: Mapping[str, Mapping[int, Scores]], index: int) -> dict[str, Scores]:
    return {name: by_tree[index] for name, by_tree in scores.items() if index in by_tree}


def _change(stored: StoredTree, estimator: Estimator, scores: Mapping[str, Scores]) -> UpdateOne:
    found = _disagreements(stored, estimator, scores) if scores else []
    fields = {
        "disagreement": found[0].size if found else None,
        "disagreements": [[format_path(one.path), one.size, one.one, one.other] for one in found],
    }
    return UpdateOne({"_id": stored.id}, {"$set": fields})


def _disagreements(
    stored: StoredTree, estimator: Estimator, scores: Mapping[str, Scores]
) -> list[Disagreement]:
    return disagreements_of(stored.tree, intervals_of(stored.tree, estimator), scores)
