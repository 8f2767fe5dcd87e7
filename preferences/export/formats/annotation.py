"""The annotated part of a tree: the dataset as defined in the paper of the tree's strategy.

Math-Shepherd (2312.08935, section 3.3) draws solutions from the root, and labels each of their
steps by completions drawn from the step. These completions are evidence, not solutions of the
dataset.

OmegaPRM (2406.06592, section 3.3) labels states: prefixes from which k rollouts were drawn. Its
binary search skips steps, so an edge between two states can span several steps. These steps become
one labelled step, and nothing after the last state of a path has a label.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from experiment_configs.refinements import Refinement
from forests.core.certainty.standings import Standing, draws_rollouts, standings, steps_to_decide
from forests.core.tree import ROOT, NodePath, ReasoningTree, TreeNode
from forests.core.values import NodeValue
from preferences.core.progress import progress_over

Kind: TypeAlias = Literal["solutions", "states"]

ANNOTATES: Mapping[str, Kind] = {"math_shepherd": "solutions", "omega_prm": "states"}
"""Strategies that annotate, and what they annotate."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """The steps of a tree that have evidence of their own."""

    kind: Kind
    steps: Set[NodePath]
    """Prefixes from which whole rollouts were drawn. After a refinement for labels, these are the
    decided steps; after a refinement for pairs, the steps that the strategy drew."""
    is_drawn_stepwise: bool = False
    """Whether the strategy draws single steps, so that no solution is drawn from the root."""

    @classmethod
    def of(cls, kind: Kind, tree: ReasoningTree) -> "Annotation":
        steps = {
            leaf.path[:depth]
            for leaf in tree.leaves()
            if leaf.is_finished
            for depth in leaf.drawn
            if depth < leaf.depth
        }
        return cls(kind, steps)

    @classmethod
    def of_strategy(cls, strategy: str, tree: ReasoningTree) -> "Annotation":
        """Return the steps that the strategy drew, for a forest that was refined for pairs.

        If the strategy draws single steps, the first step of an added rollout looks like one of
        them. It belongs to no solution of the strategy, unless it ends a solution.
        """
        draws_whole = draws_rollouts(strategy)
        steps = {
            node.path
            for node in tree
            if node.path
            and (is_drawn_from_root(node) if draws_whole else _is_single_step(tree, node))
        }
        return cls("solutions", steps, is_drawn_stepwise=not draws_whole)

    @classmethod
    def of_refined(
        cls,
        strategy: str,
        refinement: Refinement,
        tree: ReasoningTree,
        steps: Collection[NodePath] | None,
    ) -> "Annotation":
        """Return the decided steps of a forest that was refined for labels.

        `steps`: the steps to decide; None: the tree needed no rollouts.
        """
        wanted = steps_to_decide(strategy, tree) if steps is None else steps
        known = standings(tree, wanted, refinement)
        undecided = (Standing.OPEN, Standing.UNKNOWN)
        decided = {step for step, standing in known.items() if standing not in undecided}
        return cls("solutions", decided, is_drawn_stepwise=not draws_rollouts(strategy))


def annotated_part(
    tree: ReasoningTree,
    values: Mapping[NodePath, NodeValue],
    annotation: Annotation,
    left_out: Counter[str],
    *,
    is_progress: bool = False,
) -> tuple[ReasoningTree, Mapping[NodePath, NodeValue]]:
    """Return a tree of only the annotated steps, with their values; count what is left out.

    `is_progress`: whether the values are the progress of steps; merged steps then add it up.
    """
    if annotation.kind == "solutions":
        return _annotated_solutions(tree, annotation, left_out), values
    left_out["rollouts_that_only_annotate"] += sum(1 for leaf in tree.leaves() if leaf.path)
    return _state_tree(tree, values, annotation.steps, is_progress=is_progress)


def is_solution(annotation: Annotation, tree: ReasoningTree, leaf: TreeNode) -> bool:
    """Return whether the strategy drew a leaf as a solution, not only to value a step."""
    return is_drawn_from_root(leaf) or (
        annotation.is_drawn_stepwise
        and all(_is_single_step(tree, node) for node in tree.path_nodes(leaf.path))
    )


def is_drawn_from_root(node: TreeNode) -> bool:
    return node.drawn.get(len(ROOT), 0) > 0


def _is_single_step(tree: ReasoningTree, node: TreeNode) -> bool:
    """Return whether a sample of one step wrote a node, perhaps after thoughts of that step."""
    origin = max(node.drawn, default=0)
    return all(tree.nodes[node.path[:depth]].is_thought for depth in range(origin + 1, node.depth))


def _annotated_solutions(
    tree: ReasoningTree, annotation: Annotation, left_out: Counter[str]
) -> ReasoningTree:
    """Return the solutions drawn from the root whose steps are all annotated.

    The last step needs no rollouts, because the grade of the solution is its value.
    """
    kept: set[NodePath] = {ROOT}
    for leaf in tree.leaves():
        if not leaf.path:
            continue
        inner = {leaf.path[:depth] for depth in range(1, leaf.depth)}
        if not is_solution(annotation, tree, leaf):
            left_out["rollouts_that_only_annotate"] += 1
        elif not inner <= annotation.steps:
            left_out["solutions_not_fully_annotated"] += 1
        else:
            kept |= {*inner, leaf.path}
    return ReasoningTree.from_nodes(node for node in tree if node.path in kept)


def _state_tree(
    tree: ReasoningTree,
    values: Mapping[NodePath, NodeValue],
    states: Set[NodePath],
    *,
    is_progress: bool,
) -> tuple[ReasoningTree, Mapping[NodePath, NodeValue]]:
    """Return the tree of states; each node contains all steps since the previous state."""
    part = ReasoningTree.from_nodes([tree.root])
    place: dict[NodePath, NodePath] = {ROOT: ROOT}
    found = {ROOT: values[ROOT]}
    for path in sorted(states - {ROOT}, key=lambda path: (len(path), path)):
        before = max((path[:depth] for depth in range(len(path)) if path[:depth] in place), key=len)
        text = "".join(
            tree.nodes[path[:depth]].text for depth in range(len(before) + 1, len(path) + 1)
        )
        parent = place[before]
        place[path] = (*parent, part.next_position(parent))
        part.add(replace(tree.nodes[path], path=place[path], text=text))
        found[place[path]] = (
            progress_over(tree, values, before, path) if is_progress else values[path]
        )
    return part, found
