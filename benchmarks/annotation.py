"""Cost of an annotated step: `omega_prm` against `math_shepherd` with the same simulated policy.

The policy writes solutions of known length in which each step is wrong with a known probability, so
both strategies see the same world. Reports tokens for each annotated step and for each annotated
first error, and the ratio of the strategies.

usage: python benchmarks/annotation.py [--quick] [--json]
"""

import random
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measures import Measure, argument_parser, print_json
from experiment_configs.interfaces import RolloutWorkerConfig
from forests.core.tree import Grade, ReasoningTree
from forests.core.values import estimate_values
from rollouts.steps.completions import Completion, Ending
from rollouts.strategies import STRATEGIES
from rollouts.strategies.base import Expansion, GrowthStrategy

CHANCE_OF_SUCCESS = 0.5
"""Tokens of a whole solution of any length."""
TOKENS_OF_A_STEP = 20
ROLLOUTS_PER_STATE = 8


@dataclass(frozen=True)
class Cost:
    """Cost and annotations of one strategy with solutions of one length."""

    strategy: str
    steps: int
    annotated_steps: int
    annotated_first_errors: int
    tokens: int
    tokens_per_annotated_step: float
    tokens_per_first_error: float


def main() -> None:
    options = argument_parser(__doc__, quick="fewer trees and lengths").parse_args()
    lengths = (4, 16) if options.quick else (4, 8, 16, 32, 64)
    num_trees = 20 if options.quick else 100
    costs = [
        measure(name, steps, num_trees)
        for steps in lengths
        for name in ("math_shepherd", "omega_prm")
    ]
    ratios = {
        steps: {
            "tokens_per_annotated_step": _ratio(costs, steps, "tokens_per_annotated_step"),
            "tokens_per_first_error": _ratio(costs, steps, "tokens_per_first_error"),
        }
        for steps in lengths
    }
    if options.json:
        found = [asdict(cost) for cost in costs]
        print_json("annotation", measures(costs), ratios=ratios, costs=found)
        return
    print("steps  strategy        steps annotated  first errors  tokens/step  tokens/first error")
    for cost in costs:
        print(
            f"{cost.steps:5}  {cost.strategy:14}  {cost.annotated_steps:15}"
            f"  {cost.annotated_first_errors:12}  {cost.tokens_per_annotated_step:11.0f}"
            f"  {cost.tokens_per_first_error:18.0f}"
        )
    for steps, ratio in ratios.items():
        print(f"{steps:5}  math_shepherd / omega_prm: " + ", ".join(
            f"{name} {value:.2f}" for name, value in ratio.items()
        ))  # fmt: skip


def measures(costs: Sequence[Cost]) -> list[Measure]:
    """Return the measures of `omega_prm` against `math_shepherd`."""
    pairs = zip(costs[::2], costs[1::2], strict=True)
    return [
        Measure(
            case=f"{searched.steps} steps, each {what}",
            baseline="math_shepherd, same policy",
            unit="tokens",
            figure=round(getattr(searched, name)),
            baseline_figure=round(getattr(brute, name)),
        )
        for brute, searched in pairs
        for what, name in (
            ("annotated step", "tokens_per_annotated_step"),
            ("first error found", "tokens_per_first_error"),
        )
    ]


def measure(name: str, steps: int, num_trees: int) -> Cost:
    """Return the cost of a strategy on trees whose solutions have this many steps."""
    config = RolloutWorkerConfig(
        strategy=name,
        num_rollouts=ROLLOUTS_PER_STATE,
        rollouts_per_state=ROLLOUTS_PER_STATE,
        num_searches=10,
        max_depth=steps,
        max_nodes=10**6,
    )
    tokens = annotated = first_errors = 0
    for number in range(num_trees):
        tree, spent = grow(STRATEGIES[name](config, lambda *_: None), steps, number)
        tokens += spent
        values = {
            path: value.value
            for path, value in estimate_values(tree, "own_rollouts").items()
            if not tree.is_leaf(path) and tree.nodes[path].depth
            and any(child.drawn.get(len(path)) for child in tree.children(path))
        }  # fmt: skip
        annotated += len(values)
        first_errors += sum(
            tree.nodes[path].text.startswith("wrong") and "wrong" not in tree.steps_text(path[:-1])
            for path in values
        )
    return Cost(
        name, steps, annotated, first_errors, tokens,
        tokens / max(1, annotated), tokens / max(1, first_errors),
    )  # fmt: skip


def grow(strategy: GrowthStrategy, steps: int, number: int) -> tuple[ReasoningTree, int]:
    """Return a grown tree and the tokens that were sampled for it."""
    tree, tokens = ReasoningTree(), 0
    while expansions := strategy.plan(tree):
        for expansion in expansions:
            completions = sample(expansion, steps, number)
            tokens += sum(completion.tokens for completion in completions)
            strategy.apply(tree, expansion, completions)
            for leaf in tree.leaves():
                if leaf.grade is None:
                    is_wrong = "wrong" in tree.steps_text(leaf.path)
                    leaf.grade = Grade.INCORRECT if is_wrong else Grade.CORRECT
    return tree, tokens


def sample(expansion: Expansion, steps: int, number: int) -> Sequence[Completion]:
    """Return whole solutions. All steps differ, as with a model at temperature 1."""
    chance_of_error = 1 - CHANCE_OF_SUCCESS ** (1 / steps)
    chance = random.Random(f"{number}/{expansion.seed}")
    completions = []
    for _ in range(expansion.num_samples):
        texts = [
            f"{'wrong' if chance.random() < chance_of_error else 'right'} {chance.random()}\n"
            for _ in range(steps - len(expansion.node))
        ]
        completions.append(
            Completion("".join(texts), Ending.SOLUTION, tokens=TOKENS_OF_A_STEP * len(texts))
        )
    return completions


def _ratio(costs: Sequence[Cost], steps: int, name: str) -> float:
    brute, searched = (
        next(getattr(cost, name) for cost in costs if (cost.steps, cost.strategy) == (steps, which))
        for which in ("math_shepherd", "omega_prm")
    )
    return round(float(brute / searched), 2)


if __name__ == "__main__":
    main()
