"""How sure the order of two steps is, tested on policies with known true values."""

import json
from random import Random

import pytest

from forests.core.certainty.evidence import Evidence, evidence_of
from forests.core.certainty.sibling_prior import PriorEstimator, SiblingPrior
from forests.core.tree import ROOT, Grade, NodePath, ReasoningTree, TreeNode
from forests.core.values import estimate_values

Truth = dict[NodePath, float]


def grown(random: Random, leaves: int, values: list[float]) -> tuple[ReasoningTree, Truth]:
    """Return a tree with a first step for each true value, and the true value of each step."""
    tree = ReasoningTree()
    truth: Truth = {}
    for position, value in enumerate(values):
        tree.add(TreeNode((position,), f"step {position}", drawn={0: 1}))
        truth[(position,)] = value
        for leaf in range(leaves):
            grade = Grade.CORRECT if random.random() < value else Grade.INCORRECT
            path = (position, leaf)
            tree.add(TreeNode(path, f"end {leaf}", drawn={1: 1}, terminal=True, grade=grade))
    return tree, truth


def prior_of(trees: list[ReasoningTree]) -> SiblingPrior:
    estimator = PriorEstimator("leaf_mean")
    for tree in trees:
        estimator.add(tree, estimate_values(tree))
    return estimator.prior()


def best_over_worst(
    trees: list[tuple[ReasoningTree, Truth]], prior: SiblingPrior
) -> list[tuple[float, bool]]:
    """Return for each tree the chance that its best first step beats the worst, and if it does."""
    found = []
    for tree, truth in trees:
        known = evidence_of(tree, estimate_values(tree), "leaf_mean")
        ranked = sorted(truth, key=lambda path: known[path].correct / known[path].samples)
        worst, best = ranked[0], ranked[-1]
        siblings = [known[path] for path in truth]
        chance = prior.chance_better(known[best], known[worst], 1, siblings)
        found.append((chance, truth[best] > truth[worst]))
    return found


@pytest.mark.parametrize("leaves", [2, 8])
def test_equally_good_steps_make_no_sure_pair(leaves: int) -> None:
    random = Random(1)
    trees = [grown(random, leaves, [0.5] * 4) for _ in range(150)]

    prior = prior_of([tree for tree, _ in trees])

    assert max(chance for chance, _ in best_over_worst(trees, prior)) < 0.6
    assert prior.equal_share(1) > 0.5


@pytest.mark.parametrize("leaves", [2, 8])
@pytest.mark.parametrize("least", [0.6, 0.8, 0.9])
def test_sure_pairs_of_steps_that_differ_are_ordered_right(leaves: int, least: float) -> None:
    random = Random(2)
    trees = [
        grown(random, leaves, [random.betavariate(0.5, 0.5) for _ in range(4)]) for _ in range(300)
    ]

    sure = [
        right
        for chance, right in best_over_worst(trees, prior_of([tree for tree, _ in trees]))
        if chance >= least
    ]

    assert len(sure) > 20
    assert sum(sure) / len(sure) >= least


def test_a_forest_of_equal_and_of_different_steps_is_calibrated() -> None:
    random = Random(3)
    trees = [
        grown(
            random,
            8,
            [random.random()] * 4
            if random.random() < 0.5
            else [random.betavariate(1, 1) for _ in range(4)],
        )
        for _ in range(400)
    ]

    found = best_over_worst(trees, prior_of([tree for tree, _ in trees]))

    for least in (0.6, 0.8):
        sure = [right for chance, right in found if chance >= least]
        assert len(sure) > 20
        assert sum(sure) / len(sure) >= least


def test_few_trees_are_not_taken_at_their_word() -> None:
    tree, _ = grown(Random(0), 2, [1.0, 0.0, 1.0, 0.0])

    prior = prior_of([tree])
    best, worst = Evidence(2, 2), Evidence(0, 2)

    assert prior.chance_better(best, worst, 1) < 0.8
    assert SiblingPrior().chance_better(best, worst, 1) < 0.8


def test_more_samples_make_the_same_order_surer() -> None:
    prior = SiblingPrior()
    chances = [
        prior.chance_better(Evidence(0.75 * n, n), Evidence(0.25 * n, n), 1) for n in (4, 16, 64)
    ]
    assert chances == sorted(chances)
    assert chances[-1] > 0.99


def test_an_order_and_its_reverse_leave_room_for_equal_values() -> None:
    prior = SiblingPrior()
    one, other = Evidence(3, 4), Evidence(2, 4)

    both = prior.chance_better(one, other, 1) + prior.chance_better(other, one, 1)

    assert 0.2 < both < 1


def test_ends_of_solutions_are_certain() -> None:
    right, wrong = Evidence(1, 1, is_certain=True), Evidence(0, 1, is_certain=True)
    prior = SiblingPrior()

    assert prior.chance_better(right, wrong, 3) == 1
    assert prior.chance_better(wrong, right, 3) == 0
    assert prior.chance_better(right, right, 3) == 0
    assert prior.chance_above(right, 0.5, 3) == 1
    assert prior.chance_above(right, 1.0, 3) == 0
    assert prior.chance_above(wrong, 0.0, 3) == 0
    assert prior.chance_better(wrong, Evidence(1, 2), 3, [wrong, Evidence(1, 2)]) == 0


def test_a_value_far_above_a_threshold_is_surely_above_it() -> None:
    prior = SiblingPrior()
    assert prior.chance_above(Evidence(16, 16), 0.5, 1) > 0.99
    assert prior.chance_above(Evidence(0, 16), 0.5, 1) < 0.01
    assert prior.chance_above(Evidence(1, 16), 0.0, 1) == pytest.approx(1)


def test_a_stored_prior_gives_exactly_the_same_chances() -> None:
    random = Random(4)
    prior = prior_of([grown(random, 4, [random.random() for _ in range(4)])[0] for _ in range(30)])

    again = SiblingPrior.from_dict(json.loads(json.dumps(prior.as_dict())))

    one, other, third = Evidence(3, 4), Evidence(1, 4), Evidence(2, 4)
    chances = {known.chance_better(one, other, 1, [one, other, third]) for known in (again, prior)}
    assert len(chances) == 1
    assert again.correlation(1) == prior.correlation(1)
    assert again.num_groups == prior.num_groups == 30


def test_a_stored_prior_can_leave_out_deep_steps() -> None:
    random = Random(4)
    prior = prior_of([grown(random, 4, [random.random() for _ in range(4)])[0] for _ in range(30)])

    short = SiblingPrior.from_dict(prior.as_dict(deepest=0))

    assert prior.as_dict()["depths"].keys() > short.as_dict()["depths"].keys() == set()
    assert short.equal_share(1) == short.equal_share(9) == prior.equal_share(9)


def test_the_root_has_no_siblings_and_a_lone_step_has_none() -> None:
    tree, _ = grown(Random(0), 3, [0.5])
    assert ROOT in tree.nodes
    assert prior_of([tree]).num_groups == 0


def test_a_sorted_forest_teaches_as_much_as_a_shuffled_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """First come items with steps of different values, then many with equal steps."""
    monkeypatch.setattr("forests.core.certainty.sibling_prior.MAX_GROUPS", 100)
    random = Random(3)
    differ = [grown(random, 16, [random.random() for _ in range(4)]) for _ in range(100)]
    equal = [grown(random, 16, [random.random()] * 4) for _ in range(300)]

    prior = prior_of([tree for tree, _ in [*differ, *equal]])

    assert 0.4 < prior.equal_share(1) < 0.95  # of the first 100 alone it would be near 0
    again = prior_of([tree for tree, _ in [*differ, *equal]])
    assert again.as_dict() == prior.as_dict()


def test_in_a_forest_in_which_no_steps_differ_a_clear_difference_is_still_one() -> None:
    random = Random(4)
    equal = [grown(random, 8, [float(number % 2)] * 4)[0] for number in range(1000)]

    prior = prior_of(equal)

    all_right, all_wrong = Evidence(8, 8), Evidence(0, 8)
    siblings = [all_right, all_right, all_wrong, all_wrong]
    assert prior.chance_better(all_right, all_wrong, 1, siblings) > 0.99


def test_ends_of_solutions_are_compared_by_their_share_not_by_their_samples() -> None:
    prior = SiblingPrior()
    five, three = Evidence(5, 5, is_certain=True), Evidence(3, 3, is_certain=True)

    assert prior.chance_better(five, three, 1) == 0
    assert prior.chance_better(three, Evidence(0, 9, is_certain=True), 1) == 1
