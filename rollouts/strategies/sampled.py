"""K complete rollouts from the root: best-of-N and self-consistency (2203.11171)."""

from collections.abc import Iterator

from experiment_configs.interfaces import RolloutWorkerConfig
from forests.core.tree import ReasoningTree
from rollouts.strategies.base import Expansion, GrowthStrategy, rollouts_from, torn_rollouts


class Sampled(GrowthStrategy):
    """Independent rollouts, split into steps; equal prefixes are merged."""

    def wanted(self, tree: ReasoningTree) -> Iterator[Expansion]:
        yield from torn_rollouts(self.config, tree)
        yield from rollouts_from(self.config, tree, tree.root, self.config.num_rollouts)

    @classmethod
    def most_nodes(cls, config: RolloutWorkerConfig) -> int:
        return config.num_rollouts * config.max_depth
