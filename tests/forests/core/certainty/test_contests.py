"""Which step after a prefix is better, and when more rollouts cannot tell."""

import pytest

from experiment_configs.refinements import Refinement
from forests.core.certainty.contests import Contest, ContestStanding, contests, steps_to_rank
from forests.core.certainty.sibling_prior import SiblingPrior
from forests.core.tree import ROOT, Grade, NodePath, ReasoningTree, TreeNode

PRIOR = SiblingPrior().as_dict()
"""The cautious prior of a forest without trees."""


def tree_of(*shares: tuple[int, int], more: tuple[TreeNode, ...] = ()) -> ReasoningTree:
    """Return a tree with one step for each (right rollouts, all rollouts), and `more` nodes."""
    tree = ReasoningTree()
    for position, (right, rollouts) in enumerate(shares):
        tree.add(TreeNode((position,), f"step {position}\n", drawn={0: 1}))
        for number in range(rollouts):
            tree.add(end((position, number), is_right=number < right))
    for node in more:
        tree.add(node)
    return tree


def end(path: NodePath, *, is_right: bool) -> TreeNode:
    grade = Grade.CORRECT if is_right else Grade.INCORRECT
    return TreeNode(path, f"end {path}", drawn={len(path) - 1: 1}, terminal=True, grade=grade)


def found(tree: ReasoningTree, most: int = 16, target: float = 0.9) -> Contest:
    goal = Refinement(goal="pairs", most_rollouts=most, target_confidence=target, prior=PRIOR)
    (contest,) = contests(tree, [path for path in steps_to_rank(tree) if len(path) == 1], goal)
    return contest


def test_a_clear_difference_is_decided():
    contest = found(tree_of((14, 16), (8, 16), (1, 16)))

    assert (contest.best, contest.worst) == ((0,), (2,))
    assert contest.standing is ContestStanding.DECIDED
    assert contest.confidence >= 0.9
    assert contest.missing == {}


def test_few_rollouts_leave_it_open_and_tell_how_many_may_follow():
    contest = found(tree_of((2, 2), (0, 3)))

    assert contest.standing is ContestStanding.OPEN
    assert contest.missing == {(0,): 14, (1,): 13}


@pytest.mark.parametrize("shares", [((1, 2), (1, 2)), ((9, 16), (8, 16)), ((3, 8), (3, 8))])
def test_steps_that_look_alike_are_hopeless(shares: tuple[tuple[int, int], ...]):
    assert found(tree_of(*shares), most=17).standing is ContestStanding.HOPELESS


def test_without_rollouts_left_it_is_spent():
    contest = found(tree_of((2, 4), (0, 4)), most=4)

    assert contest.standing is ContestStanding.SPENT
    assert 0 < contest.confidence < 0.9


def test_the_end_of_a_solution_is_known_and_takes_no_rollouts():
    contest = found(tree_of((2, 2), more=(end((1,), is_right=False),)))

    assert contest.worst == (1,)
    assert (1,) not in contest.missing


def test_steps_of_the_same_text_are_one_and_thoughts_and_blanks_none():
    tree = tree_of((1, 2), (0, 2))
    for position, (text, is_thought) in enumerate([(" \n", False), ("Hm.", True)], start=2):
        tree.add(TreeNode((position,), text, drawn={0: 1}, is_thought=is_thought))
        tree.add(end((position, 0), is_right=True))
    tree.nodes[1,].text = tree.nodes[0,].text

    assert [path for path in steps_to_rank(tree) if len(path) == 1] == [(0,), (1,)]
    goal = Refinement(goal="pairs", most_rollouts=4, target_confidence=0.9, prior=PRIOR)
    assert list(contests(tree, [(0,), (1,)], goal)) == []


def test_a_lone_step_has_nothing_to_be_ranked_with():
    tree = tree_of((1, 1))

    assert steps_to_rank(tree) == []
    assert ROOT not in steps_to_rank(tree_of((1, 1), (0, 1)))
