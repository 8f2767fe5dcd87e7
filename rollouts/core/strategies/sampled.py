"""K complete rollouts from the root: best-of-N and self-consistency (2203.11171)."""

from collections.abc import Callable, Sequence

from experiment_configs.interfaces import RolloutWorkerConfig
from forests.core.tree import ReasoningTree, TreeNode
from rollouts.core.completions import Completion
from rollouts.core.growing import (
    Changes,
    Expansion,
    add_completions,
    expansions_of,
    num_samples_below,
)


class Sampled:
    """Rollouts as they come, split into steps; equal prefixes are merged.

    A rollout of which only the beginning was stored is continued from there.
    """

    def __init__(self, config: RolloutWorkerConfig, finds_answer: Callable[[str], bool]) -> None:
        self.config = config
        self.finds_answer = finds_answer

    def plan(self, tree: ReasoningTree) -> list[Expansion]:
        return [
            expansion
            for node in tree
            if not node.is_finished
            for expansion in expansions_of(
                self.config,
                node.path,
                num_samples_below(tree, node.path),
                self._num_wanted(node),
                to_end=True,
            )
        ]

    def apply(
        self, tree: ReasoningTree, expansion: Expansion, completions: Sequence[Completion]
    ) -> Changes:
        return add_completions(tree, expansion, completions, self.config, self.finds_answer)

    def _num_wanted(self, node: TreeNode) -> int:
        return node.count if node.path else self.config.num_rollouts
