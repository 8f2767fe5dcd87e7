"""Cut the solutions of a tree by another step rule.

Only samples drawn from the root can be cut again: they are independent samples of the policy,
however they are cut. A rollout drawn from an inner node counts for that node, which may end inside
a step of the new tree. The leaves of `branching` are not independent samples of whole solutions:
it continues long solutions more often than short ones.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby

from forests.core.estimators import IMPORTED, RESEGMENTED
from forests.core.tree import ROOT, NodePath, ReasoningTree, TreeNode
from rollouts.steps.rules import StepRule, split_pieces

_WHOLE = ("sampled", RESEGMENTED, IMPORTED)
_FROM_ROOT = ("math_shepherd", "omega_prm")
RESEGMENTABLE = (*_WHOLE, *_FROM_ROOT)
"""Strategies that draw whole solutions from the root, possibly among other samples."""


class ResegmentingError(ValueError):
    """The samples of a tree cannot be cut again; the message gives the reason."""


@dataclass(frozen=True, slots=True)
class Resegmented:
    """A tree cut by another rule."""

    tree: ReasoningTree
    samples: int
    """Finished samples drawn from the root; the same number in both trees."""
    left_out: int
    """Rollouts of the old tree drawn from inner nodes, which the new tree lacks."""


def resegment(
    tree: ReasoningTree,
    rule: StepRule,
    strategy: str,
    rule_of_thoughts: StepRule | None = None,
    *,
    is_refined: bool = False,
) -> Resegmented:
    """Return the samples drawn from the root, cut by a rule, with equal prefixes merged.

    Leaves keep answers, grades and voted answers, because their texts do not change. `max_depth`
    and final answers cut nothing: they already cut the old tree. New steps get tokens and
    log-probabilities in proportion to their characters in the old steps. A torn sample stays open
    at its last stored step.

    `rule_of_thoughts`: where the steps of thoughts end; None: the nodes of thoughts do not change.

    `is_refined`: whether `refine_forest` added rollouts from inner nodes.

    Raises:
        ResegmentingError: the tree does not show that its samples were drawn from the root.
        ConfigError: as `StepRule.split`.
    """
    if strategy in _WHOLE:
        _require_origins(tree, from_root_only=not is_refined)
    found = ReasoningTree()
    samples = left_out = 0
    for node in sorted(tree, key=lambda node: node.path):
        if number := _ending_here(tree, node):
            samples += number if node.is_finished else 0
            old = tree.path_nodes(node.path)
            steps = split_pieces(_pieces(old, rule_of_thoughts), rule, rule_of_thoughts)
            _add(found, old, number, steps)
        if node.is_finished:
            left_out += node.count - node.drawn.get(0, 0)
    return Resegmented(found, samples, left_out)


def _require_origins(tree: ReasoningTree, *, from_root_only: bool) -> None:
    for node in tree:
        if not node.path:
            continue
        if not node.drawn:
            raise ResegmentingError("it does not record where its samples were drawn")
        if from_root_only and set(node.drawn) != {0}:
            raise ResegmentingError(f"its samples were drawn from the depths {sorted(node.drawn)}")


def _ending_here(tree: ReasoningTree, node: TreeNode) -> int:
    """Return how many samples drawn from the root end at a node."""
    if not node.path:
        return 0
    below = sum(child.drawn.get(0, 0) for child in tree.children(node.path))
    return node.drawn.get(0, 0) - below


def _pieces(
    old: Sequence[TreeNode], rule_of_thoughts: StepRule | None
) -> Iterator[tuple[str, bool]]:
    """Yield runs of text or thought to cut; without a rule, each node of a thought by itself."""
    for is_thought, nodes in groupby(old, lambda node: node.is_thought):
        texts = [node.text for node in nodes]
        if is_thought and rule_of_thoughts is None:
            yield from ((text, True) for text in texts)
        else:
            yield "".join(texts), is_thought


def _add(
    tree: ReasoningTree,
    old: Sequence[TreeNode],
    number: int,
    steps: Sequence[tuple[str, bool]],
) -> None:
    """Add `number` samples with the same text to the new tree."""
    parent: NodePath = ROOT
    for step in _new_nodes(old, number, steps):
        sibling = next((one for one in tree.children(parent) if _are_same(one, step)), None)
        if sibling is None:
            step.path = (*parent, tree.next_position(parent))
            tree.add(step)
            parent = step.path
        else:
            sibling.count += number
            sibling.drawn[0] += number
            parent = sibling.path


def _are_same(one: TreeNode, other: TreeNode) -> bool:
    """Return whether merging loses nothing: two nodes have the same text, ending and grade."""
    return _told(one) == _told(other)


def _told(node: TreeNode) -> tuple[object, ...]:
    end = (node.terminal, node.truncated, node.answer, node.grade, node.voted_answer)
    return node.text, node.is_thought, *end


def _new_nodes(
    old: Sequence[TreeNode], number: int, steps: Sequence[tuple[str, bool]]
) -> Iterator[TreeNode]:
    """Yield the new steps of a solution as nodes without paths."""
    last = old[-1]
    old_ends = list(accumulate(len(node.text) for node in old))
    ends = list(accumulate(len(text) for text, _ in steps))
    tokens = [round(reached) for reached in _reached([node.tokens for node in old], old_ends, ends)]
    known = [node.logprob for node in old if node.logprob is not None]
    logprobs = _reached(known, old_ends, ends) if len(known) == len(old) else None
    for place, (start, (text, is_thought)) in enumerate(zip([0, *ends], steps, strict=False)):
        source = old[min(bisect_right(old_ends, start), len(old) - 1)]
        node = TreeNode(
            path=(),
            text=text,
            is_thought=is_thought,
            count=number,
            drawn={0: number},
            tokens=tokens[place] - (tokens[place - 1] if place else 0),
            logprob=None
            if logprobs is None
            else logprobs[place] - (logprobs[place - 1] if place else 0.0),
            model=source.model,
            seed=source.seed,
        )
        if place == len(steps) - 1:
            node.terminal, node.truncated = last.terminal, last.truncated
            node.answer, node.grade = last.answer, last.grade
            node.voted_answer, node.finish_reason = last.voted_answer, last.finish_reason
        yield node


def _reached(amounts: Sequence[float], old_ends: Sequence[int], ends: Sequence[int]) -> list[float]:
    """Return the cumulated amounts of the old steps at the new ends, interpolated by characters."""
    totals = list(accumulate(amounts))
    found = []
    for end in ends[:-1]:
        step = bisect_right(old_ends, end)
        if step == len(old_ends):  # only blank steps follow
            found.append(totals[-1])
            continue
        start = old_ends[step - 1] if step else 0
        before = totals[step - 1] if step else 0
        found.append(before + amounts[step] * (end - start) / (old_ends[step] - start))
    return [*found, totals[-1]]
