"""What a scorer says of the nodes of one tree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from forests.core.tree import NodePath, Scores


@dataclass(frozen=True, slots=True)
class JudgedTree:
    """What a scorer says of the nodes of one tree."""

    scores: Scores = field(default_factory=dict)
    rationales: Mapping[NodePath, str] = field(default_factory=dict)
    """Why, by node; that of the root is about the whole tree."""
    votes: Mapping[NodePath, Sequence[int]] = field(default_factory=dict)
    """By node: how many votes say right, neutral and wrong. Of a prover, how many of its rollouts
    are correct, without a result, and incorrect."""
    num_steps: int = 0
    """Steps that the tree had; 0 if unknown. It shows whether the tree has grown since."""

    def moved(self, places: Mapping[NodePath, NodePath]) -> "JudgedTree":
        """Return what is said of the nodes that have a new place, by their new places."""
        return JudgedTree(
            {places[path]: one for path, one in self.scores.items() if path in places},
            {places[path]: one for path, one in self.rationales.items() if path in places},
            {places[path]: one for path, one in self.votes.items() if path in places},
        )
