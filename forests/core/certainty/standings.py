"""What is known of the hard label of each step, after `refine_forest` or before.

The hard label (Math-Shepherd, 2312.08935, eq. 3) is 1 if one of K rollouts from the step is right.
The estimator `any` gives it, but does not tell whether K rollouts were drawn.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from enum import StrEnum

from experiment_configs.refinements import Refinement
from forests.core.estimators import estimators_of
from forests.core.tree import NodePath, ReasoningTree
from forests.core.values import leaf_result


class Standing(StrEnum):
    """What is known of the hard label of a step."""

    RIGHT = "right"
    """A sample that passes through the step is right."""
    WRONG = "wrong"
    """All K rollouts from the step are wrong."""
    INFERRED = "inferred"
    """All K rollouts from an earlier step are wrong."""
    UNKNOWN = "unknown"
    """K rollouts were drawn, and none has a result."""
    OPEN = "open"
    """Undecided: rollouts are missing."""


def draws_rollouts(strategy: str) -> bool:
    """Return whether a strategy draws solutions from its steps (`own_rollouts`)."""
    return "own_rollouts" in estimators_of(strategy)


def steps_to_decide(strategy: str, tree: ReasoningTree) -> list[NodePath]:
    """Return the steps of a complete tree whose label or rank is wanted, parents first.

    They are the steps of solutions drawn from the root. If the strategy draws none from its steps,
    they are all steps. Steps that end a solution are decided already. The steps of rollouts that a
    refinement adds must not be decided, so call this before the first refinement.
    """
    is_wanted = draws_rollouts(strategy)
    return sorted(
        node.path
        for node in tree
        if node.path and not node.is_finished and (not is_wanted or node.drawn.get(0, 0) > 0)
    )


def standings(
    tree: ReasoningTree, steps: Collection[NodePath], refinement: Refinement
) -> dict[NodePath, Standing]:
    """Return what is known of the label of each step, parents first."""
    right = _prefixes(leaf.path for leaf in tree.leaves() if leaf.is_finished and leaf.is_correct)
    drawn, results = own_rollouts(tree)
    found: dict[NodePath, Standing] = {}
    for step in sorted(steps, key=len):
        if step not in tree.nodes or tree.nodes[step].is_finished:
            continue  # an imported forest may name such steps
        above = found.get(step[:-1])
        if step in right:
            found[step] = Standing.RIGHT
        elif refinement.infers_later and above in (Standing.WRONG, Standing.INFERRED):
            found[step] = Standing.INFERRED
        elif drawn[step] < refinement.most_rollouts:
            found[step] = Standing.OPEN
        else:
            found[step] = Standing.WRONG if results[step] else Standing.UNKNOWN
    return found


def own_rollouts(tree: ReasoningTree) -> tuple[Counter[NodePath], Counter[NodePath]]:
    """Return how many finished rollouts were drawn from each node, and how many have a result."""
    drawn: Counter[NodePath] = Counter()
    results: Counter[NodePath] = Counter()
    for leaf in tree.leaves():
        if leaf.is_finished:
            has_result = leaf_result(leaf) is not None
            for depth, number in leaf.drawn.items():
                if depth < leaf.depth:
                    drawn[leaf.path[:depth]] += number
                    results[leaf.path[:depth]] += number * has_result
    return drawn, results


def _prefixes(paths: Iterable[NodePath]) -> set[NodePath]:
    found: set[NodePath] = set()
    for path in paths:
        depth = len(path)
        while depth >= 0 and path[:depth] not in found:
            found.add(path[:depth])
            depth -= 1
    return found
