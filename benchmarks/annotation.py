"""Annotated steps and decided labels for a million tokens, for every strategy.

One simulated policy writes solutions of known length, half of them correct, and never corrects an
error, so all strategies see the same world.

- A step is annotated if at least K samples count for its value.
- Its hard label is decided if a correct sample passes through it, or K samples do and all are
  incorrect.
- A first error is found if the first wrong step of a path has a decided label.

A server with a prefix cache computes the prompt of a tree once and finds all prefixes in its cache,
if it gets the requests of a tree: see `benchmarks/prefix_cache.py`. So a million tokens are the
samples and the computed prompts; cached prompt tokens have a column of their own.

usage: python benchmarks/annotation.py [--quick] [--json]
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measures import Measure, argument_parser, print_json
from benchmarks.simulated_policy import TOKENS_OF_A_PROMPT, Kind, Policy, Spent
from experiment_configs.interfaces import RolloutWorkerConfig
from experiment_configs.refinements import Refinement
from forests.core.certainty.standings import steps_to_decide
from forests.core.estimators import estimators_of
from forests.core.tree import NodePath, ReasoningTree
from forests.core.values import NodeValue, estimate_values
from rollouts.strategies import STRATEGIES
from rollouts.strategies.base import GrowthStrategy
from rollouts.strategies.refining import Refining

K = 8
"""Samples for the value of a step."""
ERRORS_STAY = Kind("errors stay", corrects=0.0, easy=50.0, hard=50.0)
SAMPLED = RolloutWorkerConfig(
    strategy="sampled", num_rollouts=8, rollouts_per_state=K, num_searches=10, branching=(8, 4, 1),
    max_nodes=10**6,
)  # fmt: skip
CONFIGS = {name: replace(SAMPLED, strategy=name) for name in STRATEGIES.built_in}
BASELINE = "math_shepherd"
REFINED = "sampled, then refine_forest"


@dataclass
class Yield:
    """The results and costs of a strategy, with solutions of one length."""

    strategy: str
    steps: int
    annotated: int = 0
    decided: int = 0
    first_errors: int = 0
    spent: Spent = field(default_factory=Spent)
    trees: int = 0

    @property
    def computed_tokens(self) -> int:
        """Tokens of the samples, and of one prompt for each tree: no cache has that yet."""
        return self.spent.tokens + self.trees * TOKENS_OF_A_PROMPT

    @property
    def cached_tokens(self) -> int:
        return self.spent.prompt_tokens - self.trees * TOKENS_OF_A_PROMPT

    def per_million(self, number: int) -> int:
        return round(1_000_000 * number / self.computed_tokens)

    def add(self, tree: ReasoningTree, values: dict[NodePath, NodeValue]) -> None:
        """Count the steps of a tree. Leaves are graded, so they need no annotation."""
        is_right = estimate_values(tree, "any")
        for path, one in values.items():
            if not path or tree.is_leaf(path) or one.value is None:
                continue
            is_decided = is_right[path].value == 1 or one.leaves >= K
            is_wrong = tree.nodes[path].text.startswith("wrong")
            self.annotated += one.leaves >= K
            self.decided += is_decided
            self.first_errors += (
                is_decided and is_wrong and not tree.nodes[path[:-1]].text.startswith("wrong")
            )


def main() -> None:
    options = argument_parser(__doc__, quick="fewer trees and lengths").parse_args()
    lengths, num_trees = ((4, 16), 20) if options.quick else ((4, 8, 16, 32), 60)
    found = [one for steps in lengths for one in yields(steps, num_trees)]
    if options.json:
        print_json("annotation", measures(found), found=[asdict(one) for one in found])
        return
    print(
        f"{'':5}  {'':27}  {'for a million tokens':32}  tokens of a tree\n"
        "steps  strategy                     annotated  decided  first errors  computed  cached"
    )
    for one in found:
        print(
            f"{one.steps:5}  {one.strategy:27}  {one.per_million(one.annotated):9,}"
            f"  {one.per_million(one.decided):7,}  {one.per_million(one.first_errors):12,}"
            f"  {one.computed_tokens // one.trees:8,}  {one.cached_tokens // one.trees:6,}"
        )


def measures(found: Sequence[Yield]) -> list[Measure]:
    """Return what each strategy finds for a million tokens, against Math-Shepherd."""
    bare = {one.steps: one for one in found if one.strategy == BASELINE}
    return [
        Measure(
            case=f"{one.steps} steps, {one.strategy}, {what}",
            baseline=f"{BASELINE}, same policy",
            unit="for a million tokens",
            figure=one.per_million(getattr(one, name)),
            baseline_figure=bare[one.steps].per_million(getattr(bare[one.steps], name)),
        )
        for one in found
        if one.strategy != BASELINE
        for what, name in (
            ("annotated steps", "annotated"),
            ("decided labels", "decided"),
            ("first errors", "first_errors"),
        )
    ]


def yields(steps: int, num_trees: int) -> Iterator[Yield]:
    """Yield what each strategy finds in trees whose solutions have this many steps."""
    for name, usual in CONFIGS.items():
        config, found = replace(usual, max_depth=steps), Yield(name, steps)
        for item in range(num_trees):
            policy, tree = Policy(ERRORS_STAY, steps, item), ReasoningTree()
            found.spent.add(policy.grow(_strategy(config), tree))
            found.add(tree, estimate_values(tree, estimators_of(name)[0]))
            found.trees += 1
        yield found
    yield _refined(steps, num_trees)


def _refined(steps: int, num_trees: int) -> Yield:
    goal = Refinement(goal="labels", most_rollouts=K).as_dict()
    plain, found = replace(SAMPLED, max_depth=steps), Yield(REFINED, steps)
    for item in range(num_trees):
        policy, tree = Policy(ERRORS_STAY, steps, item), ReasoningTree()
        found.spent.add(policy.grow(_strategy(plain), tree))
        wanted = steps_to_decide("sampled", tree)
        refining = Refining(replace(plain, refinement=goal), lambda *_: None, steps=wanted)
        found.spent.add(policy.grow(refining, tree))
        found.add(tree, estimate_values(tree, "through_rollouts"))
        found.trees += 1
    return found


def _strategy(config: RolloutWorkerConfig) -> GrowthStrategy:
    return STRATEGIES[config.strategy](config, lambda *_: None)


if __name__ == "__main__":
    main()
