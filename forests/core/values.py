"""Values of nodes, estimated from the graded leaves under them, or given by a scorer.

`own_rollouts` is the Monte-Carlo ("soft") estimate of Math-Shepherd (2312.08935, eq. 4) and of
OmegaPRM (2406.06592); the "hard" one (Math-Shepherd, eq. 3) is whether it is above 0. Where no
search chose the nodes that are sampled further, as in `branching` and `sampled` growth, `leaf_mean`
is the same estimate from more samples; where a sample that goes on gets more leaves than one that
ends, it weighs long solutions more, and `child_mean` does not. Which estimators serve a strategy is
said by `forests.core.estimators`.
"""

from collections import Counter
from math import fsum
from typing import Literal, NamedTuple, TypeAlias, get_args

from forests.core.tree import ROOT, Grade, NodePath, ReasoningTree, Scores, TreeNode

Estimator: TypeAlias = Literal["leaf_mean", "child_mean", "any", "own_rollouts"]
Ungraded: TypeAlias = Literal["incorrect", "exclude"]

ESTIMATORS: tuple[Estimator, ...] = get_args(Estimator)
UNGRADED: tuple[Ungraded, ...] = get_args(Ungraded)


class NodeValue(NamedTuple):
    """What is known of a node."""

    value: float | None
    """None where no leaf under the node has a result; an estimate lies between 0 and 1."""
    leaves: int
    """Samples that the value rests on."""

    @property
    def correct(self) -> int:
        """How many of them are correct, where the value is their share."""
        return round((self.value or 0.0) * self.leaves)


NO_RESULT = NodeValue(None, 0)


def estimate_values(
    tree: ReasoningTree,
    estimator: Estimator = "leaf_mean",
    ungraded: Ungraded = "incorrect",
) -> dict[NodePath, NodeValue]:
    """Return the value of every node of a tree.

    `leaf_mean`: share of correct samples among those that ended under the node. `child_mean`: mean
    of the children's values, each with the samples that gave it as its weight. `any`: 1 if a sample
    under the node is correct. `own_rollouts`: share of correct samples among those drawn from the
    node itself, not from its ancestors or descendants; nodes from which none was drawn to its end
    have their `leaf_mean`. Leaves that were cut or gave no answer count as incorrect, or with
    `ungraded="exclude"` have no result. Leaves to which growth has not come, and those whose answer
    nobody could compare, never have one. Linear in the nodes.
    """
    combining: Estimator = "leaf_mean" if estimator == "own_rollouts" else estimator
    values: dict[NodePath, NodeValue] = {}
    for node in tree.bottom_up():
        children = tree.children(node.path)
        values[node.path] = (
            _combine(children, values, combining) if children else _leaf_value(node, ungraded)
        )
    if estimator == "own_rollouts":
        values |= _own_rollout_values(tree, ungraded)
    return values


def root_value(tree: ReasoningTree, estimator: Estimator) -> float | None:
    """Return what the root prompt is worth; None where no leaf has a result yet.

    The same as `estimate_values`, in a tenth of the time where a share of leaves is asked for:
    growth asks four times a second.
    """
    if estimator in ("child_mean", "any"):
        return estimate_values(tree, estimator)[ROOT].value
    results = [
        (leaf, result) for leaf in tree.leaves() if (result := leaf_result(leaf)) is not None
    ]
    own = [leaf.drawn.get(0, 0) if estimator == "own_rollouts" else 0 for leaf, _ in results]
    samples = own if any(own) else [leaf.count for leaf, _ in results]
    correct = sum(number for number, (_, result) in zip(samples, results, strict=True) if result)
    return correct / sum(samples) if results else None


def scored_values(tree: ReasoningTree, scores: Scores) -> dict[NodePath, NodeValue]:
    """Return the scores of a scorer as values; a node without a score has none.

    Each rests on the samples that ended under its node, whatever they came to.
    """
    ended: dict[NodePath, int] = {}
    for node in tree.bottom_up():
        below = sum(ended[child.path] for child in tree.children(node.path))
        ended[node.path] = node.count if node.is_finished else below
    return {
        path: NodeValue(scores[path], ended[path]) if path in scores else NO_RESULT
        for path in tree.nodes
    }


def _own_rollout_values(tree: ReasoningTree, ungraded: Ungraded) -> dict[NodePath, NodeValue]:
    """Return the values of the nodes from which rollouts were drawn."""
    drawn: Counter[NodePath] = Counter()
    correct: Counter[NodePath] = Counter()
    for leaf in tree.leaves():
        result = leaf_result(leaf, ungraded)
        for depth, number in leaf.drawn.items():
            if result is not None and depth < leaf.depth:
                drawn[leaf.path[:depth]] += number
                correct[leaf.path[:depth]] += number * result
    return {path: NodeValue(correct[path] / number, number) for path, number in drawn.items()}


def leaf_result(leaf: TreeNode, ungraded: Ungraded = "incorrect") -> bool | None:
    """Return whether a leaf is correct; None where it has no result."""
    if not leaf.is_finished or leaf.is_uncompared:
        return None
    has_result = leaf.grade in (Grade.CORRECT, Grade.INCORRECT) and not leaf.truncated
    if ungraded == "exclude" and not has_result:
        return None
    return leaf.is_correct


def _leaf_value(leaf: TreeNode, ungraded: Ungraded) -> NodeValue:
    result = leaf_result(leaf, ungraded)
    return NO_RESULT if result is None else NodeValue(float(result), leaf.count)


def _combine(
    children: list[TreeNode], values: dict[NodePath, NodeValue], estimator: Estimator
) -> NodeValue:
    known = [
        (values[child.path], child.count)
        for child in children
        if values[child.path].value is not None
    ]
    if not known:
        return NO_RESULT
    leaves = sum(value.leaves for value, _ in known)
    numbers = [value.value or 0.0 for value, _ in known]
    if estimator == "any":
        return NodeValue(max(numbers), leaves)
    # Sums that do not depend on the order of the siblings, so that equal values stay equal.
    if estimator == "leaf_mean":
        correct = sum(value.correct for value, _ in known)
        return NodeValue(correct / leaves, leaves)
    weight = sum(count for _, count in known)
    total = fsum(number * count for number, (_, count) in zip(numbers, known, strict=True))
    return NodeValue(total / weight, leaves)
