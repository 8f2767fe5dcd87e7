"""K complete rollouts from the root: best-of-N and self-consistency (2203.11171)."""

from collections.abc import Callable, Sequence

from experiment_configs.interfaces import RolloutWorkerConfig
from forests.core.tree import ReasoningTree
from rollouts.core.completions import Completion
from rollouts.core.growing import (
    Changes,
    Expansion,
    add_completions,
    rollouts_from,
    torn_rollouts,
)


class Sampled:
    """Rollouts as they come, split into steps; equal prefixes are merged."""

    def __init__(self, config: RolloutWorkerConfig, finds_answer: Callable[[str], bool]) -> None:
        self.config = config
        self.finds_answer = finds_answer

    def plan(self, tree: ReasoningTree) -> list[Expansion]:
        return [
            *torn_rollouts(self.config, tree),
            *rollouts_from(self.config, tree, tree.root, self.config.num_rollouts),
        ]

    def apply(
        self, tree: ReasoningTree, expansion: Expansion, completions: Sequence[Completion]
    ) -> Changes:
        return add_completions(tree, expansion, completions, self.config, self.finds_answer)
