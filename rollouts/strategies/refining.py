"""Refinement for labels: rollouts are added to a complete tree where a step is still undecided.

It decides the hard label of each step (Math-Shepherd, 2312.08935, eq. 3), which is 1 if one of K
rollouts from the step is right. Two rules save most of the rollouts, and change no label:

- Drawing from a step stops at its first right rollout, because the label is then known.
- A right rollout also decides all steps that it passes through. So the last undecided step of a
  solution comes first: a right rollout from there decides all steps before it.

With `infers_later`, the first wrong step of a solution is found by binary search, and the steps
after it count as wrong without a rollout (OmegaPRM, 2406.06592, section 3.3). This is an inference:
the model may correct an error in a later step. If it often does, growth without `infers_later` also
costs less.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from experiment_configs.refinements import Refinement
from forests.core.certainty.standings import Standing, own_rollouts, standings
from forests.core.estimators import FOR_PAIRS
from forests.core.tree import NodePath, ReasoningTree, parse_path
from rollouts.strategies.added_rollouts import AddedRollouts
from rollouts.strategies.base import Expansion, GrowthStrategy, next_number, requests_from
from rollouts.strategies.refining_pairs import RefiningPairs


@dataclass(frozen=True, slots=True)
class Probe:
    """A step to draw from next."""

    step: NodePath
    num_drawn: int
    num_open: int
    """Undecided steps of its solution."""
    num_after: int
    """Steps of a rollout from it."""


class Refining(AddedRollouts):
    """Adds rollouts where the hard label of a step is undecided."""

    def wanted(self, tree: ReasoningTree) -> list[Expansion]:
        return list(self.torn(tree)) or [
            expansion
            for probe in probes(tree, self.steps, self.refinement)
            for expansion in self._rollouts(tree, probe)
        ]

    def _rollouts(self, tree: ReasoningTree, probe: Probe) -> Iterator[Expansion]:
        """Yield requests for a quarter of K, then for as many rollouts as were drawn before.

        Drawing one at a time would save a few rollouts, but would send the prefix up to K times.
        """
        most = self.refinement.most_rollouts
        missing = min(most - probe.num_drawn, max(1, most // 4, probe.num_drawn))
        node = tree.nodes[probe.step]
        number = next_number(tree, probe.step)
        yield from requests_from(self.config, node, missing, number, to_end=True)


def refining_or(strategy: GrowthStrategy, steps: Sequence[str] | None) -> GrowthStrategy:
    """Return the strategy that grows a tree now: its own, or the refinement of these steps.

    `steps`: paths as a tree stores them; None: the tree was not reopened by a refinement.
    """
    if steps is None or strategy.config.refinement is None:
        return strategy
    paths = [parse_path(step) for step in steps]
    goal = Refinement.from_dict(strategy.config.refinement).goal
    refining = RefiningPairs if goal == FOR_PAIRS else Refining
    return refining(strategy.config, strategy.find_answer, strategy.step_rule, steps=paths)


def probes(tree: ReasoningTree, steps: Collection[NodePath], refinement: Refinement) -> list[Probe]:
    """Return the steps to draw from now; steps that may decide most for their cost come first.

    At most one step of each path, because its rollouts may decide the others.
    """
    known = standings(tree, steps, refinement)
    open_steps = {step for step, standing in known.items() if standing is Standing.OPEN}
    drawn, _ = own_rollouts(tree)
    found: dict[NodePath, Probe] = {}
    for last in sorted(open_steps - {step[:-1] for step in open_steps}):
        path = [last[:depth] for depth in range(1, len(last) + 1) if last[:depth] in open_steps]
        step = path[len(path) // 2] if refinement.infers_later else last
        found.setdefault(step, Probe(step, drawn[step], len(path), _steps_after(tree, step)))
    # A probed step may also decide the steps after it.
    chosen = [one for one in found.values() if not _has_prefix_among(one.step, found)]
    return sorted(chosen, key=lambda one: (-one.num_open / one.num_after, one.step))


def _has_prefix_among(step: NodePath, others: Collection[NodePath]) -> bool:
    return any(step[:depth] in others for depth in range(1, len(step)))


def _steps_after(tree: ReasoningTree, step: NodePath) -> int:
    """Return how many steps the first solution has after a step."""
    path = step
    while not tree.is_leaf(path):
        path = (*path, 0)
    return max(1, len(path) - len(step))
