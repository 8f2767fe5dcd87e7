"""Refinement for pairs: rollouts are added where the best step after a prefix is not yet known.

The steps with the best and the worst current value after a prefix get a few rollouts each, until
their order has the wanted confidence. LUCB (Kalyanakrishnan et al., 2012) samples at both ends in
the same way. Equally good steps would use up every budget, so drawing also stops if the remaining
rollouts cannot decide the order even with the same shares of correct ones as before. The confidence
is a posterior probability, so checking it often does not change it.
"""

from collections.abc import Iterator

from forests.core.certainty.contests import ContestStanding, contests
from forests.core.tree import ReasoningTree
from rollouts.strategies.added_rollouts import AddedRollouts
from rollouts.strategies.base import Expansion, next_number, requests_from


class RefiningPairs(AddedRollouts):
    """Adds rollouts to the best and the worst step after each prefix."""

    def wanted(self, tree: ReasoningTree) -> list[Expansion]:
        return list(self.torn(tree)) or list(self._rollouts(tree))

    def _rollouts(self, tree: ReasoningTree) -> Iterator[Expansion]:
        """Yield requests for a few rollouts of each side, nearly decided pairs first.

        A few are a sixteenth of the maximum, so that most equal pairs are recognised early.
        """
        size = max(1, self.refinement.most_rollouts // 16)
        found = [
            one
            for one in contests(tree, self.steps, self.refinement)
            if one.standing is ContestStanding.OPEN
        ]
        for contest in sorted(found, key=lambda one: (-one.confidence, one.best)):
            for step, missing in contest.missing.items():
                number, node = next_number(tree, step), tree.nodes[step]
                yield from requests_from(self.config, node, min(size, missing), number, to_end=True)
