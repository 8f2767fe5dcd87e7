"""Math-Shepherd (2312.08935, section 3.3): every step of N solutions is annotated by K completions.

A step's value is what the completions drawn from its prefix are worth: eq. 3 (hard, `any`) or eq. 4
(soft, `own_rollouts`). Steps that several solutions share are annotated once. A solution's last
step needs no completions: its own grade is its value.
"""

from collections.abc import Callable, Sequence

from experiment_configs.interfaces import RolloutWorkerConfig
from forests.core.tree import ROOT, ReasoningTree, TreeNode
from rollouts.core.completions import Completion
from rollouts.core.growing import (
    Changes,
    Expansion,
    add_completions,
    rollouts_from,
    torn_rollouts,
)


class MathShepherd:
    """`num_rollouts` solutions from the root, `rollouts_per_state` completions from each prefix."""

    def __init__(self, config: RolloutWorkerConfig, finds_answer: Callable[[str], bool]) -> None:
        self.config = config
        self.finds_answer = finds_answer

    def plan(self, tree: ReasoningTree) -> list[Expansion]:
        """Return torn rollouts and missing solutions first: each solution adds steps to annotate.

        The node limit ends the annotating, not the solutions.
        """
        first = [
            *torn_rollouts(self.config, tree),
            *rollouts_from(self.config, tree, tree.root, self.config.num_rollouts),
        ]
        if first or len(tree) > self.config.max_nodes:
            return first
        return [
            expansion
            for node in list(tree)
            if _is_step_of_solution(node) and not node.is_finished
            for expansion in rollouts_from(self.config, tree, node, self.config.rollouts_per_state)
        ]

    def apply(
        self, tree: ReasoningTree, expansion: Expansion, completions: Sequence[Completion]
    ) -> Changes:
        return add_completions(tree, expansion, completions, self.config, self.finds_answer)


def _is_step_of_solution(node: TreeNode) -> bool:
    """Return whether a solution, that is a rollout drawn from the root, goes through a node."""
    return node.depth > 0 and node.drawn.get(len(ROOT), 0) > 0
