"""The progress that a step makes: its value minus the value of the prefix before it.

Setlur et al. (2410.08146) train process advantage verifiers on it: Q(prefix, step) - V(prefix),
best with the values of a prover, which is a model other than the policy. The value of a step is its
Q, and also the V of the prefix that this step ends. So progress is from -1 to 1, and orders the
steps after one prefix as their values do.
"""

from collections.abc import Mapping
from math import fsum

from forests.core.tree import ROOT, NodePath, ReasoningTree
from forests.core.values import NO_RESULT, NodeValue

# Values such as 0.7 are not exact in binary, but a step that changes nothing must have exactly 0.
_ROUNDING = 1e-9


def progress_values(
    tree: ReasoningTree, values: Mapping[NodePath, NodeValue]
) -> dict[NodePath, NodeValue]:
    """Return the progress of each step, given the value of each node.

    A step has no progress if the step or the prefix before it has no value. The root has none. A
    scorer may leave out thoughts: the step after a thought is then compared with the prefix before
    the thought.
    """
    found = {ROOT: NO_RESULT}
    for node in tree:
        if not node.path:
            continue
        before = node.path[:-1]
        while before and values[before].value is None and tree.nodes[before].is_thought:
            before = before[:-1]
        found[node.path] = _difference(values[node.path], values[before])
    return found


def progress_over(
    tree: ReasoningTree, values: Mapping[NodePath, NodeValue], before: NodePath, path: NodePath
) -> NodeValue:
    """Return the sum of the progress of all steps from a prefix to a node below it."""
    steps = [path[:depth] for depth in range(len(before) + 1, len(path) + 1)]
    known = [
        values[step].value
        for step in steps
        if values[step].value is not None or not tree.nodes[step].is_thought
    ]
    numbers = [one for one in known if one is not None]
    if len(numbers) < len(known) or not numbers:
        return NO_RESULT
    return NodeValue(_exact(fsum(numbers)), values[path].leaves)


def _difference(after: NodeValue, before: NodeValue) -> NodeValue:
    if after.value is None or before.value is None:
        return NO_RESULT
    return NodeValue(_exact(after.value - before.value), after.leaves)


def _exact(number: float) -> float:
    return 0.0 if abs(number) < _ROUNDING else number
