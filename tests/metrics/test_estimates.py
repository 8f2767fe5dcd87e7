"""Estimators and held-out searches on trees of the real strategies, where the truth is known.

A simulated model writes lines of one letter, and ends after a line by chance or at the limit. Its
solutions are short, so many samples merge. A deviation of more than 4 standard deviations of the
binomial comes up once in 15,000 runs; the seeds are fixed.
"""

from collections.abc import Callable, Iterable
from functools import cache, partial
from math import sqrt
from random import Random
from typing import Any

import pytest

from experiment_configs.interfaces import RolloutWorkerConfig
from forests.core.estimators import STRATEGY_ESTIMATORS, own_estimator
from forests.core.tree import ROOT, Grade, NodePath, ReasoningTree
from forests.core.values import Estimator, estimate_values
from metrics.core.evaluation import Evaluation, EvaluationOptions
from metrics.core.search.value_functions import ValueOptions, value_function
from rollouts.steps.completions import Completion, Ending
from rollouts.strategies import STRATEGIES
from rollouts.strategies.base import Expansion

MAX_STEPS = 5
IsRight = Callable[[str], bool]


def has_no_c(solution: str) -> bool:
    return "c" not in solution


def is_right_by_chance(seed: int, solution: str) -> bool:
    return Random(f"{seed}/{solution}").random() < 0.5


def true_value(steps: str, end: float) -> float:
    """Return the chance that a prefix is continued to its end without a "c"."""
    if not has_no_c(steps):
        return 0.0
    number = steps.count("\n") + 1
    ends = 1.0 if number >= MAX_STEPS else end
    return 2 / 3 * (ends + (1 - ends) * (0 if ends == 1 else true_value(steps + "a\n", end)))


def completion(seed: int, steps: str, end: float, *, to_end: bool) -> Completion:
    numbers = Random(seed)
    text, ended = "", False
    while not ended:
        text += numbers.choice("abc") + "\n"
        ended = numbers.random() < end or (steps + text).count("\n") >= MAX_STEPS
        if not to_end:
            break
    return Completion(text, Ending.SOLUTION if ended else Ending.STEP, tokens=1)


def drawn(expansion: Expansion, steps: str, end: float) -> list[Completion]:
    seeds = Random(expansion.seed)
    return [
        completion(seeds.getrandbits(32), steps, end, to_end=expansion.to_end)
        for _ in range(expansion.num_samples)
    ]


def grown(
    strategy_name: str, seed: int, end: float, is_right: IsRight, **fields: Any
) -> ReasoningTree:
    """Return a complete tree, graded as it grows."""
    config = RolloutWorkerConfig(strategy=strategy_name, seed=seed, max_nodes=10**6, **fields)
    strategy = STRATEGIES[strategy_name](config, lambda *_: None)
    tree = ReasoningTree()
    while expansions := strategy.plan(tree):
        for expansion in expansions:
            steps = tree.steps_text(expansion.node)
            strategy.apply(tree, expansion, drawn(expansion, steps, end))
        for leaf in tree.leaves():
            if leaf.is_finished and leaf.grade is None:
                solution = tree.steps_text(leaf.path)
                leaf.grade = Grade.CORRECT if is_right(solution) else Grade.INCORRECT
    return tree


CONFIGS: dict[str, dict[str, Any]] = {
    "branching": {"branching": (4, 2, 2)},
    "sampled": {"num_rollouts": 12},
    "math_shepherd": {"num_rollouts": 3, "rollouts_per_state": 4},
    "omega_prm": {"rollouts_per_state": 4, "num_searches": 6},
}
TREES = 250


@cache
def forest(strategy: str, end: float) -> list[ReasoningTree]:
    config = CONFIGS[strategy]
    return [grown(strategy, seed, end, has_no_c, **config) for seed in range(TREES)]


def values_at(trees: Iterable[ReasoningTree], estimator: Estimator, steps: str) -> list[float]:
    """Return the value of one inner node with this text per tree; skip trees that have none."""
    found = []
    for tree in trees:
        values = estimate_values(tree, estimator)
        paths: list[NodePath] = [
            node.path
            for node in tree
            if not tree.is_leaf(node.path) and tree.steps_text(node.path) == steps
        ]
        found += [value for path in paths[:1] if (value := values[path].value) is not None]
    return found


def is_near(values: list[float], truth: float) -> bool:
    """Return whether the mean lies within the binomial interval, each value being one trial.

    A value that rests on several samples varies less, so the interval is wide enough.
    """
    mean = sum(values) / len(values)
    return abs(mean - truth) <= 4 * sqrt(truth * (1 - truth) / len(values))


# Where steps branch and solutions end by chance, a sample that continues gets more leaves than one
# that ends: there `leaf_mean` weighs long solutions more.
SERVED = [
    ("branching", "leaf_mean", 0.0),
    ("branching", "child_mean", 0.0),
    ("branching", "child_mean", 0.3),
    ("sampled", "leaf_mean", 0.3),
    ("sampled", "child_mean", 0.3),
    ("sampled", "own_rollouts", 0.3),
    ("math_shepherd", "own_rollouts", 0.3),
    ("omega_prm", "own_rollouts", 0.3),
    *((strategy, "through_rollouts", 0.3) for strategy in STRATEGIES),
]


def test_each_strategy_is_served_by_its_own_estimator():
    assert {(name, own_estimator(name)) for name in STRATEGIES} <= {
        (strategy, estimator) for strategy, estimator, _ in SERVED
    }
    assert all(estimator in STRATEGY_ESTIMATORS[strategy] for strategy, estimator, _ in SERVED)


@pytest.mark.parametrize("steps", ["", "a\n"])
@pytest.mark.parametrize(("strategy", "estimator", "end"), SERVED)
def test_an_estimator_is_right_on_average_for_the_strategies_that_it_serves(
    strategy, estimator, end, steps
):
    values = values_at(forest(strategy, end), estimator, steps)
    assert len(values) >= 50
    assert is_near(values, true_value(steps, end))


def test_rollouts_of_steps_that_a_search_chose_would_bias_the_value_of_the_root():
    truth = true_value("", 0.3)
    values = values_at(forest("omega_prm", 0.3), "leaf_mean", "")
    assert sum(values) / len(values) < truth - 0.05


def test_leaves_of_steps_that_branch_would_weigh_long_solutions_more():
    truth = true_value("", 0.3)
    values = values_at(forest("branching", 0.3), "leaf_mean", "")
    assert sum(values) / len(values) < truth - 0.03


def test_many_samples_merge():
    for strategy in STRATEGIES:
        leaves = [leaf for tree in forest(strategy, 0.3) for leaf in tree.leaves() if leaf.path]
        assert any(leaf.count > 1 for leaf in leaves)
        assert ROOT not in {leaf.path for leaf in leaves}


@pytest.mark.parametrize("aggregation", ["mean", "last", "min"])
@pytest.mark.parametrize("strategy", ["branching", "sampled", "math_shepherd"])
def test_held_out_values_know_nothing_of_solutions_that_are_right_by_lot(strategy, aggregation):
    """A coin decides whether a solution is right, so no search can do better than 0.5."""
    options = EvaluationOptions(
        num_beam_values=(1,),
        aggregations=(aggregation,),
        values=ValueOptions(value_function="labelled_held_out", estimator=own_estimator(strategy)),
    )
    evaluation = Evaluation(options)
    search_by = value_function(options.values)
    for seed in range(TREES):
        tree = grown(
            strategy,
            seed,
            0.3,
            partial(is_right_by_chance, seed),
            **CONFIGS[strategy],
        )
        evaluation.add(str(seed), tree, search_by(str(seed), tree, {}))
    [accuracy] = [row for row in evaluation.rows() if row.metric == "accuracy"]
    assert accuracy.trees > 0.9 * TREES
    assert accuracy.value is not None
    assert abs(accuracy.value - 0.5) <= 4 * sqrt(0.25 / accuracy.trees)
