"""What a reader looks for in a tree: steps with a text, on the way to leaves of a kind."""

import re
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum

from forests.core.tree import Grade, NodePath, ReasoningTree, TreeNode

_ESCAPED_MARKS = (r"\*", "_", "`")


class LeafKind(StrEnum):
    """How a solution ended. A truncated one is also of the kind of its grade, never correct."""

    CORRECT = "correct"
    INCORRECT = "incorrect"
    UNANSWERED = "unanswered"
    UNCOMPARED = "uncompared"
    TRUNCATED = "truncated"


@dataclass(frozen=True, slots=True)
class Selection:
    """The part of a tree that answers a question."""

    shown: AbstractSet[NodePath]
    """Without the root; with each node all its ancestors."""
    hits: AbstractSet[NodePath]
    """Steps that hold the text, or the leaves of the kind where no text is looked for."""
    opened: AbstractSet[NodePath]
    """Steps on the way to a hit."""
    num_leaves: int
    """Leaves that the shown paths lead to."""


def is_of_kind(node: TreeNode, kind: LeafKind) -> bool:
    """Return whether a finished leaf is of a kind, as `forests.core.counting` counts it."""
    if kind is LeafKind.TRUNCATED:
        return node.truncated
    if node.truncated and node.grade in (Grade.CORRECT, Grade.UNCOMPARED):
        return kind is LeafKind.INCORRECT
    return node.grade is not None and node.grade.value == kind.value


def select(tree: ReasoningTree, *, kind: LeafKind | None, phrase: str) -> Selection:
    """Return the paths that end in a leaf of this kind and hold this text in one of their steps.

    None and an empty text ask for nothing. Letters match in either case.
    """
    pattern = phrase_pattern(phrase)
    found = {node.path for node in tree if node.path and phrase and pattern.search(node.text)}
    behind = _with_all_below(tree, found)
    leaves = [
        leaf.path
        for leaf in tree.leaves()
        if leaf.path
        and (kind is None or is_of_kind(leaf, kind))
        and (not phrase or leaf.path in behind)
    ]
    shown = set(leaves) | _all_above(leaves)
    hits = found & shown if phrase else set(leaves)
    return Selection(shown, hits, _all_above(hits), len(leaves))


def phrase_pattern(phrase: str) -> re.Pattern[str]:
    """Return what finds a text; a blank in it stands for blanks, line ends and Markdown's marks.

    Before a word that begins with a mark it stands for blanks alone, so that nothing found between
    words is ever given back: the time is that of the searched text times the phrase at most.
    """
    first, *words = map(re.escape, phrase.split() or [""])
    between = (r"\s++" if word.startswith(_ESCAPED_MARKS) else r"[\s*_`]++" for word in words)
    pairs = zip(between, words, strict=True)
    return re.compile(first + "".join(gap + word for gap, word in pairs), re.IGNORECASE)


def _with_all_below(tree: ReasoningTree, found: AbstractSet[NodePath]) -> set[NodePath]:
    """Return these nodes, and those below them."""
    behind: set[NodePath] = set()
    for node in tree:  # parents come first
        if node.path in found or (node.path and node.path[:-1] in behind):
            behind.add(node.path)
    return behind


def _all_above(paths: Iterable[NodePath]) -> set[NodePath]:
    """Return the nodes above these, without the root; each is looked at once."""
    above: set[NodePath] = set()
    for path in paths:
        parent = path[:-1]
        while parent and parent not in above:
            above.add(parent)
            parent = parent[:-1]
    return above
