"""Cost of hard labels: `refine_forest` against `math_shepherd` with the same simulated policies.

A policy errs in each step with a chance, and corrects an error in each later step with another one.
The items differ in difficulty: their pass rates have a beta distribution. A sample depends only on
the text before it and on its number, so both ways see the same samples. Reports the share of steps
with the same hard label (`any`, K = 16), and the tokens, solutions included.

usage: python benchmarks/adaptive.py [--quick] [--json]
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measures import Measure, argument_parser, print_json
from benchmarks.simulated_policy import Kind, Policy
from experiment_configs.interfaces import RolloutWorkerConfig
from experiment_configs.refinements import Refinement
from forests.core.certainty.standings import steps_to_decide
from forests.core.tree import ReasoningTree
from forests.core.values import estimate_values
from rollouts.strategies import STRATEGIES
from rollouts.strategies.base import GrowthStrategy
from rollouts.strategies.refining import Refining

ROLLOUTS = 16
SOLUTIONS = 8
LARGEST_SHARE_OF_TOKENS = 0.3
SMALLEST_SHARE_OF_LABELS = 0.99


KINDS = (
    Kind("errors stay", 0.0, 0.6, 0.6),
    Kind("errors stay, hard items", 0.0, 0.5, 1.5),
    Kind("1 % corrected a step", 0.01, 0.6, 0.6),
    Kind("5 % corrected a step, hard items", 0.05, 0.5, 1.5),
    Kind("10 % corrected a step", 0.1, 0.6, 0.6),
)


@dataclass
class Found:
    """The results of one way to treat later steps, and those of Math-Shepherd."""

    kind: str
    steps: int
    later_steps: str
    share_equal: float
    tokens: int
    tokens_of_math_shepherd: int
    requests: int
    requests_of_math_shepherd: int
    prompt_tokens: int
    prompt_tokens_of_math_shepherd: int


def main() -> None:
    options = argument_parser(__doc__, quick="fewer items").parse_args()
    num_items = 10 if options.quick else 40
    lengths = (6,) if options.quick else (6, 12)
    found = [one for steps in lengths for kind in KINDS for one in measure(kind, steps, num_items)]
    if options.json:
        print_json("adaptive", measures(found), found=[asdict(one) for one in found])
        return
    print("steps  later  equal labels  tokens  with prompts  requests  kind")
    for one in found:
        whole = one.tokens_of_math_shepherd + one.prompt_tokens_of_math_shepherd
        print(
            f"{one.steps:5}  {one.later_steps:5}  {one.share_equal:12.4f}"
            f"  {one.tokens / one.tokens_of_math_shepherd:6.3f}"
            f"  {(one.tokens + one.prompt_tokens) / whole:12.3f}"
            f"  {one.requests / one.requests_of_math_shepherd:8.2f}  {one.kind}"
        )


def measures(found: Sequence[Found]) -> list[Measure]:
    """Return the measures: tokens and equal labels, each against Math-Shepherd."""
    costs = [
        Measure(
            case=f"{one.steps} steps, {one.kind}, later steps: {one.later_steps}, tokens",
            baseline="math_shepherd, same samples",
            unit="tokens",
            figure=one.tokens,
            baseline_figure=one.tokens_of_math_shepherd,
            at_most=LARGEST_SHARE_OF_TOKENS,
        )
        for one in found
    ]
    labels = [
        Measure(
            case=f"{one.steps} steps, {one.kind}, later steps: {one.later_steps}, equal labels",
            baseline="math_shepherd, same samples",
            unit="share of steps",
            figure=round(one.share_equal, 4),
            baseline_figure=1.0,
            at_least=SMALLEST_SHARE_OF_LABELS,
        )
        for one in found
    ]
    return [*costs, *labels]


def measure(kind: Kind, steps: int, num_items: int) -> list[Found]:
    """Return the results of both ways to treat later steps, on the same items."""
    both = [Found(kind.name, steps, later, 0.0, 0, 0, 0, 0, 0, 0) for later in ("draw", "infer")]
    num_equal, num_steps = [0, 0], 0
    plain = RolloutWorkerConfig(
        strategy="sampled", num_rollouts=SOLUTIONS, rollouts_per_state=ROLLOUTS,
        max_depth=steps, max_nodes=10**6,
    )  # fmt: skip
    for item in range(num_items):
        policy, whole = Policy(kind, steps, item), ReasoningTree()
        spent = policy.grow(_strategy(replace(plain, strategy="math_shepherd")), whole)
        wanted = _labels(whole)
        for number, one in enumerate(both):
            tree = ReasoningTree()
            first = policy.grow(_strategy(plain), tree)
            decided = steps_to_decide("sampled", tree)
            goal = Refinement(
                goal="labels", most_rollouts=ROLLOUTS, infers_later=one.later_steps == "infer"
            )
            config = replace(plain, refinement=goal.as_dict())
            more = policy.grow(Refining(config, lambda *_: None, steps=decided), tree)
            labels = _labels(tree)
            texts = [tree.steps_text(step) for step in decided]
            num_equal[number] += sum(labels[text] == wanted[text] for text in texts)
            num_steps += len(texts) * (number == 0)
            one.tokens += first.tokens + more.tokens
            one.requests += first.requests + more.requests
            one.prompt_tokens += first.prompt_tokens + more.prompt_tokens
            one.tokens_of_math_shepherd += spent.tokens
            one.requests_of_math_shepherd += spent.requests
            one.prompt_tokens_of_math_shepherd += spent.prompt_tokens
    for one, equal in zip(both, num_equal, strict=True):
        one.share_equal = equal / num_steps
    return both


def _strategy(config: RolloutWorkerConfig) -> GrowthStrategy:
    return STRATEGIES[config.strategy](config, lambda *_: None)


def _labels(tree: ReasoningTree) -> dict[str, float | None]:
    return {
        tree.steps_text(path): value.value for path, value in estimate_values(tree, "any").items()
    }


if __name__ == "__main__":
    main()
