"""The steps that a page asks people to label, each with what is needed to judge it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from django.utils.safestring import SafeString

from experiment_configs.questions import question_of_prompt
from forests.core.certainty.evidence import evidence_of, known_interval, with_evidence
from forests.core.naming import node_anchor, tree_id
from forests.core.opinions.disagreements import Disagreement
from forests.core.tree import NodePath, ReasoningTree, TreeNode, format_path
from forests.core.values import NodeValue, estimate_values
from forests.labels.people import names_of
from forests.labels.storage import Label, LabelledTree, StepLabels, read_labels
from forests.markup.rendering import PageTexts
from forests.models import Forest, TreeStatus
from forests.storage.scores import JudgedTree, Judgement, judgements_at, read_judged
from forests.storage.trees import StoredTree, read_trees

Place = tuple[int, NodePath]
"""A step: the index of its tree, and its path."""

TREES_LOOKED_AT = 256
"""Most trees that one request reads to find a solution to label."""


@dataclass(frozen=True, slots=True)
class LabelCard:
    """One step to label."""

    index: int
    node: TreeNode
    gold_label: str
    question: SafeString
    before: SafeString
    """The steps before it; empty for the first step."""
    text: SafeString
    value: NodeValue
    judgements: Sequence[Judgement]
    labels: StepLabels
    said: Sequence[tuple[str, Label]]
    """What people say, each with a name."""
    mine: Label | None
    is_blind: bool
    """Whether the page hides what others say, so that a label does not depend on it."""
    disagreement: Disagreement | None = None

    @property
    def name(self) -> str:
        return format_path(self.node.path)

    @property
    def anchor(self) -> str:
        return node_anchor(self.node.path)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the value; None without one."""
        return known_interval(self.value)

    @property
    def place(self) -> str:
        """Name that is unique within the forest, for ids of HTML elements."""
        return f"{self.index}-{self.name.replace('.', '-')}"


def cards_of(
    forest: Forest,
    places: Sequence[Place],
    person: str,
    *,
    is_blind: bool = False,
    disagreements: Mapping[Place, Disagreement | None] | None = None,
) -> list[LabelCard]:
    """Return the cards of some steps, in their order; steps that are gone are left out.

    Args:
        forest: the forest.
        places: the steps.
        person: id of the reader, or an empty text.
        is_blind: whether to hide what others say until the reader has labelled the step.
        disagreements: for some steps, the disagreement that is the reason to show it.
    """
    stored = read_trees(forest, sorted({index for index, _ in places}))
    return cards_in(forest, stored, places, person, is_blind=is_blind, disagreements=disagreements)


def cards_in(
    forest: Forest,
    stored: Sequence[StoredTree],
    places: Sequence[Place],
    person: str,
    *,
    is_blind: bool = False,
    disagreements: Mapping[Place, Disagreement | None] | None = None,
) -> list[LabelCard]:
    """Return the cards of some steps of these trees."""
    texts = PageTexts()
    trees = {one.index: _LabelTree(forest, one, person, texts) for one in stored}
    return [
        trees[index].card(path, (disagreements or {}).get((index, path)), is_blind)
        for index, path in places
        if index in trees and path in trees[index].tree.nodes
    ]


def next_solution(forest: Forest, start: int, done: Collection[int]) -> list[Place]:
    """Return the steps of a solution of the next tree that is not done.

    Each tree has one solution to label, drawn at random with the tree's name as the seed, so that
    the labelled solutions are a fair sample. Empty if `TREES_LOOKED_AT` trees have none.
    """
    looked_at = 0
    for index in range(start, forest.num_trees):
        if index in done:
            continue
        for stored in read_trees(forest, [index]):
            steps = solution_to_label(stored.tree, stored.id)
            if steps and stored.status == TreeStatus.COMPLETE:
                return [(index, path) for path in steps]
        looked_at += 1
        if looked_at == TREES_LOOKED_AT:
            break
    return []


def solution_to_label(tree: ReasoningTree, name: str) -> list[NodePath]:
    """Return the steps of one finished solution of a tree, the same at each call."""
    ends = [leaf for leaf in tree.leaves() if leaf.is_finished and leaf.path]
    if not ends:
        return []
    weights = [leaf.count for leaf in ends]
    [end] = Random(name).choices(sorted(ends, key=lambda leaf: leaf.path), weights)
    return [node.path for node in tree.path_nodes(end.path) if node.text.strip()]


class _LabelTree:
    """A tree with all that its cards need."""

    def __init__(self, forest: Forest, stored: StoredTree, person: str, texts: PageTexts) -> None:
        self.tree = stored.tree
        self.texts = texts
        self._stored = stored
        self._person = person
        values = estimate_values(stored.tree, forest.estimator)
        evidence = evidence_of(stored.tree, values, forest.estimator)
        self._values = with_evidence(values, evidence)
        self._judged: Mapping[str, tuple[str, JudgedTree]] = read_judged(forest, stored.index)
        self._labels: LabelledTree = read_labels(tree_id(forest.name, stored.index))
        self._names = names_of(
            one.person for step in self._labels.steps.values() for one in step.labels
        )

    def card(self, path: NodePath, disagreement: Disagreement | None, is_blind: bool) -> LabelCard:
        stored = self._stored
        node = self.tree.nodes[path]
        before = self.tree.steps_text(path[:-1])
        labels = self._labels.steps.get(path, StepLabels())
        mine = labels.by(self._person)
        return LabelCard(
            index=stored.index,
            node=node,
            gold_label=stored.label,
            question=self.texts.markdown(stored.question or question_of_prompt(stored.prompt)),
            before=self.texts.markdown(before) if before else SafeString(""),
            text=self.texts.markdown(node.text),
            value=self._values[path],
            judgements=judgements_at(self._judged, path),
            labels=labels,
            said=[(self._names[one.person], one) for one in labels.labels],
            mine=mine,
            is_blind=is_blind and mine is None,
            disagreement=disagreement,
        )
