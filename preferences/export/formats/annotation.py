"""The annotated part of a tree: the dataset as the paper of its strategy defines it.

Math-Shepherd (2312.08935, section 3.3) labels every step of the solutions drawn from the root by
completions drawn from the step. These completions are evidence, not solutions of the dataset.

OmegaPRM (2406.06592, section 3.3) labels states: prefixes from which k rollouts were drawn. Its
binary search skips steps, so an edge between two states can span several steps. These steps become
one labelled step, and nothing after the last state of a path has a label.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from experiment_configs.refinements import Refinement
from forests.core.standings import Standing, draws_rollouts, standings, steps_to_decide
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
    """Prefixes from which whole rollouts were drawn; after a refinement, those that are decided."""
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
    def of_refined(
        cls,
        strategy: str,
        refinement: Refinement,
        tree: ReasoningTree,
        steps: Collection[NodePath] | None,
    ) -> "Annotation":
        """Return the decided steps of a forest that was refined for labels.

        `steps`: those that were to be decided; None: the tree needed no rollouts.
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

    `is_progress`: whether the values are the progress of steps, which then adds up.
    """
    if annotation.kind == "solutions":
        return _annotated_solutions(tree, annotation, left_out), values
    left_out["rollouts_that_only_annotate"] += sum(1 for leaf in tree.leaves() if leaf.path)
    return _state_tree(tree, values, annotation.steps, is_progress=is_progress)


def is_drawn_from_root(leaf: TreeNode) -> bool:
    return leaf.drawn.get(len(ROOT), 0) > 0


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
        is_whole = inner <= annotation.steps
        if not is_drawn_from_root(leaf) and not (annotation.is_drawn_stepwise and is_whole):
            left_out["rollouts_that_only_annotate"] += 1
        elif not is_whole:
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
