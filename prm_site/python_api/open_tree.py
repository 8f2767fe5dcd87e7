"""One tree of reasoning steps with the value of every node."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Unpack

from common.text import counted
from forests.core.certainty.evidence import Evidence
from forests.core.certainty.sibling_prior import SiblingPrior
from forests.core.counting import count_tree, share_correct
from forests.core.reading import COMPLETE, ReadError, ReadTree
from forests.core.tree import (
    ROOT,
    Grade,
    NodePath,
    ReasoningTree,
    TreeNode,
    format_path,
    parse_path,
)
from forests.core.values import NodeValue
from metrics.core.statistics.baselines import majority_at_k, samples_of
from metrics.core.statistics.distributions import AnswerShare, answer_shares
from preferences.core.confidence import confidence_in
from preferences.core.pairing import select_pairs, steps_to_pair
from preferences.core.value_sources import ValueSource
from prm_site.python_api.pairs import PairingArguments, TreePair, pairing_options


@dataclass(frozen=True, slots=True)
class ValuedNode:
    """One reasoning step with its value."""

    node: TreeNode
    """The step as it is stored: `count`, `drawn`, `tokens`, `logprob`, `model` and more."""
    value: float | None
    """The estimate, from 0 to 1, or the score of a scorer; None if there is no result."""
    num_leaves: int
    """Samples that the value rests on."""
    is_leaf: bool
    low: float | None = None
    """Lower end of the 95 % interval of the value; None for scores and for hard values."""
    high: float | None = None
    """Upper end of the same interval."""

    @property
    def path(self) -> NodePath:
        """Positions from the root: (0, 2) is the third child of the root's first child."""
        return self.node.path

    @property
    def name(self) -> str:
        """The path as pages and archives write it; the root is "0", its third child "0.2"."""
        return format_path(self.node.path)

    @property
    def depth(self) -> int:
        """Steps from the root; the first step has depth 1."""
        return self.node.depth

    @property
    def text(self) -> str:
        """Exactly what the model wrote in this step."""
        return self.node.text

    @property
    def answer(self) -> str | None:
        """The answer of a solution that ends here; None if there is none."""
        return self.node.answer

    @property
    def grade(self) -> Grade | None:
        """The grade of the answer; None if no solution ends here."""
        return self.node.grade


class OpenTree:
    """One dataset item and the solutions that the model wrote for it.

    Iterating gives its steps, parents first, without the root.
    """

    def __init__(
        self,
        read: ReadTree,
        source: ValueSource,
        prior: Callable[[], SiblingPrior | None] = lambda: None,
        refined_for: str = "",
    ) -> None:
        self._read = read
        self._scores = read.scores.get(source.scorer, {})
        self._source = source
        self._prior = prior
        self._refined_for = refined_for

    def __repr__(self) -> str:
        return f"<tree {self.index}: {self.status}, {counted(len(self), 'node')}>"

    @property
    def index(self) -> int:
        """Its number in the dataset split, from 0."""
        return self._read.index

    @property
    def item(self) -> str:
        """The dataset item as pages show it, in Markdown."""
        return self._read.item

    @property
    def label(self) -> str:
        """The gold answer."""
        return self._read.label

    @property
    def prompt(self) -> Any:
        """The root prompt, examples included: a text, or a list of chat messages."""
        return self._read.prompt

    @property
    def question(self) -> str:
        """What the item asks, without the examples and instructions of the prompt."""
        return self._read.question

    @property
    def status(self) -> str:
        """One of "pending", "growing", "complete" and "failed"."""
        return self._read.status

    @property
    def is_complete(self) -> bool:
        """Whether the tree has all its samples; metrics and pairs use complete trees only."""
        return self.status == COMPLETE

    @property
    def error(self) -> str:
        """Why the tree failed; empty if it did not."""
        return self._read.error

    @property
    def hit_max_nodes(self) -> bool:
        """Whether the tree lacks samples because it reached `max_nodes`."""
        return self._read.hit_max_nodes

    @property
    def spent(self) -> Mapping[str, int]:
        """What its growth took: `prompt_tokens`, `completion_tokens`, `requests`, `retries`."""
        return self._read.spent

    @property
    def tree(self) -> ReasoningTree:
        """The nodes by path, with their children and the texts of their paths."""
        return self._read.tree

    @cached_property
    def values(self) -> Mapping[NodePath, NodeValue]:
        """The value of every node by path, with the number of samples that it rests on."""
        return self._source.values_of(self._read.tree, self._scores)

    @cached_property
    def evidence(self) -> Mapping[NodePath, Evidence]:
        """The effective samples of every value by path; empty for scores and for hard values."""
        return self._source.evidence_of(self.tree, self.values)

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """Numbers of nodes below the root, and of ended samples by their result.

        The keys are `num_nodes`, `num_leaves`, `num_correct`, `num_incorrect`, `num_unanswered`,
        `num_uncompared` and `num_truncated`.
        """
        return count_tree(self.tree)

    @property
    def pass_rate(self) -> float | None:
        """Share of correct samples among those that ended; None if none has ended.

        If the strategy chose which steps to sample further, the value of the root is the better
        estimate: see `root`.
        """
        return share_correct(self.counts["num_correct"], self.counts["num_leaves"])

    @cached_property
    def majority_vote(self) -> float | None:
        """Chance that a majority vote of all samples is correct: 1 or 0, or between in a tie.

        None if no sample has ended.
        """
        samples = samples_of(self.tree, self._source.ungraded)
        chance = majority_at_k(samples, samples.total) if samples.total else None
        return None if chance is None else float(chance)

    @property
    def answers(self) -> Sequence[AnswerShare]:
        """The answers of its samples, the most frequent first; equal meanings count as one."""
        return answer_shares(self.tree)

    @property
    def root(self) -> ValuedNode:
        """The prompt with its value: the chance to solve the item from the start."""
        return self.node(ROOT)

    def __len__(self) -> int:
        """Return the number of steps, without the root."""
        return len(self.tree) - 1

    def __iter__(self) -> Iterator[ValuedNode]:
        return (self._valued(node) for node in self.tree if node.path)

    def node(self, path: NodePath | str) -> ValuedNode:
        """Return the node at a path such as (0, 2), or at a name such as "0.0.2".

        Raises:
            ReadError: the tree has no such node.
        """
        try:
            found = self.tree.nodes[parse_path(path) if isinstance(path, str) else tuple(path)]
        except (KeyError, TypeError, ValueError):
            raise ReadError(f"tree {self.index} has no node {path!r}") from None
        return self._valued(found)

    def children(self, path: NodePath | str) -> list[ValuedNode]:
        """Return the steps that follow a node.

        Raises:
            ReadError: the tree has no such node.
        """
        return [self._valued(node) for node in self.tree.children(self.node(path).path)]

    def steps_to(self, path: NodePath | str) -> list[ValuedNode]:
        """Return the steps from the first one to a node: a whole solution, if the node is a leaf.

        Raises:
            ReadError: the tree has no such node.
        """
        return [self._valued(node) for node in self.tree.path_nodes(self.node(path).path)]

    def leaves(self) -> list[ValuedNode]:
        """Return the steps that no other step follows. Several samples may end in one leaf."""
        return [self._valued(node) for node in self.tree.leaves() if node.path]

    def pairs(self, **options: Unpack[PairingArguments]) -> list[TreePair]:
        """Return the preference pairs of the tree, as `create_preferences` makes them.

        An incomplete tree has none. A tree without scores of the chosen scorer has none either.

        Args:
            **options: fields of `preferences.core.pairing.PairingOptions`.

        Raises:
            ReadError: an option cannot be used.
        """
        chosen = pairing_options(options)
        if not self.is_complete or self._source.is_missing(self._scores):
            return []
        confidence = confidence_in(self.tree, self.values, self._source, self._prior())
        found = select_pairs(
            self.tree,
            self.values,
            chosen,
            confidence=confidence,
            steps=steps_to_pair(self._refined_for, self._read.refined_steps),
            key=f"{self.index}",
        ).pairs
        return [
            TreePair(
                self.index,
                self.prompt,
                one.prefix,
                one.prefix_text,
                one.chosen,
                one.rejected,
                one.confidence,
            )
            for one in found
        ]

    def _valued(self, node: TreeNode) -> ValuedNode:
        value, leaves = self.values[node.path]
        evidence = self.evidence.get(node.path)
        low, high = evidence.interval if evidence else (None, None)
        return ValuedNode(node, value, leaves, self.tree.is_leaf(node.path), low, high)
