"""A tree of reasoning steps in memory: strategies grow it and metrics read it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import TypeAlias

from forests.core.tokens.kept import KeptTokens

NodePath: TypeAlias = tuple[int, ...]
"""Positions from the root: () is the root, (0, 2) the third child of the root's first child."""

ROOT: NodePath = ()

Scores: TypeAlias = Mapping[NodePath, float]
"""A scorer's scores of the nodes of a tree; nodes without a score are absent."""


class Grade(StrEnum):
    """The grade of a leaf's answer. A node that is not a finished leaf has no grade (None)."""

    CORRECT = "correct"
    INCORRECT = "incorrect"
    UNANSWERED = "unanswered"
    UNCOMPARED = "uncompared"
    """Nobody could tell whether the answer means the same as the label: the leaf has no result."""


@dataclass(slots=True)
class TreeNode:
    """One reasoning step (for the root: the prompt, with an empty text).

    `terminal`: the model finished its solution here. `truncated`: a limit cut it here. A node that
    is neither and has no children is *open*: growth has not expanded it yet.

    Steps are not blank, with one exception: if a sample adds nothing to a step that other samples
    continue, its end is a terminal child with a blank text, so that no sample is lost.
    """

    path: NodePath
    text: str = ""
    count: int = 1
    """Samples that gave this same step under this prefix. Values weigh samples, not texts."""
    drawn: dict[int, int] = field(default_factory=dict)
    """The same samples by the depth of the ancestor from which they were drawn."""
    terminal: bool = False
    truncated: bool = False
    answer: str | None = None
    grade: Grade | None = None
    voted_answer: str | None = None
    """The first answer of the tree that means the same as this leaf's: see `core.voting`."""
    tokens: int = 0
    """Completion tokens of this step, for one sample."""
    logprob: float | None = None
    """Sum of the log-probabilities of the step's tokens, if the server gave them."""
    finish_reason: str = ""
    model: str = ""
    """Model name in the server's answers."""
    seed: int | None = None
    numbered_to: int = 0
    """Sample numbers below this one are taken, among the samples requested from this node.

    See `rollouts.strategies.base.next_number`. 0 if all samples that reach this node were drawn
    further up.
    """
    is_thought: bool = False
    """Whether the step is part of a thought. Thoughts are not graded: they are not the solution."""
    kept: KeptTokens | None = None
    """Token ids with log-probabilities, of one sample, if the forest keeps them (`keep_tokens`) and
    the server gave them. Those of the root are the prompt's."""

    @property
    def depth(self) -> int:
        return len(self.path)

    @property
    def position(self) -> int:
        """Position among the siblings; 0 for the root."""
        return self.path[-1] if self.path else 0

    @property
    def is_finished(self) -> bool:
        return self.terminal or self.truncated

    @property
    def is_correct(self) -> bool:
        """Whether the solution is correct. A truncated solution never is."""
        return self.grade is Grade.CORRECT and not self.truncated

    @property
    def is_uncompared(self) -> bool:
        """Whether the leaf has no result, because nobody could compare its answer with the label.

        A truncated solution is incorrect whatever its answer means, so it does have a result.
        """
        return self.grade is Grade.UNCOMPARED and not self.truncated


_Line: TypeAlias = "tuple[TreeNode, _Line] | None"
"""A node, and the line of the node above it; None for the root.

Walking a path along it takes linear time. Looking up each prefix would take time quadratic in the
length of the path.
"""


@dataclass(slots=True)
class ReasoningTree:
    """All nodes of one tree by path; parents come before their children.

    The children of a node have the positions 0, 1, 2, … without a gap.
    """

    nodes: dict[NodePath, TreeNode] = field(default_factory=lambda: {ROOT: TreeNode(ROOT)})
    _children: dict[NodePath, list[TreeNode]] = field(default_factory=dict, repr=False)
    _lines: dict[NodePath, _Line] = field(
        default_factory=lambda: {ROOT: None}, repr=False, compare=False
    )
    """Lines of the nodes that were asked for, and of those above them."""
    _leaves: list[TreeNode] = field(default_factory=list, repr=False, compare=False)
    _leaves_among: int = field(default=0, repr=False, compare=False)
    """Number of nodes when `_leaves` was found. Nodes are only added, so it shows any change."""

    @classmethod
    def from_nodes(cls, nodes: Iterable[TreeNode]) -> "ReasoningTree":
        """Return the tree of these nodes, given in any order.

        Raises:
            ValueError: the root, or the parent of a node, is missing.
        """
        ordered = sorted(nodes, key=lambda node: (node.depth, node.path))
        tree = cls(nodes={})
        for node in ordered:
            tree.add(node)
        if ROOT not in tree.nodes:
            raise ValueError("a tree needs a root node")
        return tree

    def add(self, node: TreeNode) -> None:
        """Add a node below its parent.

        Raises:
            ValueError: the node exists already, or its parent is missing.
        """
        if node.path in self.nodes:
            raise ValueError(f"node {node.path} exists already")
        if node.path:
            parent = self.nodes.get(node.path[:-1])
            if parent is None:
                raise ValueError(f"the parent of node {node.path} is missing")
            self._children.setdefault(parent.path, []).append(node)
        self.nodes[node.path] = node

    def append(self, node: TreeNode) -> bool:
        """Add a node if it is the next child of its parent; return whether it is."""
        return not self.extend((node,))

    def extend(self, nodes: Iterable[TreeNode]) -> list[TreeNode]:
        """Add each node that is the next child of its parent, in this order; return the others."""
        known, children = self.nodes, self._children
        others = []
        for node in nodes:
            path = node.path
            parent = path[:-1]
            siblings = children.get(parent)
            if siblings is not None and path and path[-1] == len(siblings):
                siblings.append(node)
            elif siblings is None and path and path[-1] == 0 and parent in known:
                children[parent] = [node]
            else:
                others.append(node)
                continue
            known[path] = node
        return others

    @property
    def root(self) -> TreeNode:
        return self.nodes[ROOT]

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[TreeNode]:
        return iter(self.nodes.values())

    def children(self, path: NodePath) -> list[TreeNode]:
        return list(self._children.get(path, ()))

    def is_leaf(self, path: NodePath) -> bool:
        return not self._children.get(path)

    def leaves(self) -> list[TreeNode]:
        number, children = len(self.nodes), self._children
        if self._leaves_among != number:
            self._leaves = [node for path, node in self.nodes.items() if not children.get(path)]
            self._leaves_among = number
        return list(self._leaves)

    def next_position(self, path: NodePath) -> int:
        """Return the position of the next child of a node."""
        return len(self._children.get(path, ()))

    def path_nodes(self, path: NodePath) -> list[TreeNode]:
        """Return the nodes from the first step to `path`, without the root."""
        nodes: list[TreeNode] = []
        line = self._line(path)
        while line is not None:
            node, line = line
            nodes.append(node)
        return nodes[::-1]

    def _line(self, path: NodePath) -> _Line:
        missing = []
        while path not in self._lines:
            missing.append(path)
            path = path[:-1]
        line = self._lines[path]
        for path in reversed(missing):
            line = self._lines[path] = (self.nodes[path], line)
        return line

    def steps_text(self, path: NodePath) -> str:
        """Return the model's text from the root to the end of this node, thoughts included."""
        return "".join(node.text for node in self.path_nodes(path))

    def solution_text(self, path: NodePath) -> str:
        """Return the model's text from the root to the end of this node, without its thoughts.

        Answers are looked for in this text.
        """
        return "".join(node.text for node in self.path_nodes(path) if not node.is_thought)

    def bottom_up(self) -> list[TreeNode]:
        """Return all nodes, each after its descendants."""
        return list(reversed(self.nodes.values()))

    def families(self) -> list[tuple[TreeNode, Sequence[TreeNode]]]:
        """Return all nodes with their children, each after its descendants."""
        children = self._children
        return [(node, children.get(path, ())) for path, node in reversed(self.nodes.items())]


def connected(nodes: list[TreeNode]) -> tuple[ReasoningTree, list[TreeNode]]:
    """Return the tree of the nodes that hang together from the root, and the other nodes.

    Args:
        nodes: nodes below the root, in any order; torn writes may have left gaps among them.
    """
    paths = [node.path for node in nodes]
    places = sorted(zip(map(len, paths), paths, range(len(nodes)), strict=True))
    tree = ReasoningTree()
    orphans = tree.extend([nodes[number] for _, _, number in places])
    return tree, orphans


def format_path(path: NodePath) -> str:
    """Return a path as it appears in node ids: the root is "0", its third child "0.2"."""
    return ".".join(map(str, (0, *path)))


def parse_path(text: str) -> NodePath:
    """Return the path that `format_path` wrote.

    Raises:
        ValueError: the text is not such a path.
    """
    return _parse_often(text) if len(text) <= _MAX_KEPT else _parse(text)


def _parse(text: str) -> NodePath:
    numbers = tuple(int(part) for part in text.split(".") if part.isdecimal())
    if format_path(numbers[1:]) != text or numbers[0] != 0:
        raise ValueError(f"{text!r} is not a node path: expected numbers such as 0.2.1")
    return numbers[1:]


_parse_often = lru_cache(maxsize=2**14)(_parse)  # a forest has few shapes and many nodes
_MAX_KEPT = 200  # longer texts are not cached: visitors can send any
