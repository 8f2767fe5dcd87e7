"""Labels of steps by people, and the scorer "human" that they make.

Each person has one document for a tree, and decisions have one. All labels together are stored as
scores of the scorer `HUMAN`, so metrics, pairs and exports read them like those of any scorer. If
people disagree, the score is the mean of their verdicts until somebody decides.

Two people may label a tree at the same moment. Each change raises a revision, and scores of an
older revision never replace those of a newer one.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote

from pymongo.errors import DuplicateKeyError

from experiment_configs.interfaces import ConfigError
from forests.core.naming import index_of_tree, scorer_id, tree_id, tree_scores_id
from forests.core.opinions.verdicts import HUMAN, SCORES, Verdict, bounded_rationale, mean_score
from forests.core.tree import NodePath, format_path, parse_path
from forests.models import Forest, Scorer, TreeLabels, TreeScores
from forests.storage.scores import JudgedTree, count_scores, scores_document, start_scorer
from forests.storage.trees import Document, collection

DECISIONS = ""
"""Used instead of a person in the document of decisions."""
MAX_NOTE = 2_000
"""Most characters of a note."""
PARAMETERS = {"from": "labels of people on this site"}
"""Parameters of the scorer; imported scores of people have others."""


@dataclass(frozen=True, slots=True)
class Label:
    """What one person says of one step."""

    person: str
    verdict: Verdict
    note: str = ""
    is_blind: bool = False
    """Whether the person did not see what others say."""


@dataclass(frozen=True, slots=True)
class StepLabels:
    """What people say of one step."""

    labels: Sequence[Label] = ()
    """In the order of the people's ids."""
    decision: Label | None = None

    @property
    def counts(self) -> list[int]:
        """How many say that the step is right, neutral and wrong."""
        counted = Counter(label.verdict for label in self.labels)
        return [counted[verdict] for verdict in Verdict]

    @property
    def are_divided(self) -> bool:
        """Whether people disagree and nobody has decided."""
        return self.decision is None and len({label.verdict for label in self.labels}) > 1

    @property
    def score(self) -> float | None:
        if self.decision is not None:
            return SCORES[self.decision.verdict]
        return mean_score(label.verdict for label in self.labels)

    def by(self, person: str) -> Label | None:
        """Return what this person says; None without a label."""
        return next((one for one in self.labels if one.person == person), None)


@dataclass(frozen=True, slots=True)
class LabelledTree:
    """What people say of the steps of one tree."""

    steps: Mapping[NodePath, StepLabels] = field(default_factory=dict)
    revision: int = 0
    """How often it was changed."""

    def judged(self) -> JudgedTree:
        """Return the labels in the form that all scorers use."""
        scores = {path: step.score for path, step in self.steps.items()}
        return JudgedTree(
            {path: score for path, score in scores.items() if score is not None},
            {path: note for path, step in self.steps.items() if (note := _notes(step))},
            {path: step.counts for path, step in self.steps.items() if step.labels},
        )


@dataclass(frozen=True, slots=True)
class NewLabel:
    """A label that a person gives or takes back."""

    person: str
    """Id of a user; `DECISIONS` for a decision."""
    verdict: Verdict | None
    """None takes the label back."""
    note: str | None = None
    """At most `MAX_NOTE` characters; None keeps the note that is there."""
    is_blind: bool = False


def record_label(forest: Forest, index: int, path: NodePath, new: NewLabel) -> StepLabels:
    """Store what a person says of a step, in place of what the same person said before.

    Returns all labels of the step.

    Args:
        forest: the forest.
        index: index of the tree.
        path: the step; the caller has checked that it exists.
        new: the label.

    Raises:
        ConfigError: the forest has an imported scorer named `HUMAN`.
    """
    scorer = _scorer_of_labels(forest)
    tree, key = tree_id(forest.name, index), _key(path)
    fields: Document = {
        "tree_id": tree,
        "forest_id": forest.name,
        "person": new.person,
        "changed_at": datetime.now(UTC),
    }
    values = {
        "verdicts": str(new.verdict) if new.verdict else None,
        "blind": True if new.verdict and new.is_blind else None,
    }
    if new.note is not None or new.verdict is None:
        values["notes"] = new.note if new.verdict and new.note else None
    fields |= {f"{name}.{key}": value for name, value in values.items() if value is not None}
    gone = {f"{name}.{key}": "" for name, value in values.items() if value is None}
    collection(TreeLabels).update_one(
        {"_id": _document_id(tree, new.person)},
        {"$set": fields, "$inc": {"revision": 1}, **({"$unset": gone} if gone else {})},
        upsert=True,
    )
    labelled = read_labels(tree)
    _publish(scorer, tree, labelled)
    return labelled.steps.get(path, StepLabels())


def read_labels(tree: str) -> LabelledTree:
    """Return what people say of a tree, by the tree's id."""
    found = sorted(
        collection(TreeLabels).find({"tree_id": tree}), key=lambda document: document["person"]
    )
    labels: dict[NodePath, list[Label]] = {}
    decisions: dict[NodePath, Label] = {}
    for document in found:
        for path, label in _labels_in(document):
            if document["person"] == DECISIONS:
                decisions[path] = label
            else:
                labels.setdefault(path, []).append(label)
    steps = {
        path: StepLabels(tuple(labels.get(path, ())), decisions.get(path))
        for path in labels.keys() | decisions.keys()
    }
    return LabelledTree(steps, sum(document["revision"] for document in found))


def labels_of_forest(forest: Forest) -> dict[str, dict[tuple[str, NodePath], Label]]:
    """Return the labels of each person by tree id and step; `DECISIONS` has the decisions."""
    by_person: dict[str, dict[tuple[str, NodePath], Label]] = {}
    for document in collection(TreeLabels).find({"forest_id": forest.name}):
        mine = by_person.setdefault(document["person"], {})
        mine |= {(document["tree_id"], path): label for path, label in _labels_in(document)}
    return by_person


def note_whole(tree: str, person: str, *, is_whole: bool) -> None:
    """Note whether a person has labelled every step of the solution to label."""
    mine = {"_id": _document_id(tree, person)}
    collection(TreeLabels).update_one(mine, {"$set": {"is_whole": is_whole}})


def whole_trees(forest: Forest, person: str) -> set[int]:
    """Return the indexes of the trees with a whole solution labelled by this person."""
    query = {"forest_id": forest.name, "person": person, "is_whole": True}
    return {index_of_tree(one["tree_id"]) for one in collection(TreeLabels).find(query)}


def publish_labels(forest: Forest) -> Scorer:
    """Make the scorer of the labels, with the scores of all trees that have some; return it.

    Raises:
        ConfigError: the forest has an imported scorer named `HUMAN`.
    """
    scorer = _scorer_of_labels(forest)
    found = collection(TreeLabels).find({"forest_id": forest.name}, {"tree_id": 1})
    for tree in sorted({document["tree_id"] for document in found}):
        _publish(scorer, tree, read_labels(tree))
    scorer.refresh_from_db()
    return scorer


def _scorer_of_labels(forest: Forest) -> Scorer:
    known = Scorer.objects.filter(pk=scorer_id(forest.name, HUMAN)).first()
    if known is not None and known.parameters != PARAMETERS:
        raise ConfigError(
            f"scorer {HUMAN!r} of {forest.name} was imported, and labels given here would replace "
            f"it: to delete it first, run score_nodes --kind {HUMAN} --scorer {HUMAN} --replace"
        )
    return start_scorer(forest, HUMAN, PARAMETERS, HUMAN)


def _publish(scorer: Scorer, tree: str, labelled: LabelledTree) -> None:
    """Store the scores of a tree, unless scores of later labels are stored already."""
    judged = labelled.judged()
    id_ = tree_scores_id(tree, scorer.name)
    document = {"_id": id_, **scores_document(judged), "revision": labelled.revision}
    stored = collection(TreeScores)
    before = stored.find_one({"_id": id_})
    while not _replaced(before, document):
        before = stored.find_one({"_id": id_})  # another process was faster
        if before is not None and _revision(before) >= labelled.revision:
            return
    num_before = len(before["scores"]) if before else 0
    deltas = {
        "num_trees": bool(judged.scores) - bool(num_before),
        "num_nodes": len(judged.scores) - num_before,
    }
    is_changed = before is not None and before["scores"] != document["scores"]
    count_scores(scorer, deltas, is_changed=is_changed)


def _replaced(before: Document | None, document: Document) -> bool:
    """Write the scores of a tree if `before` is still stored; return whether it was."""
    if before is None:
        try:
            collection(TreeScores).insert_one(document)
        except DuplicateKeyError:
            return False
        return True
    if _revision(before) > document["revision"]:
        return False
    same = {"_id": document["_id"], "revision": before.get("revision")}
    return bool(collection(TreeScores).replace_one(same, document).matched_count)


def _revision(scores: Document) -> int:
    return int(scores.get("revision") or 0)


def _labels_in(document: Document) -> list[tuple[NodePath, Label]]:
    notes, blind = document.get("notes") or {}, document.get("blind") or {}
    return [
        (
            parse_path(key.replace("-", ".")),
            Label(document["person"], Verdict(verdict), notes.get(key, ""), key in blind),
        )
        for key, verdict in (document.get("verdicts") or {}).items()
    ]


def _notes(step: StepLabels) -> str:
    """Return the notes on a step as one text. Names stay on this site: archives have no people."""
    said = [*step.labels, *([step.decision] if step.decision else [])]
    return bounded_rationale("\n\n".join(f"{one.verdict}: {one.note}" for one in said if one.note))


def _document_id(tree: str, person: str) -> str:
    return f"{tree}/{quote(person, safe='')}"


def _key(path: NodePath) -> str:
    return format_path(path).replace(".", "-")
