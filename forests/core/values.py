"""Values of nodes: Monte Carlo estimates from the graded leaves below them, or a scorer's scores.

`own_rollouts` is the soft estimate of Math-Shepherd (2312.08935, eq. 4) and of OmegaPRM
(2406.06592). The hard estimate (Math-Shepherd, eq. 3) is 1 if the soft one is above 0. If no
search chose which nodes to sample further, as in `branching` and `sampled` growth, `leaf_mean`
estimates the same from more samples. If samples that continue get more leaves than samples that
end, `leaf_mean` gives long solutions more weight; `child_mean` does not. `through_rollouts` stays
unbiased whatever is drawn from later steps. `forests.core.estimators` says which estimators fit a
strategy.
"""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from math import fsum
from typing import Literal, NamedTuple, TypeAlias, get_args

from forests.core.tree import ROOT, Grade, NodePath, ReasoningTree, Scores, TreeNode

Estimator: TypeAlias = Literal["leaf_mean", "child_mean", "any", "own_rollouts", "through_rollouts"]
Ungraded: TypeAlias = Literal["incorrect", "exclude"]

ESTIMATORS: tuple[Estimator, ...] = get_args(Estimator)
UNGRADED: tuple[Ungraded, ...] = get_args(Ungraded)


class NodeValue(NamedTuple):
    """The value of a node and the samples behind it."""

    value: float | None
    """Between 0 and 1 for an estimate; None if no leaf below the node has a result."""
    leaves: int
    """Number of samples that the value rests on."""

    @property
    def correct(self) -> int:
        """How many of the samples are correct, if the value is their share."""
        return round((self.value or 0.0) * self.leaves)


NO_RESULT = NodeValue(None, 0)


def estimate_values(
    tree: ReasoningTree,
    estimator: Estimator = "leaf_mean",
    ungraded: Ungraded = "incorrect",
) -> dict[NodePath, NodeValue]:
    """Return the value of every node of a tree, in time linear in the nodes.

    `leaf_mean`: share of correct samples among those that ended below the node.

    `child_mean`: mean of the children's values, weighted by the samples of each child.

    `any`: 1 if a sample below the node is correct.

    `own_rollouts`: share of correct samples among those drawn from the node itself, not from its
    ancestors or descendants. Nodes without such samples get their `leaf_mean`.

    `through_rollouts`: share of correct samples among those that pass through the node, drawn from
    it or from its ancestors. A sample of a single step ends where its first continuation ended.
    Samples that somebody chose to draw from a later step never count: see `through_rollouts`.

    Leaves that were cut or gave no answer count as incorrect; with `ungraded="exclude"` they have
    no result. Open leaves, and leaves whose answer nobody could compare, never have a result.
    """
    if estimator == "through_rollouts":
        return {path: one.value for path, one in through_rollouts(tree, ungraded).items()}
    if estimator in ("child_mean", "any"):
        values: dict[NodePath, NodeValue] = {}
        for node, children in tree.families():
            values[node.path] = (
                _combine(children, values, estimator) if children else _leaf_value(node, ungraded)
            )
        return values
    values = _leaf_means(tree, ungraded)
    if estimator == "own_rollouts":
        values |= own_rollout_values(tree, ungraded)
    return values


def root_value(tree: ReasoningTree, estimator: Estimator) -> float | None:
    """Return the value of the root prompt; None if no leaf has a result yet.

    Equals the root's value from `estimate_values`, but takes a tenth of the time for estimators
    that are a share of leaves: growth calls it four times a second.
    """
    if estimator in ("child_mean", "any", "through_rollouts"):
        return estimate_values(tree, estimator)[ROOT].value
    results = [
        (leaf, result) for leaf in tree.leaves() if (result := leaf_result(leaf)) is not None
    ]
    own = [leaf.drawn.get(0, 0) if estimator == "own_rollouts" else 0 for leaf, _ in results]
    samples = own if any(own) else [leaf.count for leaf, _ in results]
    correct = sum(number for number, (_, result) in zip(samples, results, strict=True) if result)
    return correct / sum(samples) if results else None


def scored_values(tree: ReasoningTree, scores: Scores) -> dict[NodePath, NodeValue]:
    """Return the scores of a scorer as values; a node without a score has no value.

    Each value rests on all samples that ended below its node, whatever their grade. If none did, as
    below most steps of imported datasets, it rests on the samples of the step itself.
    """
    ended: dict[NodePath, int] = {}
    for node, children in tree.families():
        below = sum(ended[child.path] for child in children)
        ended[node.path] = node.count if node.is_finished else below
    return {
        path: NodeValue(scores[path], ended[path] or node.count) if path in scores else NO_RESULT
        for path, node in tree.nodes.items()
    }


def own_rollout_values(tree: ReasoningTree, ungraded: Ungraded) -> dict[NodePath, NodeValue]:
    """Return the values of the nodes from which rollouts were drawn."""
    drawn: Counter[NodePath] = Counter()
    correct: Counter[NodePath] = Counter()
    for leaf in tree.leaves():
        result = leaf_result(leaf, ungraded)
        for depth, number in leaf.drawn.items():
            if result is not None and depth < leaf.depth:
                drawn[leaf.path[:depth]] += number
                correct[leaf.path[:depth]] += number * result
    return {
        path: NodeValue(correct[path] / number, number) for path, number in drawn.items() if number
    }


class ThroughRollouts(NamedTuple):
    """The samples that pass through a node, one outcome each."""

    value: NodeValue
    squares: float
    """Sum of the squared numbers of samples that share an outcome; 1 for each independent one."""


def through_rollouts(
    tree: ReasoningTree, ungraded: Ungraded = "incorrect"
) -> dict[NodePath, ThroughRollouts]:
    """Return what the samples through each node say of it, without those drawn from later steps.

    A sample ends at the last node that was stored for it. If that node is not a leaf, the sample
    was a single step, and its outcome is that of the node's first continuation. This one was drawn
    before any outcome was known, so no choice can favour it. Leaves of unknown origin count as
    drawn from the root.
    """
    firsts: dict[NodePath, TreeNode] = {}
    samples: Counter[NodePath] = Counter()
    correct: Counter[NodePath] = Counter()
    squares: Counter[NodePath] = Counter()
    for node, children in tree.families():
        firsts[node.path] = firsts[children[0].path] if children else node
        result = leaf_result(firsts[node.path], ungraded)
        for origin, number in _ended_at(node, children).items() if result is not None else ():
            for depth in range(origin, node.depth):
                samples[node.path[:depth]] += number
                correct[node.path[:depth]] += number * bool(result)
                squares[node.path[:depth]] += number**2 if children else number
    found = {}
    for node in tree:
        number = samples[node.path]
        if tree.is_leaf(node.path):
            found[node.path] = ThroughRollouts(_leaf_value(node, ungraded), node.count)
        elif number:
            value = NodeValue(correct[node.path] / number, number)
            found[node.path] = ThroughRollouts(value, squares[node.path])
        else:
            found[node.path] = ThroughRollouts(NO_RESULT, 0)
    return found


def _ended_at(node: TreeNode, children: Sequence[TreeNode]) -> dict[int, int]:
    """Return how many samples end at a node, by the depth of the node they were drawn from."""
    if not children:
        return node.drawn or {0: node.count}
    ended = {
        origin: number - sum(child.drawn.get(origin, 0) for child in children)
        for origin, number in node.drawn.items()
    }
    return {origin: number for origin, number in ended.items() if number > 0}


def leaf_result(leaf: TreeNode, ungraded: Ungraded = "incorrect") -> bool | None:
    """Return whether a leaf is correct; None if it has no result."""
    if leaf.truncated:
        return None if ungraded == "exclude" else False
    if not leaf.terminal or leaf.grade is Grade.UNCOMPARED:
        return None
    if ungraded == "exclude" and leaf.grade not in (Grade.CORRECT, Grade.INCORRECT):
        return None
    return leaf.grade is Grade.CORRECT


def _leaf_value(leaf: TreeNode, ungraded: Ungraded) -> NodeValue:
    result = leaf_result(leaf, ungraded)
    return NO_RESULT if result is None else NodeValue(float(result), leaf.count)


def _leaf_means(tree: ReasoningTree, ungraded: Ungraded) -> dict[NodePath, NodeValue]:
    """Return the share of correct samples among those that ended below each node."""
    shares: dict[NodePath, tuple[int, int]] = {}
    values: dict[NodePath, NodeValue] = {}
    for node, children in tree.families():
        correct = number = 0
        if children:
            for child in children:
                right, ended = shares[child.path]
                correct += right
                number += ended
        elif (result := leaf_result(node, ungraded)) is not None:
            correct, number = node.count * result, node.count
        shares[node.path] = correct, number
        values[node.path] = _share(correct, number)
    return values


@lru_cache(maxsize=2**12)  # a forest has few different values
def _share(correct: int, number: int) -> NodeValue:
    return NodeValue(correct / number, number) if number else NO_RESULT


def _combine(
    children: Sequence[TreeNode], values: dict[NodePath, NodeValue], estimator: Estimator
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
    # `fsum` is exact, so equal values stay equal whatever the order of the siblings.
    weight = sum(count for _, count in known)
    total = fsum(number * count for number, (_, count) in zip(numbers, known, strict=True))
    return NodeValue(total / weight, leaves)
