"""Step-by-step growth: every open node gets `branching[depth]` children."""

from collections.abc import Iterator

from experiment_configs.interfaces import RolloutWorkerConfig
from forests.core.tree import ReasoningTree
from rollouts.strategies.base import Expansion, GrowthStrategy, steps_from


class Branching(GrowthStrategy):
    """Tree sampling up to the depth and node limits.

    A step that was drawn twice is one node with count 2 and gets twice as many samples, so the
    leaves have the same distribution as without merging.
    """

    def wanted(self, tree: ReasoningTree) -> Iterator[Expansion]:
        """Yield the missing samples of all open nodes, shallow ones first."""
        for node in sorted(tree, key=lambda node: (node.depth, node.path)):
            if not node.is_finished:
                wanted = self.config.branching_at(node.depth) * node.count
                yield from steps_from(self.config, tree, node, wanted)

    @classmethod
    def most_nodes(cls, config: RolloutWorkerConfig) -> int:
        total, level = 0, 1
        for depth in range(config.max_depth):
            level *= config.branching_at(depth)
            total += level
        return total
