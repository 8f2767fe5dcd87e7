"""Step by step: every frontier node gets `branching[depth]` children."""

from collections.abc import Callable, Sequence

from experiment_configs.interfaces import RolloutWorkerConfig
from forests.core.tree import ReasoningTree
from rollouts.core.completions import Completion
from rollouts.core.growing import Changes, Expansion, add_completions, num_drawn, steps_from


class Branching:
    """Tree sampling to the depth and node limits.

    A step that came up twice is one node with count 2 and gets twice the samples, so the leaves
    are distributed as if nothing had been merged.
    """

    def __init__(self, config: RolloutWorkerConfig, finds_answer: Callable[[str], bool]) -> None:
        self.config = config
        self.finds_answer = finds_answer

    def plan(self, tree: ReasoningTree) -> list[Expansion]:
        """Return the missing samples of all open nodes, shallow ones first.

        The node limit counts each sample as a node, as none may merge.
        """
        nodes_left = self.config.max_nodes - (len(tree) - 1)
        expansions = []
        for node in sorted(tree, key=lambda node: (node.depth, node.path)):
            if node.is_finished or nodes_left <= 0:
                continue
            wanted = self.config.branching_at(node.depth) * node.count
            affordable = num_drawn(tree, node.path, node.depth) + nodes_left
            for expansion in steps_from(self.config, tree, node, min(wanted, affordable)):
                nodes_left -= expansion.num_samples
                expansions.append(expansion)
        return expansions

    def apply(
        self, tree: ReasoningTree, expansion: Expansion, completions: Sequence[Completion]
    ) -> Changes:
        return add_completions(tree, expansion, completions, self.config, self.finds_answer)
