"""Search in a tree: steps that contain a text, on paths to leaves of one kind."""

import re
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum

from forests.core.tree import Grade, NodePath, ReasoningTree, TreeNode

_ESCAPED_MARKS = (r"\*", "_", "`")


class LeafKind(StrEnum):
    """How a solution ended. A truncated one also has the kind of its grade, but never correct."""

    CORRECT = "correct"
    INCORRECT = "incorrect"
    UNANSWERED = "unanswered"
    UNCOMPARED = "uncompared"
    TRUNCATED = "truncated"


@dataclass(frozen=True, slots=True)
class Selection:
    """The part of a tree that a search finds."""

    shown: AbstractSet[NodePath]
    """Nodes to show: each with all its ancestors, without the root."""
    hits: AbstractSet[NodePath]
    """Steps that contain the text; without a text, the leaves of the kind."""
    opened: AbstractSet[NodePath]
    """Ancestors of the hits."""
    num_leaves: int
    """Number of leaves of the shown paths."""


def is_of_kind(node: TreeNode, kind: LeafKind) -> bool:
    """Return whether a finished leaf is of a kind, as `forests.core.counting` counts it."""
    if kind is LeafKind.TRUNCATED:
        return node.truncated
    if node.truncated and node.grade in (Grade.CORRECT, Grade.UNCOMPARED):
        return kind is LeafKind.INCORRECT
    return node.grade is not None and node.grade.value == kind.value


def select(tree: ReasoningTree, *, kind: LeafKind | None, phrase: str) -> Selection:
    """Return the paths that end in a leaf of this kind and contain this text in one of their steps.

    A kind of None matches all leaves, and an empty text all paths. Case does not matter.
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
    """Return a pattern that finds a phrase, ignoring case.

    Whitespace in the phrase matches any run of whitespace and Markdown marks; before a word that
    begins with a mark, it matches only whitespace. Possessive quantifiers prevent backtracking, so
    the time is at most in proportion to the length of the text times that of the phrase.
    """
    first, *words = map(re.escape, phrase.split() or [""])
    between = (r"\s++" if word.startswith(_ESCAPED_MARKS) else r"[\s*_`]++" for word in words)
    pairs = zip(between, words, strict=True)
    return re.compile(first + "".join(gap + word for gap, word in pairs), re.IGNORECASE)


def _with_all_below(tree: ReasoningTree, found: AbstractSet[NodePath]) -> set[NodePath]:
    """Return these nodes and all their descendants."""
    behind: set[NodePath] = set()
    for node in tree:  # parents come first
        if node.path in found or (node.path and node.path[:-1] in behind):
            behind.add(node.path)
    return behind


def _all_above(paths: Iterable[NodePath]) -> set[NodePath]:
    """Return the ancestors of these nodes, without the root. Visits each node once."""
    above: set[NodePath] = set()
    for path in paths:
        parent = path[:-1]
        while parent and parent not in above:
            above.add(parent)
            parent = parent[:-1]
    return above
