"""Token sequences of the solutions of a tree, as trainers of tree RL read them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from forests.core.tree import NodePath, ReasoningTree


class Chain(StrEnum):
    """Whether the ids of a path are exactly those that the model saw and wrote."""

    WHOLE = "whole"
    BROKEN = "broken"
    """Some ids do not follow those before them: see `KeptTokens.follows`."""
    UNKNOWN = "unknown"
    """A step, or the prompt, has no token ids."""


def chain_of(tree: ReasoningTree, path: NodePath) -> Chain:
    """Return what is known of the ids from the prompt to the end of a step."""
    kept = [tree.root.kept, *(node.kept for node in tree.path_nodes(path))]
    if any(one is None for one in kept):
        return Chain.UNKNOWN
    return Chain.WHOLE if all(one is not None and one.follows for one in kept) else Chain.BROKEN


def ids_to(tree: ReasoningTree, path: NodePath) -> tuple[int, ...] | None:
    """Return the ids from the prompt to the end of a step; None unless the chain is whole."""
    if chain_of(tree, path) is not Chain.WHOLE:
        return None
    kept = [tree.root.kept, *(node.kept for node in tree.path_nodes(path))]
    return tuple(id_ for one in kept if one is not None for id_ in one.ids)


def whole_branches(tree: ReasoningTree) -> Iterator[NodePath]:
    """Yield the leaves whose solutions have all their ids."""
    for leaf in tree.leaves():
        if leaf.path and chain_of(tree, leaf.path) is Chain.WHOLE:
            yield leaf.path


@dataclass(slots=True)
class TokenRatio:
    """`tree_token_ratio`, as AReaL defines it (docs/en/reference/tree_training.md).

    It is the number of nodes of the token tries (one trie for each tree), divided by the sum of the
    lengths of all sequences. A sequence is the prompt and one solution. A ratio of 0.25 means that
    training on tries computes a quarter of the tokens. AReaL also splits a trie that is larger than
    a micro batch; here a tree is one trie.
    """

    unique: int = 0
    total: int = 0

    @property
    def value(self) -> float | None:
        return self.unique / self.total if self.total else None

    def add(self, sequences: Iterable[tuple[int, ...]]) -> None:
        """Add the sequences of one tree."""
        before: tuple[int, ...] = ()
        for sequence in sorted(sequences):
            shared = next(
                (n for n, (a, b) in enumerate(zip(before, sequence, strict=False)) if a != b),
                min(len(before), len(sequence)),
            )
            self.unique += len(sequence) - shared
            self.total += len(sequence)
            before = sequence

    def add_tree(self, tree: ReasoningTree) -> None:
        """Add the solutions of a tree that have all their ids."""
        found = (ids_to(tree, path) for path in whole_branches(tree))
        self.add(ids for ids in found if ids is not None)
