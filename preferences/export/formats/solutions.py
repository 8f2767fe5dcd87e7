"""The solutions of a tree, each once, with the values of their steps."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import takewhile
from typing import NamedTuple, TypeAlias

from forests.core.certainty.evidence import known_interval
from forests.core.opinions.judged import JudgedTree
from forests.core.tree import NodePath, ReasoningTree, TreeNode
from preferences.export.formats.annotation import annotated_part
from preferences.export.formats.base import Item, RowOptions


class Step(NamedTuple):
    """A step of a solution with its value and the samples behind it."""

    text: str
    value: float
    leaves: int
    interval: tuple[float, float] | None
    """The 95 % interval of the value; None for scores and hard values."""


Solution: TypeAlias = list[Step]


def labelled_solutions(
    item: Item, options: RowOptions, dropped: Counter[str]
) -> Iterator[Solution]:
    """Yield each solution once, cut at the first error if the options say so."""
    seen: set[tuple[str, ...]] = set()
    annotated = only_annotated(item, options, dropped)
    whole = _judged_solutions if item.judges_steps else _whole_solutions
    for _, solution in whole(annotated, options, dropped) if annotated else ():
        kept = _until_first_error(solution, options) if options.cut_at_first_error else solution
        texts = tuple(step.text for step in kept)
        if texts in seen:
            dropped["solutions_repeated"] += 1
        else:
            seen.add(texts)
            yield kept


def _judged_solutions(
    item: Item, options: RowOptions, dropped: Counter[str]
) -> Iterator[tuple[TreeNode, Solution]]:
    """Yield each leaf with its steps, if scorers judged them all.

    If solutions are cut at the first error, steps after it need no judgement and are left out.
    """
    for leaf, steps in written_solutions(item.tree, dropped):
        solution: Solution = []
        for node in steps:
            one = item.values[node.path]
            if one.value is None:
                dropped["solutions_not_judged"] += 1
                break
            solution.append(Step(node.text, one.value, one.leaves, known_interval(one)))
            if options.cut_at_first_error and not options.is_good(one.value):
                yield leaf, solution
                break
        else:
            yield leaf, solution


def _whole_solutions(
    item: Item, _options: RowOptions, dropped: Counter[str]
) -> Iterator[tuple[TreeNode, Solution]]:
    """Yield each leaf with its steps, without blank ones."""
    made: dict[NodePath, Step] = {}  # solutions share their first steps
    for node in item.tree:
        one = item.values[node.path]
        if one.value is not None:
            made[node.path] = Step(node.text, one.value, one.leaves, known_interval(one))
    for leaf, steps in written_solutions(item.tree, dropped):
        known = [made[node.path] for node in steps if node.path in made]
        if len(known) < len(steps) or leaf.path not in made:
            dropped["solutions_without_result"] += 1
        else:
            yield leaf, known


def only_annotated(item: Item, options: RowOptions, dropped: Counter[str]) -> Item | None:
    """Return the item with only the steps that may be labelled; None if there are none."""
    if item.annotation is None:
        return item
    tree, values = annotated_part(
        item.tree, item.values, item.annotation, dropped, is_progress=options.is_progress
    )
    if len(tree) == 1:
        dropped["trees_without_annotated_steps"] += 1
        return None
    critic = item.critic
    if item.annotation.kind == "states":  # a step of the result may be several steps of the tree
        dropped["reasons_of_merged_steps"] += len(critic.rationales)
        critic = JudgedTree()
    return replace(item, tree=tree, values=values, annotation=None, critic=critic)


def written_solutions(
    tree: ReasoningTree, dropped: Counter[str]
) -> Iterator[tuple[TreeNode, list[TreeNode]]]:
    """Yield each leaf with the steps on its path that are not blank."""
    has_steps = False
    for leaf in tree.leaves():
        steps = [node for node in tree.path_nodes(leaf.path) if node.text.strip()]
        has_steps |= bool(steps)
        if steps:
            yield leaf, steps
        elif leaf.path:
            dropped["solutions_without_steps"] += 1
    if not has_steps:
        dropped["trees_without_steps"] += 1


def _until_first_error(solution: Solution, options: RowOptions) -> Solution:
    """Return the steps up to and including the first that is not good."""
    good = list(takewhile(lambda step: options.is_good(step.value), solution))
    return solution[: len(good) + 1]
