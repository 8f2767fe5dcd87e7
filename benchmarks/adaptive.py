"""Cost of hard labels: `refine_forest` against `math_shepherd` with the same simulated policies.

A policy errs in each step with a chance, and corrects an error in each later step with another one.
The items differ in difficulty: their pass rates have a beta distribution. A sample depends only on
the text before it and on its number, so both ways see the same samples. Reports the share of steps
with the same hard label (`any`, K = 16), and the tokens, solutions included.

usage: python benchmarks/adaptive.py [--quick] [--json]
"""

import random
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measures import Measure, argument_parser, print_json
from experiment_configs.interfaces import RolloutWorkerConfig
from experiment_configs.refinements import Refinement
from forests.core.certainty.standings import steps_to_decide
from forests.core.tree import Grade, ReasoningTree
from forests.core.values import estimate_values
from rollouts.steps.completions import Completion, Ending
from rollouts.strategies import STRATEGIES
from rollouts.strategies.base import Expansion, GrowthStrategy
from rollouts.strategies.refining import Refining

ROLLOUTS = 16
SOLUTIONS = 8
TOKENS_OF_A_STEP = 20
TOKENS_OF_A_PROMPT = 200
LARGEST_SHARE_OF_TOKENS = 0.3
SMALLEST_SHARE_OF_LABELS = 0.99


@dataclass(frozen=True)
class Kind:
    """Simulated policies and items of one kind."""

    name: str
    corrects: float
    """Chance of correcting an error, in each later step."""
    easy: float
    hard: float
    """Pass rates are Beta(easy, hard)."""


KINDS = (
    Kind("errors stay", 0.0, 0.6, 0.6),
    Kind("errors stay, hard items", 0.0, 0.5, 1.5),
    Kind("1 % corrected a step", 0.01, 0.6, 0.6),
    Kind("5 % corrected a step, hard items", 0.05, 0.5, 1.5),
    Kind("10 % corrected a step", 0.1, 0.6, 0.6),
)


@dataclass
class Found:
    """What one way found, against Math-Shepherd."""

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


@dataclass
class Spent:
    """What growing one tree took."""

    tokens: int = 0
    requests: int = 0
    prompt_tokens: int = 0


class Policy:
    """Writes solutions for one item."""

    def __init__(self, kind: Kind, steps: int, item: int) -> None:
        self.steps, self.corrects = steps, kind.corrects
        self.name = f"{kind.name}/{steps}/{item}"
        pass_rate = random.Random(self.name).betavariate(kind.easy, kind.hard)
        self.errs = chance_of_error(pass_rate, kind.corrects, steps)

    def grow(self, strategy: GrowthStrategy, tree: ReasoningTree) -> Spent:
        """Grow a tree to its end, and return what that took."""
        spent = Spent()
        while expansions := strategy.plan(tree):
            for expansion in expansions:
                completions = self.sample(tree, expansion)
                spent.requests += 1
                spent.tokens += sum(one.tokens for one in completions)
                spent.prompt_tokens += TOKENS_OF_A_PROMPT + TOKENS_OF_A_STEP * len(expansion.node)
                for node in strategy.apply(tree, expansion, completions).added.values():
                    if node.is_finished:
                        is_wrong = node.text.startswith("wrong")
                        node.grade = Grade.INCORRECT if is_wrong else Grade.CORRECT
        return spent

    def sample(self, tree: ReasoningTree, expansion: Expansion) -> Sequence[Completion]:
        before = tree.steps_text(expansion.node)
        is_wrong = tree.nodes[expansion.node].text.startswith("wrong")
        return [
            self._sample(
                f"{self.name}/{before}/{expansion.number + i}", len(expansion.node), is_wrong
            )
            for i in range(expansion.num_samples)
        ]

    def _sample(self, seed: str, depth: int, is_wrong: bool) -> Completion:
        chance, texts = random.Random(seed), []
        for _ in range(self.steps - depth):
            is_wrong = chance.random() >= self.corrects if is_wrong else chance.random() < self.errs
            texts.append(f"{'wrong' if is_wrong else 'right'} {chance.random()}\n")
        return Completion("".join(texts), Ending.SOLUTION, tokens=TOKENS_OF_A_STEP * len(texts))


def chance_of_error(pass_rate: float, corrects: float, steps: int) -> float:
    """Return the chance of an error in a step with which this share of solutions is right."""
    low, high = 0.0, 1.0 - corrects
    for _ in range(50):
        middle = (low + high) / 2
        stays = corrects / (middle + corrects) if middle + corrects else 1.0
        is_easier = stays + (1 - stays) * (1 - middle - corrects) ** steps > pass_rate
        low, high = (middle, high) if is_easier else (low, middle)
    return low


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
    """Return both ways of treating later steps, on the same items."""
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
