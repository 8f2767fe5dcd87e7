"""Refinement is run against a policy of our own, without any server."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiment_configs.interfaces import RolloutWorkerConfig
from experiment_configs.refinements import Refinement
from forests.core.certainty.standings import Standing, own_rollouts, standings, steps_to_decide
from forests.core.tree import Grade, NodePath, ReasoningTree
from forests.core.values import estimate_values
from rollouts.steps.completions import Completion, Ending
from rollouts.strategies import STRATEGIES
from rollouts.strategies.base import Expansion, GrowthStrategy
from rollouts.strategies.refining import Refining

MOST_ROLLOUTS = 8
MAX_DEPTH = 5
HARD = next(seed for seed in range(100) if random.Random(seed).betavariate(1, 3) > 0.6)
"""The seed of a policy that is rarely right."""
SEEDS = st.integers(0, 10_000)


class Policy:
    """Errs in each step with one chance, and corrects an error in each step with another.

    A sample depends only on the text before it and on its number, as with a fixed seed. So two
    strategies that ask for the same sample get the same.
    """

    def __init__(self, seed: int, corrects: float = 0.05, num_texts: int = 4) -> None:
        self.seed, self.corrects, self.num_texts = seed, corrects, num_texts
        self.errs = random.Random(seed).betavariate(1, 3)
        self.asked: Counter[tuple[str, int]] = Counter()

    def grow(self, strategy: GrowthStrategy, tree: ReasoningTree) -> Iterator[Expansion]:
        """Grow a tree to its end, and yield each expansion after it was applied."""
        while expansions := strategy.plan(tree):
            for expansion in expansions:
                strategy.apply(tree, expansion, self._samples(tree, expansion))
                for leaf in tree.leaves():
                    if leaf.is_finished and leaf.grade is None:
                        is_wrong = leaf.text.startswith("wrong")
                        leaf.grade = Grade.INCORRECT if is_wrong else Grade.CORRECT
                yield expansion

    def _samples(self, tree: ReasoningTree, expansion: Expansion) -> list[Completion]:
        before = tree.steps_text(expansion.node)
        return [
            self._sample(before, len(expansion.node), expansion.number + i, to_end=expansion.to_end)
            for i in range(expansion.num_samples)
        ]

    def _sample(self, before: str, depth: int, number: int, *, to_end: bool) -> Completion:
        self.asked[before, number] += 1
        chance = random.Random(f"{self.seed}/{before}/{number}")
        is_wrong = before.splitlines()[-1:] != [] and before.splitlines()[-1].startswith("wrong")
        text = ""
        for _ in range(MAX_DEPTH - depth if to_end else 1):
            is_wrong = chance.random() >= self.corrects if is_wrong else chance.random() < self.errs
            text += f"{'wrong' if is_wrong else 'right'} {chance.randrange(self.num_texts)}\n"
            depth += 1
        ending = Ending.SOLUTION if depth == MAX_DEPTH else Ending.STEP
        return Completion(text, ending, tokens=text.count("\n"))


def config(strategy: str) -> RolloutWorkerConfig:
    return RolloutWorkerConfig(
        strategy=strategy, num_rollouts=4, rollouts_per_state=MOST_ROLLOUTS, max_depth=MAX_DEPTH,
        branching=(2, 2, 1), num_searches=2,
    )  # fmt: skip


def grown(policy: Policy, strategy: str) -> ReasoningTree:
    tree = ReasoningTree()
    for _ in policy.grow(STRATEGIES[strategy](config(strategy), lambda *_: None), tree):
        pass
    return tree


def refining(
    strategy: str, steps: list[NodePath], *, infers_later: bool = False, most: int = MOST_ROLLOUTS
) -> Refining:
    goal = Refinement(goal="labels", most_rollouts=most, infers_later=infers_later)
    settings_ = replace(config(strategy), refinement=goal.as_dict())
    return Refining(settings_, lambda *_: None, steps=steps)


def refined(policy: Policy, strategy: str, **options: bool) -> tuple[ReasoningTree, Refining]:
    tree = grown(policy, strategy)
    strategy_ = refining(strategy, steps_to_decide(strategy, tree), **options)
    for _ in policy.grow(strategy_, tree):
        pass
    return tree, strategy_


def labels(tree: ReasoningTree) -> dict[str, float | None]:
    return {
        tree.steps_text(path): value.value for path, value in estimate_values(tree, "any").items()
    }


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, corrects=st.sampled_from([0.0, 0.1]))
def test_labels_equal_those_of_math_shepherd(seed: int, corrects: float):
    """Both trees get the same samples. A sample that is not drawn could not have changed a label.

    Each step has its own text, so that no rollout happens to pass through the steps of another.
    """
    whole = grown(Policy(seed, corrects, num_texts=10**9), "math_shepherd")

    tree, strategy = refined(Policy(seed, corrects, num_texts=10**9), "sampled")

    found, wanted = labels(tree), labels(whole)
    texts = [tree.steps_text(step) for step in strategy.steps]
    assert {text: found[text] for text in texts} == {text: wanted[text] for text in texts}


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, infers_later=st.booleans())
def test_every_step_is_decided_without_asking_for_a_sample_twice(
    strategy: str, seed: int, *, infers_later: bool
):
    policy = Policy(seed)

    tree, strategy_ = refined(policy, strategy, infers_later=infers_later)

    known = standings(tree, strategy_.steps, strategy_.refinement)
    assert {*known} == {*strategy_.steps}
    assert {*known.values()} <= {Standing.RIGHT, Standing.WRONG, Standing.INFERRED}
    assert max(policy.asked.values()) == 1
    assert all(leaf.is_finished for leaf in tree.leaves())


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_a_step_gets_no_more_rollouts_than_allowed_and_none_once_it_is_right(seed: int):
    policy = Policy(seed)
    tree = grown(policy, "sampled")
    strategy = refining("sampled", steps_to_decide("sampled", tree))
    right = {s for s, one in standings(tree, strategy.steps, strategy.refinement).items()
             if one is Standing.RIGHT}  # fmt: skip

    for expansion in policy.grow(strategy, tree):
        assert expansion.node not in right
        assert expansion.to_end

    drawn, _ = own_rollouts(tree)
    assert all(drawn[step] <= MOST_ROLLOUTS for step in strategy.steps)
    assert all(drawn[step] == 0 for step in right)


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=10, deadline=None)
@given(seed=SEEDS, infers_later=st.booleans(), stop_after=st.integers(0, 30))
def test_refinement_resumes_from_the_tree_alone(
    strategy: str, seed: int, stop_after: int, *, infers_later: bool
):
    """After a stop between two requests no sample is asked for twice, and nothing else changes."""
    whole, _ = refined(Policy(seed), strategy, infers_later=infers_later)
    policy = Policy(seed)
    tree = grown(policy, strategy)
    steps = steps_to_decide(strategy, tree)
    for number, _ in enumerate(
        policy.grow(refining(strategy, steps, infers_later=infers_later), tree)
    ):
        if number == stop_after:
            break

    reread = ReasoningTree.from_nodes(tree)
    for _ in policy.grow(refining(strategy, steps, infers_later=infers_later), reread):
        pass

    assert standings_by_text(reread, steps) == standings_by_text(whole, steps)
    assert max(policy.asked.values()) == 1


def standings_by_text(tree: ReasoningTree, steps: list[NodePath]) -> dict[str, Standing]:
    goal = Refinement(goal="labels", most_rollouts=MOST_ROLLOUTS)
    return {tree.steps_text(step): one for step, one in standings(tree, steps, goal).items()}


def test_the_steps_of_added_rollouts_are_not_drawn_from():
    policy = Policy(HARD)
    tree = grown(policy, "branching")
    strategy = refining("branching", steps_to_decide("branching", tree))

    nodes = {expansion.node for expansion in policy.grow(strategy, tree)}

    assert nodes
    assert nodes <= {*strategy.steps}


def test_a_larger_maximum_draws_the_missing_rollouts_only():
    once, strategy = refined(policy := Policy(HARD, corrects=0.02, num_texts=10**9), "sampled")
    larger = refining("sampled", list(strategy.steps), most=2 * MOST_ROLLOUTS)
    num_asked = policy.asked.total()

    for _ in policy.grow(larger, once):
        pass

    at_once = grown(other := Policy(HARD, corrects=0.02, num_texts=10**9), "sampled")
    for _ in other.grow(refining("sampled", list(strategy.steps), most=2 * MOST_ROLLOUTS), at_once):
        pass
    assert policy.asked.total() > num_asked
    assert max(policy.asked.values()) == 1
    steps = [once.steps_text(step) for step in strategy.steps]
    assert [labels(once)[step] for step in steps] == [labels(at_once)[step] for step in steps]


def test_a_step_whose_rollouts_have_no_result_stays_unknown():
    tree = grown(policy := Policy(HARD), "sampled")
    for leaf in tree.leaves():
        leaf.grade = Grade.UNCOMPARED
    strategy = refining("sampled", steps_to_decide("sampled", tree))
    for _ in policy.grow(strategy, tree):
        for leaf in tree.leaves():
            leaf.grade = Grade.UNCOMPARED

    known = standings(tree, strategy.steps, strategy.refinement)

    assert {*known.values()} == {Standing.UNKNOWN}


@pytest.mark.parametrize(
    "values",
    [
        3, {}, {"goal": "labels"},
        Refinement(goal="labels", most_rollouts=1).as_dict() | {"more": 1},
        *(
            Refinement(goal="labels", most_rollouts=1).as_dict() | change
            for change in (
                {"goal": "all"}, {"goal": ["labels"]}, {"most_rollouts": 0},
                {"most_rollouts": True}, {"most_rollouts": 2.0}, {"infers_later": 1},
            )
        ),
    ],
)  # fmt: skip
def test_a_forest_with_other_settings_than_refine_forest_writes_is_refused(values: object):
    problems = RolloutWorkerConfig(refinement=values).problems()  # type: ignore[arg-type]

    assert problems == [
        f"rollout_worker_config.refinement is {values!r}: it must be None: only refine_forest "
        "sets it"
    ]
