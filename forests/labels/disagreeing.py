"""Where the scorers of a forest disagree, kept with each tree so that no page has to compute it."""

from collections.abc import Callable, Mapping, Sequence

from pymongo import UpdateOne

from forests.core.disagreements import Disagreement, disagreements_of, largest
from forests.core.evidence import evidence_of
from forests.core.tree import Scores, format_path, parse_path
from forests.core.values import Estimator, estimate_values
from forests.core.verdicts import PROVER
from forests.models import Forest, Tree
from forests.storage.scores import read_scores, scorer_names
from forests.storage.trees import Document, StoredTree, collection, in_batches, read_trees


def update_disagreements(
    forest: Forest,
    indexes: Sequence[int] | None = None,
    report: Callable[[int], None] = lambda _: None,
) -> None:
    """Compute where the scorers of a forest disagree, on these trees; None: on all.

    Call it whenever scores, labels or grades change. Calls `report` with the number of trees done.
    """
    # A step that does not help a prover may be right: its scores disagree with nobody.
    names = scorer_names(forest, without=PROVER)
    if not names and indexes is None:
        forget_disagreements(forest)
        return
    done = 0
    for some in in_batches(range(forest.num_trees) if indexes is None else indexes):
        scores = {name: read_scores(forest, name, some) for name in names}
        changes = [
            _change(stored, forest.estimator, _of_tree(scores, stored.index))
            for stored in read_trees(forest, some)
        ]
        if changes:
            collection(Tree).bulk_write(changes, ordered=False)
        done += len(some)
        report(done)


def forget_disagreements(forest: Forest) -> None:
    """Note that it is not known any more where scorers disagree, because the values change."""
    fields: Document = {"disagreement": None, "disagreements": []}
    collection(Tree).update_many({"forest_id": forest.name}, {"$set": fields})


def read_largest(forest: Forest, number: int) -> list[tuple[int, Disagreement]]:
    """Return the steps on which scorers disagree most, each with the index of its tree.

    At most `number`, of at most `forests.core.disagreements.MAX_OF_A_TREE` steps of a tree.
    """
    wanted = {"forest_id": forest.name, "disagreement": {"$gt": 0}}
    fields = {"index": 1, "disagreements": 1}
    trees = collection(Tree).find(wanted, fields).sort("disagreement", -1).limit(number)
    return largest(((tree["index"], disagreements_in(tree)) for tree in trees), number)


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
    evidence = evidence_of(stored.tree, estimate_values(stored.tree, estimator), estimator)
    intervals = {path: one.interval for path, one in evidence.items()}
    return disagreements_of(stored.tree, intervals, scores)
