"""Math-Shepherd (2312.08935, section 3.3): K completions annotate every step of N solutions.

The completions drawn from a step's prefix estimate its value: eq. 3 (hard, `any`) or eq. 4 (soft,
`own_rollouts`). Steps that several solutions share are annotated once. A solution's last step needs
no completions: its value is its grade.
"""

from experiment_configs.interfaces import RolloutWorkerConfig
from forests.core.tree import ROOT, ReasoningTree, TreeNode
from rollouts.strategies.base import Expansion, GrowthStrategy, rollouts_from, torn_rollouts


class MathShepherd(GrowthStrategy):
    """`num_rollouts` solutions from the root, `rollouts_per_state` completions from each prefix."""

    def wanted(self, tree: ReasoningTree) -> list[Expansion]:
        """Return torn rollouts and missing solutions first, then completions to annotate steps.

        Steps come one solution after the other, so that a tree that reaches `max_nodes` has some
        solutions annotated completely, rather than the first steps of all.
        """
        first = [
            *torn_rollouts(self.config, tree),
            *rollouts_from(self.config, tree, tree.root, self.config.num_rollouts),
        ]
        return first or [
            expansion
            for node in sorted(tree, key=lambda node: node.path)
            if _is_step_of_solution(node) and not node.is_finished
            for expansion in rollouts_from(self.config, tree, node, self.config.rollouts_per_state)
        ]

    @classmethod
    def most_nodes(cls, config: RolloutWorkerConfig) -> int:
        """Return the nodes of N solutions, with K completions per prefix, all of maximum length."""
        per_solution = sum(config.max_depth - depth for depth in range(1, config.max_depth))
        return config.num_rollouts * (config.max_depth + config.rollouts_per_state * per_solution)


def _is_step_of_solution(node: TreeNode) -> bool:
    """Return whether a solution (a rollout drawn from the root) passes through a node."""
    return node.depth > 0 and node.drawn.get(len(ROOT), 0) > 0
