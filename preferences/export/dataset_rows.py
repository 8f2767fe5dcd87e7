"""Reading of the items of an export, a few trees at a time."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias, get_args

from experiment_configs.refinements import Refinement
from forests.core.certainty.evidence import with_evidence
from forests.core.estimators import FOR_LABELS
from forests.core.naming import index_of_tree
from forests.core.opinions.judged import JudgedTree
from forests.core.opinions.verdicts import JUDGE_STEPS, SCORES, Verdict
from forests.core.reading import ReadTree
from forests.core.tree import ReasoningTree, parse_path
from forests.models import Forest, Node, Tree
from forests.storage.reader import ForestReader
from forests.storage.trees import (
    Document,
    collection,
    in_batches,
    question_of_document,
    read_trees,
    tree_ids,
)
from metrics.core.tree_filters import TreeFilter
from preferences.core.consensus import Coverage
from preferences.core.value_sources import ValueSource
from preferences.export.formats.annotation import ANNOTATES, Annotation
from preferences.export.formats.base import Item
from preferences.export.formats.prompts import as_seen
from preferences.models import PreferenceSet, ReviewState
from preferences.sets.reviews import review_id, states_in
from preferences.sets.storage import pair_of_document, pairs_by_tree
from preferences.sets.unstored import UnstoredSet

Reviewed: TypeAlias = Literal["all", "not_rejected", "accepted"]
REVIEWED: tuple[Reviewed, ...] = get_args(Reviewed)

Solutions: TypeAlias = Literal["all", "annotated"]
"""Which solutions have labelled steps: see `preferences.export.formats.annotation`."""
SOLUTIONS: tuple[Solutions, ...] = get_args(Solutions)

ALL_TREES = TreeFilter()


def iter_pair_items(
    forest: Forest,
    preference_set: PreferenceSet,
    reviewed: Reviewed,
    left_out: Counter[str],
    wanted: TreeFilter = ALL_TREES,
    *,
    needs_trees: bool = False,
) -> Iterator[tuple[Any, Item]]:
    """Yield (stored prompt, item) of each tree that has pairs, in the order of the dataset.

    An item includes its tree if the tree has thoughts, or if `needs_trees` is set. The pairs that
    reviews exclude and the unwanted trees are counted in `left_out`.
    """
    ungraded = ValueSource.from_dict(preference_set.parameters).ungraded
    for indexes in in_batches(range(forest.num_trees)):
        found = pairs_by_tree(preference_set, indexes)
        if wanted.is_active:
            for stored in read_trees(forest, sorted(found)):
                if reason := wanted.reason_against(stored.tree, ungraded):
                    left_out[reason] += 1
                    del found[stored.index]
        if reviewed != "all":
            states = states_in(preference_set, found)
            found = _as_reviewed(found, states, reviewed, left_out)
        trees = _trees_without_nodes(forest, sorted(found))
        read = _trees_of if needs_trees else _trees_with_thoughts
        whole = read(forest, sorted(found))
        for index, tree in trees.items():
            pairs = [pair_of_document(document) for document in found[index]]
            grown = whole.get(index) or ReasoningTree()
            yield tree["prompt"], Item(**_common(forest, tree), pairs=pairs, tree=grown)


def _as_reviewed(
    found: Mapping[int, list[Document]],
    states: Mapping[str, str],
    reviewed: Reviewed,
    left_out: Counter[str],
) -> dict[int, list[Document]]:
    kept: dict[int, list[Document]] = {}
    for index, documents in found.items():
        for document in documents:
            state = states.get(review_id(document), ReviewState.OPEN)
            if state == ReviewState.REJECTED:
                left_out["pairs_rejected_by_reviewers"] += 1
            elif state == ReviewState.OPEN and reviewed == "accepted":
                left_out["pairs_not_reviewed"] += 1
            else:
                kept.setdefault(index, []).append(document)
    return kept


@dataclass(frozen=True, slots=True)
class TreeItems:
    """The trees and steps that an export reads."""

    is_good: Callable[[float], bool]
    """Whether a value is that of a good step; decides whether sources agree on a step."""
    solutions: Solutions = "all"
    wanted: TreeFilter = ALL_TREES
    critic: str = ""
    """The scorer whose reasons are read; empty: none."""
    coverage: Coverage = field(default_factory=Coverage)
    """Gets the counts of steps, if several sources must agree."""


def iter_tree_items(
    reader: ForestReader,
    source: ValueSource,
    left_out: Counter[str],
    choice: TreeItems,
) -> Iterator[tuple[Any, Item]]:
    """Yield (stored prompt, item) of each complete tree, in the order of the dataset.

    Trees without scores of the scorer and unwanted trees are counted in `left_out`.
    """
    forest, solutions, wanted = reader.forest, choice.solutions, choice.wanted
    judges_steps = any(reader.scorer(name).kind in JUDGE_STEPS for name in source.scorers)
    for stored in reader.trees(range(forest.num_trees), source.scorers):
        scores = stored.scores
        if not stored.is_complete:
            continue
        if source.is_missing(scores.get(source.scorer, {})):
            left_out["trees_without_scores"] += 1
            continue
        if reason := wanted.reason_against(stored.tree, source.ungraded):
            left_out[reason] += 1
            continue
        values = source.agreed_values_of(stored.tree, scores, choice.is_good, choice.coverage)
        yield (
            stored.prompt,
            Item(
                **_common(forest, _document(stored)),
                tree=stored.tree,
                values=with_evidence(values, source.known_evidence(stored.tree, scores, values)),
                annotation=_annotation(forest, stored) if solutions == "annotated" else None,
                judges_steps=judges_steps,
                critic=(
                    reader.judged(stored.index, choice.critic) if choice.critic else JudgedTree()
                ),
                neutral=SCORES[Verdict.NEUTRAL] if source.scorer and judges_steps else None,
            ),
        )


def iter_unstored_items(
    made: UnstoredSet,
    left_out: Counter[str],
    wanted: TreeFilter = ALL_TREES,
    *,
    needs_trees: bool = False,
) -> Iterator[tuple[Any, Item]]:
    """Yield items like `iter_pair_items`, with pairs that are made while they are read."""
    ungraded = ValueSource.from_dict(made.record.parameters).ungraded
    for read, pairs in made.trees():
        if wanted.is_active and (reason := wanted.reason_against(read.tree, ungraded)):
            left_out[reason] += 1
            continue
        is_wanted = needs_trees or any(node.is_thought for node in read.tree)
        tree = read.tree if is_wanted else ReasoningTree()
        common = _common(made.reader.forest, _document(read))
        yield read.prompt, Item(**common, pairs=pairs, tree=tree)


def usual_solutions(forest: Forest, source: ValueSource) -> Solutions:
    """Return the default `Solutions` for a forest's strategy and a source of values.

    With a scorer it is all solutions, because a scorer can value every step.
    """
    return "annotated" if is_annotated(forest) and not source.scorer else "all"


def is_annotated(forest: Forest) -> bool:
    """Return whether rollouts were drawn to value steps: by the strategy, or by a refinement."""
    return forest.strategy in ANNOTATES or bool(forest.refined_for)


def _annotation(forest: Forest, stored: ReadTree) -> Annotation:
    if forest.refined_for != FOR_LABELS and forest.strategy not in ANNOTATES:
        return Annotation.of_strategy(forest.strategy, stored.tree)
    if forest.refined_for != FOR_LABELS:
        return Annotation.of(ANNOTATES[forest.strategy], stored.tree)
    refinement = Refinement.from_dict(forest.worker_config["refinement"])
    steps = None if stored.refined_steps is None else list(map(parse_path, stored.refined_steps))
    return Annotation.of_refined(forest.strategy, refinement, stored.tree, steps)


def _timestamp(moment: datetime) -> str:
    """Return a time as in PRM800K: UTC without a time zone, with six digits of microseconds."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


def _common(forest: Forest, tree: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "prompt": as_seen(tree["prompt"], forest.worker_config.get("api", "completions")),
        "question": question_of_document(tree),
        "label": tree["label"],
        "dataset": forest.config_name,
        "index": tree["index"],
        "timestamp": _timestamp(forest.created_at),
    }


def _document(read: ReadTree) -> Document:
    return {
        "prompt": read.prompt,
        "question": read.question,
        "label": read.label,
        "index": read.index,
    }


def _trees_with_thoughts(forest: Forest, indexes: Sequence[int]) -> dict[int, ReasoningTree]:
    """Return the trees with thoughts among these, by index; most forests have none."""
    if not indexes:
        return {}
    query = {"tree_id": {"$in": tree_ids(forest, indexes)}, "is_thought": True}
    found = {node["tree_id"] for node in collection(Node).find(query, {"tree_id": 1, "_id": 0})}
    return _trees_of(forest, [index_of_tree(id_) for id_ in sorted(found)])


def _trees_of(forest: Forest, indexes: Sequence[int]) -> dict[int, ReasoningTree]:
    return {stored.index: stored.tree for stored in read_trees(forest, indexes)}


def _trees_without_nodes(forest: Forest, indexes: Sequence[int]) -> dict[int, Document]:
    if not indexes:
        return {}
    query = {"_id": {"$in": tree_ids(forest, indexes)}}
    found = collection(Tree).find(query, {"index": 1, "prompt": 1, "question": 1, "label": 1})
    return {document["index"]: document for document in sorted(found, key=lambda d: d["index"])}
