"""Thoughts of reasoning models in a tree: runs of nodes, separate from the answer that follows."""

from dataclasses import dataclass

from forests.core.tree import ReasoningTree, TreeNode


@dataclass(frozen=True, slots=True)
class ThoughtCount:
    """How much of a tree is thought."""

    thoughts: int
    """Number of different thoughts, finished or cut."""
    tokens: int
    """Tokens of all samples; 0 if the server reports none."""


@dataclass(frozen=True, slots=True)
class ThoughtShare:
    """How much of several trees is thought."""

    trees: int
    steps: int
    thought_steps: int
    """Steps that belong to a thought."""
    tokens: int
    """Tokens of all samples; 0 if the server reports none."""
    thought_tokens: int
    """Tokens of the steps that belong to a thought."""

    @property
    def of_tokens(self) -> float | None:
        """The share of the tokens; None if none were counted."""
        return self.thought_tokens / self.tokens if self.tokens else None


def count_thoughts(tree: ReasoningTree) -> ThoughtCount:
    """Return the number of different thoughts in a tree, and their tokens."""
    return ThoughtCount(
        thoughts=sum(ends_thought(tree, node) for node in tree),
        tokens=sum(node.tokens * node.count for node in tree if node.is_thought),
    )


def begins_thought(tree: ReasoningTree, node: TreeNode) -> bool:
    """Return whether a node is the first of a thought."""
    return node.is_thought and not (node.path and tree.nodes[node.path[:-1]].is_thought)


def ends_thought(tree: ReasoningTree, node: TreeNode) -> bool:
    """Return whether a node is the last of a thought: an answer or nothing follows."""
    below = tree.children(node.path)
    return node.is_thought and (not below or any(not child.is_thought for child in below))
