"""Scores that a forest keeps of its nodes, by scorer.

One document holds the scores of one tree, so scores are read like trees: in batches, by ids.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pymongo import ReplaceOne

from experiment_configs.interfaces import ConfigError
from forests.core.naming import check_slug, scorer_id, tree_scores_id
from forests.core.opinions.judged import JudgedTree
from forests.core.opinions.verdicts import GIVE_VERDICTS, Verdict, verdict_of
from forests.core.tree import ROOT, NodePath, Scores, format_path, parse_path
from forests.costs.budgets import Usage
from forests.models import Forest, Scorer, TreeLabels, TreeScores
from forests.storage.trees import StoredTree, collection, few_trees, in_batches, tree_ids


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one scorer says of one node."""

    scorer: str
    kind: str
    """One of `forests.core.opinions.verdicts.SCORER_KINDS`; empty if it is not known."""
    score: float | None
    rationale: str
    votes: Sequence[int]

    @property
    def verdict(self) -> Verdict | None:
        """The verdict of the score; None without a score, or if the scorer gives no verdicts."""
        is_verdict = self.score is not None and self.kind in GIVE_VERDICTS
        return verdict_of(self.score) if is_verdict and self.score is not None else None


def start_scorer(
    forest: Forest, name: str, parameters: Mapping[str, Any], kind: str = ""
) -> Scorer:
    """Return the scorer of this name; make it if it is new.

    A scorer of an earlier version that has no kind takes this kind.

    Raises:
        ConfigError: the scorer is known with another kind or other parameters.
        ForestNameError: the name cannot be part of an id.
    """
    check_slug(name, "scorer")
    known = Scorer.objects.filter(pk=scorer_id(forest.name, name)).first()
    if known is None:
        return Scorer.objects.create(
            id=scorer_id(forest.name, name),
            forest_id=forest.name,
            name=name,
            kind=kind,
            parameters=dict(parameters),
            created_at=datetime.now(UTC),
        )
    if known.kind and known.kind != kind:
        raise ConfigError(
            f"scorer {name!r} of {forest.name} is of the kind {known.kind!r}, not {kind!r}: choose "
            "another --scorer, or --replace its scores"
        )
    if known.parameters != parameters:
        different = [
            f"{key} was {known.parameters.get(key)!r}, not {parameters.get(key)!r}"
            for key in sorted({*known.parameters, *parameters})
            if known.parameters.get(key) != parameters.get(key)
        ]
        raise ConfigError(
            f"scorer {name!r} of {forest.name} has other parameters ({', '.join(different)}): "
            "choose another --scorer, or --replace its scores"
        )
    if kind and not known.kind:
        known.kind = kind
        known.save(update_fields=["kind"])
    return known


def get_scorer(forest: Forest, name: str) -> Scorer:
    """Return a scorer of a forest.

    Raises:
        ConfigError: no scorer has this name. The message lists the known ones.
    """
    names = scorer_names(forest)
    if name not in names:
        known = f"it has {', '.join(names)}" if names else "it has none"
        raise ConfigError(
            f"forest {forest.name!r} has no scorer {name!r}, {known}: run score_nodes first"
        )
    return Scorer.objects.get(pk=scorer_id(forest.name, name))


def scorer_names(forest: Forest) -> list[str]:
    return sorted(one["name"] for one in collection(Scorer).find({"forest_id": forest.name}))


def verdict_scorers(forest: Forest) -> list[str]:
    """Return the names of the scorers whose scores are verdicts."""
    query = {"forest_id": forest.name, "kind": {"$in": sorted(GIVE_VERDICTS)}}
    return sorted(one["name"] for one in collection(Scorer).find(query))


def read_scores(forest: Forest, scorer: str, indexes: Iterable[int]) -> dict[int, Scores]:
    """Return the scores of these trees by index, in one query; trees without scores are absent."""
    ids = {tree_scores_id(tree, scorer): index for tree, index in _trees(forest, indexes)}
    found = collection(TreeScores).find({"_id": {"$in": list(ids)}})
    return {ids[document["_id"]]: _by_path(document["scores"]) for document in found}


def read_reasons(forest: Forest, scorer: str, index: int) -> JudgedTree:
    """Return what one scorer says of a tree, and why; empty if it says nothing."""
    [tree] = tree_ids(forest, [index])
    found = collection(TreeScores).find_one({"_id": tree_scores_id(tree, scorer)})
    return _judged(found) if found else JudgedTree()


def read_num_steps(forest: Forest, scorer: str, indexes: Iterable[int]) -> dict[int, int]:
    """Return how many steps these trees had when they were scored; 0 if that is not known."""
    ids = {tree_scores_id(tree, scorer): index for tree, index in _trees(forest, indexes)}
    found = collection(TreeScores).find({"_id": {"$in": list(ids)}}, {"num_steps": 1})
    return {ids[document["_id"]]: document.get("num_steps") or 0 for document in found}


def scored_indexes(forest: Forest, scorer: str) -> set[int]:
    """Return the indexes of trees that a scorer has scored, even if it gave no node a score."""
    return {
        index
        for batch in in_batches(range(forest.num_trees))
        for index in read_scores(forest, scorer, batch)
    }


def read_judged(forest: Forest, index: int) -> dict[str, tuple[str, JudgedTree]]:
    """Return, by the name of each scorer, its kind and what it says of a tree."""
    scorers = {one["name"]: one for one in collection(Scorer).find({"forest_id": forest.name})}
    if not scorers:
        return {}
    [tree] = tree_ids(forest, [index])
    names = {tree_scores_id(tree, name): name for name in sorted(scorers)}
    found = {one["_id"]: one for one in collection(TreeScores).find({"_id": {"$in": list(names)}})}
    return {
        name: (
            scorers[name].get("kind") or "",
            _judged(found[id_]),
        )
        for id_, name in names.items()
        if id_ in found
    }


def read_judgements(forest: Forest, index: int, path: NodePath) -> list[Judgement]:
    """Return what the scorers of a forest say of one node, by name."""
    return judgements_at(read_judged(forest, index), path)


def judgements_at(judged: Mapping[str, tuple[str, JudgedTree]], path: NodePath) -> list[Judgement]:
    """Return what scorers say of one node, from what they say of its tree, by name."""
    return [
        Judgement(
            name,
            kind,
            said.scores.get(path),
            said.rationales.get(path, ""),
            said.votes.get(path, ()),
        )
        for name, (kind, said) in judged.items()
        if path in said.scores or path in said.rationales
    ]


def iter_scored_trees(
    forest: Forest, scorer: str, indexes: Sequence[int] | None = None
) -> Iterator[tuple[StoredTree, Scores]]:
    """Yield the trees of a forest with their scores, in the order of the dataset.

    A tree without scores has empty ones. If `scorer` is empty, no tree has scores.
    """
    for stored, scores in iter_trees_with_scores(forest, [scorer] if scorer else [], indexes):
        yield stored, scores.get(scorer, {})


def iter_trees_with_scores(
    forest: Forest, scorers: Iterable[str], indexes: Sequence[int] | None = None
) -> Iterator[tuple[StoredTree, dict[str, Scores]]]:
    """Yield the trees of a forest with the scores of several scorers, by the scorer's name.

    If a scorer has no scores for a tree, they are empty.
    """
    names = sorted(set(scorers))
    for batch in in_batches(range(forest.num_trees) if indexes is None else indexes):
        scores = {name: read_scores(forest, name, batch) for name in names}
        for stored in few_trees(forest, batch):
            yield stored, {name: by_tree.get(stored.index, {}) for name, by_tree in scores.items()}


def write_scores(scorer: Scorer, scores: Mapping[str, Scores]) -> None:
    """Store and count the scores of trees, by tree id; existing scores are replaced."""
    write_judged(scorer, {tree: JudgedTree(one) for tree, one in scores.items()})


def write_judged(scorer: Scorer, judged: Mapping[str, JudgedTree]) -> None:
    """Store and count what a scorer says of trees, by tree id; what it said before is replaced.

    The counts are computed from what is stored, so repeating a write counts nothing twice.
    """
    ids = {tree_scores_id(tree, scorer.name): one for tree, one in judged.items()}
    if not ids:
        return
    stored = {one["_id"]: one for one in collection(TreeScores).find({"_id": {"$in": list(ids)}})}
    before = {id_: len(one["scores"].keys() - {format_path(ROOT)}) for id_, one in stored.items()}
    is_changed = any(one["scores"] != _by_key(ids[id_].scores) for id_, one in stored.items())
    result = collection(TreeScores).bulk_write(
        [
            ReplaceOne({"_id": id_}, {"_id": id_, **scores_document(one)}, upsert=True)
            for id_, one in ids.items()
        ]
    )
    new = set((result.upserted_ids or {}).values())
    deltas = {
        "num_trees": len(new),
        "num_nodes": sum(
            len(one.scores.keys() - {ROOT}) - before.get(id_, 0)
            for id_, one in ids.items()
            if id_ in new or id_ in before
        ),
    }
    count_scores(scorer, deltas, is_changed=is_changed)


def count_scores(scorer: Scorer, deltas: Mapping[str, int], *, is_changed: bool) -> None:
    """Add to the counts of a scorer; `is_changed`: whether earlier scores were replaced."""
    now = {"$set": {"changed_at": datetime.now(UTC)}} if is_changed else {}
    collection(Scorer).update_one({"_id": scorer.id}, {"$inc": dict(deltas), **now})


def add_spent(scorer: Scorer, used: Usage, unread: int) -> None:
    """Add to what a judge has spent, and to the replies that it could not read."""
    numbers = {**used.as_dict(), "unread": unread}
    added = {f"spent.{name}": number for name, number in numbers.items() if number}
    if added:
        collection(Scorer).update_one({"_id": scorer.id}, {"$inc": added})


def read_spent(scorer: Scorer) -> Usage:
    """Return what all runs of a judge have spent."""
    found = collection(Scorer).find_one({"_id": scorer.id}) or {}
    return Usage.of(found.get("spent") or {})


def delete_scores_of_tree(tree: str) -> None:
    """Delete and uncount the scores of a tree, by all scorers, and delete its labels."""
    collection(TreeLabels).delete_many({"tree_id": tree})
    for scorer in collection(Scorer).find({"forest_id": tree.rpartition("/")[0]}):
        deleted = collection(TreeScores).find_one_and_delete(
            {"_id": tree_scores_id(tree, scorer["name"])}
        )
        if deleted:
            num_nodes = len(deleted["scores"].keys() - {format_path(ROOT)})
            deltas = {"num_trees": -1, "num_nodes": -num_nodes}
            collection(Scorer).update_one({"_id": scorer["_id"]}, {"$inc": deltas})


def delete_scores(forest: Forest, name: str) -> None:
    """Delete a scorer and its scores. The scorer goes last, so that a retry finds what is left."""
    for batch in in_batches(range(forest.num_trees)):
        ids = [tree_scores_id(tree, name) for tree in tree_ids(forest, batch)]
        collection(TreeScores).delete_many({"_id": {"$in": ids}})
    collection(Scorer).delete_one({"_id": scorer_id(forest.name, name)})


def _trees(forest: Forest, indexes: Iterable[int]) -> Iterator[tuple[str, int]]:
    indexes = list(indexes)
    return zip(tree_ids(forest, indexes), indexes, strict=True)


def scores_document(judged: JudgedTree) -> dict[str, Any]:
    """Return what a scorer says of a tree as the fields of a `TreeScores` document."""
    return {
        "scores": _by_key(judged.scores),
        "rationales": _by_key(judged.rationales),
        "votes": _by_key({path: list(votes) for path, votes in judged.votes.items()}),
        "num_steps": judged.num_steps,
    }


def _judged(document: Mapping[str, Any]) -> JudgedTree:
    return JudgedTree(
        _by_path(document["scores"]),
        _by_path(document.get("rationales") or {}),
        _by_path(document.get("votes") or {}),
    )


def _by_key(values: Mapping[NodePath, Any]) -> dict[str, Any]:
    # MongoDB would read a dot in a key as a path.
    return {format_path(path).replace(".", "-"): value for path, value in values.items()}


def _by_path(document: Mapping[str, Any]) -> dict[NodePath, Any]:
    return {parse_path(key.replace("-", ".")): value for key, value in document.items()}
