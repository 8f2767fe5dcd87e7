"""Value functions of searches: they give the values of nodes, and the trees to search."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import exp
from random import Random
from typing import Literal, NamedTuple, TypeAlias, get_args

from forests.core.tree import NodePath, ReasoningTree, Scores, TreeNode
from forests.core.values import Estimator, Ungraded, estimate_values
from metrics.core.search.halves import halves

ValueFunctionName: TypeAlias = Literal["labelled", "labelled_held_out", "logprob", "random", "prm"]

VALUE_FUNCTIONS: tuple[ValueFunctionName, ...] = get_args(ValueFunctionName)


@dataclass(frozen=True, kw_only=True)
class ValueOptions:
    """Parameters of a value function."""

    value_function: ValueFunctionName = "labelled"
    estimator: Estimator = "leaf_mean"
    """For `labelled` and `labelled_held_out`: see `estimate_values`."""
    ungraded: Ungraded = "incorrect"
    seed: int = 0
    """For `random`: seeds the values, together with the tree's id."""
    scorer: str = ""
    """For `prm`: the scorer whose scores are the values."""


class SearchSpace(NamedTuple):
    """A tree to search, and the values of its nodes; None for a node without a value."""

    tree: ReasoningTree
    values: Mapping[NodePath, float | None]


ValueFunction: TypeAlias = Callable[[str, ReasoningTree, Scores], list[SearchSpace]]
"""Takes the id of a tree, the tree and its scores; returns searches whose results are averaged,
weighted by the samples that each one searches."""


def value_function(options: ValueOptions) -> ValueFunction:
    """Return the value function that the options name.

    `labelled`: Monte Carlo values from all leaves, including those that the search reaches: an
    oracle. `labelled_held_out`: Monte Carlo values from one half of the leaves guide a search of
    the other half, and vice versa. `logprob`: the model's own confidence in the path. `random`:
    random values, the floor. `prm`: the scores of a reward model.
    """
    functions: dict[ValueFunctionName, ValueFunction] = {
        "labelled": partial(_labelled, options),
        "labelled_held_out": partial(_labelled_held_out, options),
        "logprob": _logprob,
        "random": partial(_random, options.seed),
        "prm": _prm,
    }
    return functions[options.value_function]


def _labelled(
    options: ValueOptions, _tree_id: str, tree: ReasoningTree, _scores: Scores
) -> list[SearchSpace]:
    return [SearchSpace(tree, _estimates(options, tree))]


def _labelled_held_out(
    options: ValueOptions, _tree_id: str, tree: ReasoningTree, _scores: Scores
) -> list[SearchSpace]:
    """Return two searches in which no leaf votes for itself; one if the other half has no leaves.

    Leaving out only the leaf itself would be biased: below a common parent, a correct leaf would
    get one correct vote fewer than its wrong sibling, and the search would prefer the wrong one.
    """
    one, other = halves(tree)
    return [
        SearchSpace(searched, _estimates(options, voting))
        for searched, voting in ((one, other), (other, one))
        if len(searched) > 1
    ]


def _estimates(options: ValueOptions, tree: ReasoningTree) -> dict[NodePath, float | None]:
    values = estimate_values(tree, options.estimator, options.ungraded)
    return {path: value for path, (value, _) in values.items()}


def _logprob(_tree_id: str, tree: ReasoningTree, _scores: Scores) -> list[SearchSpace]:
    """Return the geometric mean of the token probabilities on the path up to each node.

    A step without log-probabilities has no value, and neither has any node below it.
    """
    sums: dict[NodePath, tuple[float, int] | None] = {tree.root.path: (0.0, 0)}
    values: dict[NodePath, float | None] = {}
    for node in tree:  # parents come first
        if node.path:
            total = _longer(sums[node.path[:-1]], node)
            sums[node.path] = total
            values[node.path] = exp(min(0.0, total[0] / total[1])) if total and total[1] else None
    return [SearchSpace(tree, values)]


def _longer(before: tuple[float, int] | None, node: TreeNode) -> tuple[float, int] | None:
    if before is None or (node.tokens and node.logprob is None):
        return None
    return before[0] + (node.logprob or 0.0), before[1] + node.tokens


def _random(seed: int, tree_id: str, tree: ReasoningTree, _scores: Scores) -> list[SearchSpace]:
    numbers = Random(f"{seed}/{tree_id}")
    return [SearchSpace(tree, {path: numbers.random() for path in tree.nodes})]


def _prm(_tree_id: str, tree: ReasoningTree, scores: Scores) -> list[SearchSpace]:
    return [SearchSpace(tree, {path: scores.get(path) for path in tree.nodes})]
