"""What all refinements share: rollouts are added to a tree that its strategy has completed."""

from collections.abc import Collection, Iterator

from experiment_configs.interfaces import RolloutWorkerConfig
from experiment_configs.refinements import Refinement
from forests.core.certainty.standings import draws_rollouts
from forests.core.tree import NodePath, ReasoningTree
from rollouts.steps.rules import StepRule
from rollouts.strategies.base import (
    Expansion,
    FindAnswer,
    GrowthStrategy,
    requests_from,
    torn_rollouts,
)


class AddedRollouts(GrowthStrategy):
    """Adds rollouts to a tree that its strategy has completed."""

    def __init__(
        self,
        config: RolloutWorkerConfig,
        find_answer: FindAnswer,
        step_rule: StepRule | None = None,
        *,
        steps: Collection[NodePath],
    ) -> None:
        """`steps`: the steps to decide, which the tree's own strategy drew."""
        super().__init__(config, find_answer, step_rule)
        self.refinement = Refinement.from_dict(config.refinement)
        self.steps = steps

    def torn(self, tree: ReasoningTree) -> Iterator[Expansion]:
        """Yield requests that complete torn rollouts: only their first steps were stored."""
        if draws_rollouts(self.config.strategy):
            yield from torn_rollouts(self.config, tree)
            return
        # A single step looks like the first step of a torn rollout. But the complete tree had no
        # open leaf, so each open leaf belongs to a torn rollout.
        for leaf in sorted(tree.leaves(), key=lambda leaf: leaf.path):
            if leaf.is_finished or not leaf.path:
                continue
            number = 0
            for origin, num_begun in sorted(leaf.drawn.items()):
                yield from requests_from(
                    self.config, leaf, num_begun, number, to_end=True, origin=origin
                )
                number += num_begun
