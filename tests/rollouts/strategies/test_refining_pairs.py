"""Refinement for pairs is run against a policy of our own, without any server."""

from collections.abc import Collection
from dataclasses import replace

import pytest
from hypothesis import given, settings

from experiment_configs.refinements import Refinement
from forests.core.certainty.contests import ContestStanding, contests, steps_to_rank
from forests.core.certainty.sibling_prior import PriorEstimator
from forests.core.certainty.standings import own_rollouts
from forests.core.tree import NodePath, ReasoningTree
from forests.core.values import estimate_values
from rollouts.strategies import STRATEGIES
from rollouts.strategies.refining import refining_or
from rollouts.strategies.refining_pairs import RefiningPairs
from tests.rollouts.strategies.test_refining import SEEDS, Policy, config, grown

MOST = 8
TARGET = 0.7


def prior() -> dict[str, object]:
    """Return the prior of siblings that sixteen items with steps of all kinds give."""
    estimating = PriorEstimator("through_rollouts")
    for seed in range(16):
        tree = grown(Policy(seed, corrects=0.0), "math_shepherd")
        estimating.add(tree, estimate_values(tree, "through_rollouts"))
    return estimating.prior().as_dict()


PRIOR = prior()
GOAL = Refinement(goal="pairs", most_rollouts=MOST, target_confidence=TARGET, prior=PRIOR)


def refining(strategy: str, steps: Collection[NodePath]) -> RefiningPairs:
    settings_ = replace(config(strategy), refinement=GOAL.as_dict())
    return RefiningPairs(settings_, lambda *_: None, steps=steps)


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=10, deadline=None)
@given(seed=SEEDS)
def test_no_pair_stays_open_and_only_the_best_and_the_worst_are_drawn_from(
    strategy: str, seed: int
):
    policy = Policy(seed, corrects=0.0)
    tree = grown(policy, strategy)
    steps = steps_to_rank(tree)
    before, _ = own_rollouts(tree)
    sides = {side for one in contests(tree, steps, GOAL) for side in (one.best, one.worst)}

    for expansion in policy.grow(refining(strategy, steps), tree):
        assert expansion.node in sides
        assert expansion.to_end
        sides |= {side for one in contests(tree, steps, GOAL) for side in (one.best, one.worst)}

    assert ContestStanding.OPEN not in {one.standing for one in contests(tree, steps, GOAL)}
    assert max(policy.asked.values()) == 1
    drawn, _ = own_rollouts(tree)
    assert all(drawn[step] <= max(MOST, before[step]) for step in steps)


@pytest.mark.parametrize("strategy", ["branching", "sampled"])
@settings(max_examples=10, deadline=None)
@given(seed=SEEDS)
def test_refinement_resumes_from_the_tree_alone(strategy: str, seed: int):
    """After a stop nothing is asked twice, and the order of the stored nodes does not matter."""
    policy = Policy(seed, corrects=0.0)
    tree = grown(policy, strategy)
    steps = steps_to_rank(tree)
    for number, _ in enumerate(policy.grow(refining(strategy, steps), tree)):
        if number == 1:
            break

    reread = ReasoningTree.from_nodes(tree)
    assert refining(strategy, steps).plan(reread) == refining(strategy, steps).plan(tree)
    for _ in policy.grow(refining(strategy, steps), reread):
        pass

    assert max(policy.asked.values()) == 1
    assert ContestStanding.OPEN not in {one.standing for one in contests(reread, steps, GOAL)}


def test_undecided_pairs_get_rollouts_and_some_of_them_are_decided():
    before, after, num_drawn = 0, 0, 0
    for seed in range(20):
        policy = Policy(seed, corrects=0.0)
        tree = grown(policy, "branching")
        steps = steps_to_rank(tree)
        before += num_decided(tree, steps)
        for expansion in policy.grow(refining("branching", steps), tree):
            num_drawn += expansion.num_samples
        after += num_decided(tree, steps)

    assert num_drawn > 0
    assert after > before


def num_decided(tree: ReasoningTree, steps: Collection[NodePath]) -> int:
    found = [one.standing for one in contests(tree, steps, GOAL)]
    return found.count(ContestStanding.DECIDED)


def test_the_goal_in_the_settings_chooses_what_grows_a_tree():
    settings_ = replace(config("sampled"), refinement=GOAL.as_dict())
    strategy = STRATEGIES["sampled"](settings_, lambda *_: None)

    chosen = refining_or(strategy, ["0.1"])

    assert isinstance(chosen, RefiningPairs)
    assert chosen.steps == [(1,)]
    assert refining_or(strategy, None) is strategy


WITHOUT: list[dict[str, object]] = [
    {"prior": None}, {"target_confidence": None}, {"target_confidence": 1.0},
    {"target_confidence": 0}, {"goal": "labels"}, {"prior": {}},
]  # fmt: skip
BAD_PARTS_OF_A_PRIOR: list[dict[str, object]] = [
    {"num_groups": None}, {"pooled": {}}, {"pooled": {"a": 1.0}}, {"pooled": {"0": "1"}},
    {"depths": []}, {"depths": {"a": {"0": 1.0}}}, {"depths": {"1": {"0": -1.0}}}, {"more": 1},
]  # fmt: skip


@pytest.mark.parametrize(
    "change", [*WITHOUT, *({"prior": PRIOR | part} for part in BAD_PARTS_OF_A_PRIOR)]
)
def test_settings_for_pairs_are_complete_or_refused(change: dict[str, object]):
    assert not replace(config("sampled"), refinement=GOAL.as_dict()).problems()

    assert replace(config("sampled"), refinement=GOAL.as_dict() | change).problems()
