"""Sure pairs for a number of tokens: `refine_forest --goal pairs` against wider `branching`.

A policy draws the true value of each step around that of the step before, as in
`benchmarks/calibration.py`. The pairs are the best and the worst step after each prefix, with a
confidence of at least 0.9. Also reports how many pairs are right, at four levels of confidence. A
pair of equal true values counts as wrong.

usage: python benchmarks/pair_refinement.py [--quick] [--json]
"""

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.calibration import LEAST_PAIRS, LEVELS, POLICIES, Concentration
from benchmarks.measures import Measure, argument_parser, print_json
from experiment_configs.interfaces import RolloutWorkerConfig
from experiment_configs.refinements import Refinement
from forests.core.certainty.contests import steps_to_rank
from forests.core.certainty.evidence import evidence_of
from forests.core.certainty.sibling_prior import PriorEstimator, SiblingPrior
from forests.core.tree import Grade, NodePath, ReasoningTree
from forests.core.values import Estimator, estimate_values
from rollouts.steps.completions import Completion, Ending
from rollouts.strategies import STRATEGIES
from rollouts.strategies.base import GrowthStrategy
from rollouts.strategies.refining_pairs import RefiningPairs

STEPS = 6
TOKENS_OF_A_STEP = 20
TARGET = 0.9
MOST_ROLLOUTS = 32
CALLS = 2
"""How often `refine_forest` is called: each call learns from all rollouts drawn so far."""
REFINED: Sequence[tuple[int, ...]] = ((4, 2, 1), (4, 4, 1))
WIDER: Sequence[tuple[int, ...]] = (
    (4, 2, 1),
    (4, 4, 1),
    (4, 8, 1),
    (4, 4, 2, 1),
    (8, 8, 1),
    (4, 2, 8, 1),
)


@dataclass
class Found:
    """The pairs that one way of growing found with one policy."""

    policy: str
    way: str
    tokens: int = 0
    confidences: list[tuple[float, bool]] = field(default_factory=list)

    def right(self, level: float) -> list[bool]:
        return [is_right for confidence, is_right in self.confidences if confidence >= level]

    def as_line(self) -> str:
        shares = ", ".join(
            f"{level}: {sum(right)}/{len(right)}"
            for level in LEVELS
            for right in [self.right(level)]
        )
        told = f"{self.pairs_per_million:7.1f} pairs per million of {self.tokens:,} tokens"
        return f"{self.policy}; {self.way}; {told}; right at {shares}"

    @property
    def pairs_per_million(self) -> float:
        return len(self.right(TARGET)) / self.tokens * 1e6


class Policy:
    """Writes solutions of one item. The true value of each step is known."""

    def __init__(self, name: str, concentration: Concentration) -> None:
        self.name, self.concentration = name, concentration
        self.values = {"": Random(name).random()}
        self.tokens = 0
        self._spread = lru_cache(maxsize=None)(
            lambda before: concentration(Random(f"{name}/{before}/s"))
        )

    def grow(self, strategy: GrowthStrategy, tree: ReasoningTree) -> None:
        while expansions := strategy.plan(tree):
            for expansion in expansions:
                before = tree.steps_text(expansion.node)
                samples = [
                    self._sample(
                        before, len(expansion.node), expansion.number + i, to_end=expansion.to_end
                    )
                    for i in range(expansion.num_samples)
                ]
                self.tokens += sum(one.tokens for one in samples)
                for node in strategy.apply(tree, expansion, samples).added.values():
                    if node.is_finished:
                        is_right = "right" in node.text
                        node.grade = Grade.CORRECT if is_right else Grade.INCORRECT

    def _sample(self, before: str, depth: int, number: int, *, to_end: bool) -> Completion:
        chance = Random(f"{self.name}/{before}/{number}")
        text, num_steps = "", STEPS - depth if to_end else 1
        for at in range(depth + 1, depth + num_steps + 1):
            if at == STEPS:
                is_right = chance.random() < self.values[before + text]
                text += f"{'right' if is_right else 'wrong'} {chance.random()}\n"
            else:
                mean, s = self.values[before + text], self._spread(before + text)
                text += f"{chance.random()}\n"
                self.values[before + text] = (
                    mean
                    if math.isinf(s)
                    else chance.betavariate(max(mean * s, 1e-6), max((1 - mean) * s, 1e-6))
                )
        ending = Ending.SOLUTION if depth + num_steps == STEPS else Ending.STEP
        return Completion(text, ending, tokens=TOKENS_OF_A_STEP * num_steps)


def main() -> None:
    options = argument_parser(__doc__, quick="fewer trees").parse_args()
    num_trees = 20 if options.quick else 100
    found = []
    for policy in POLICIES:
        for one in measure(policy, num_trees):
            found.append(one)
            print(one.as_line(), file=sys.stderr if options.json else sys.stdout, flush=True)
    if options.json:
        print_json("pair_refinement", measures(found))


def measure(
    policy: str,
    num_trees: int,
    refined: Sequence[tuple[int, ...]] = REFINED,
    wider: Sequence[tuple[int, ...]] = WIDER,
) -> Iterator[Found]:
    """Yield what refinements and what wider trees find for the same items."""
    names = [f"{policy}/{item}" for item in range(num_trees)]
    for branching in refined:
        yield _refined(policy, names, branching)
    for branching in wider:
        yield _plain(policy, names, branching)


def _plain(policy: str, names: Sequence[str], branching: tuple[int, ...]) -> Found:
    policies, trees = _grown(policy, names, branching)
    found = Found(policy, f"branching {branching}", sum(one.tokens for one in policies))
    prior = _prior(trees, "leaf_mean")
    for each, tree in zip(policies, trees, strict=True):
        found.confidences += _pairs(each, tree, prior, "leaf_mean", steps_to_rank(tree))
    return found


def _refined(policy: str, names: Sequence[str], branching: tuple[int, ...]) -> Found:
    policies, trees = _grown(policy, names, branching)
    ranked = [steps_to_rank(tree) for tree in trees]
    for _ in range(CALLS):
        goal = Refinement(
            goal="pairs",
            most_rollouts=MOST_ROLLOUTS,
            target_confidence=TARGET,
            prior=_prior(trees, "through_rollouts").as_dict(),
        )
        config = replace(_config(branching), refinement=goal.as_dict())
        for each, tree, steps in zip(policies, trees, ranked, strict=True):
            each.grow(RefiningPairs(config, lambda *_: None, steps=steps), tree)
    found = Found(policy, f"{branching}, refined", sum(one.tokens for one in policies))
    prior = _prior(trees, "through_rollouts")
    for each, tree, steps in zip(policies, trees, ranked, strict=True):
        found.confidences += _pairs(each, tree, prior, "through_rollouts", steps)
    return found


def _config(branching: tuple[int, ...]) -> RolloutWorkerConfig:
    return RolloutWorkerConfig(
        strategy="branching", branching=branching, max_depth=STEPS, max_nodes=10**6
    )


def _grown(
    policy: str, names: Sequence[str], branching: tuple[int, ...]
) -> tuple[list[Policy], list[ReasoningTree]]:
    policies = [Policy(name, POLICIES[policy]) for name in names]
    trees = [ReasoningTree() for _ in names]
    strategy = STRATEGIES["branching"](_config(branching), lambda *_: None)
    for each, tree in zip(policies, trees, strict=True):
        each.grow(strategy, tree)
    return policies, trees


def _prior(trees: Sequence[ReasoningTree], estimator: Estimator) -> SiblingPrior:
    estimating = PriorEstimator(estimator)
    for tree in trees:
        estimating.add(tree, estimate_values(tree, estimator))
    return estimating.prior()


def _pairs(
    policy: Policy,
    tree: ReasoningTree,
    prior: SiblingPrior,
    estimator: Estimator,
    steps: Sequence[NodePath],
) -> list[tuple[float, bool]]:
    """Return the confidence of the pair after each prefix, and whether its order is right."""
    values = estimate_values(tree, estimator)
    known = evidence_of(tree, values, estimator, correlation=prior.correlation)
    groups: dict[NodePath, list[NodePath]] = {}
    for step in steps:
        groups.setdefault(step[:-1], []).append(step)
    found = []
    for prefix, group in groups.items():
        ranked = sorted(group, key=lambda path: (values[path].value or 0.0, path))
        best, worst = ranked[-1], ranked[0]
        if values[best].value == values[worst].value or best == worst:
            continue
        truth = [_truth(policy, tree, path) for path in (best, worst)]
        siblings = [known[child.path] for child in tree.children(prefix) if child.path in known]
        chance = prior.chance_better(known[best], known[worst], len(best), siblings)
        found.append((chance, truth[0] > truth[1]))
    return found


def _truth(policy: Policy, tree: ReasoningTree, path: NodePath) -> float:
    text = tree.steps_text(path)
    return policy.values[text] if text in policy.values else float("right" in text)


def measures(found: Sequence[Found]) -> list[Measure]:
    """Return the measures: sure pairs per million tokens, and the share of right pairs."""
    plain = {
        (one.policy, one.way): one.pairs_per_million for one in found if "refined" not in one.way
    }
    costs = [
        Measure(
            case=f"{one.policy}: {one.way}, pairs of at least {TARGET}",
            baseline=f"branching {branching}",
            unit="pairs per million completion tokens",
            figure=round(one.pairs_per_million, 1),
            baseline_figure=round(plain[one.policy, f"branching {branching}"], 1),
        )
        for one in found
        if "refined" in one.way
        for branching in WIDER
        if (one.policy, f"branching {branching}") in plain
    ]
    shares = [
        Measure(
            case=f"{one.policy}: {one.way}, confidence at least {level}",
            baseline="the confidence",
            unit="right",
            figure=round(sum(right) / len(right), 3) if len(right) >= LEAST_PAIRS else None,
            baseline_figure=level,
            at_least=1.0,
            note="" if len(right) >= LEAST_PAIRS else f"{sum(right)} of {len(right)} right",
        )
        for one in found
        for level in LEVELS
        for right in [one.right(level)]
    ]
    return [*costs, *shares]


if __name__ == "__main__":
    main()
