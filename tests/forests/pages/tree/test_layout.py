"""The picture of a tree: no two points overlap, parents are in the middle, order is kept."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from forests.core.tree import NodePath, ReasoningTree, TreeNode
from forests.pages.tree.layout import dendrogram, evenly, leaf_counts, subtree_sizes, thinned
from tests.forests.core.strategies import paths, trees

HALF_SLOT = 1e-9


def tree_of(*found: NodePath) -> ReasoningTree:
    return ReasoningTree.from_nodes(map(TreeNode, found))


def children_of(path: NodePath, found: list[NodePath]) -> list[NodePath]:
    return sorted(one for one in found if one and one[:-1] == path)


@given(paths())
def test_points_of_one_depth_are_a_slot_apart_in_the_order_of_reading(found):
    slots = dendrogram(found).slots
    for depth in {len(path) for path in found}:
        row = [slots[path] for path in sorted(found) if len(path) == depth]
        assert all(after - before >= 1 - HALF_SLOT for before, after in pairwise(row))


@given(paths())
def test_a_parent_stands_in_the_middle_between_its_first_and_last_child(found):
    slots = dendrogram(found).slots
    for path in found:
        if below := children_of(path, found):
            assert slots[path] == (slots[below[0]] + slots[below[-1]]) / 2


@given(paths())
def test_leaves_take_one_slot_each_and_edges_do_not_cross(found):
    plan = dendrogram(found)
    leaves = [path for path in sorted(found) if not children_of(path, found)]
    assert [plan.slots[leaf] for leaf in leaves] == list(range(len(leaves)))
    assert plan.num_leaves == len(leaves)
    assert plan.max_depth == max(map(len, found))
    edges = [(path[:-1], path) for path in found if path]
    for parent, child in edges:
        for other_parent, other in edges:
            if len(other) == len(child) and plan.slots[parent] < plan.slots[other_parent]:
                assert plan.slots[child] < plan.slots[other]


@given(trees())
def test_a_subtree_has_the_leaves_whose_paths_begin_with_its_own(tree: ReasoningTree):
    leaves = [leaf.path for leaf in tree.leaves()]
    for path, number in leaf_counts(tree).items():
        assert number == sum(leaf[: len(path)] == path for leaf in leaves)


@given(trees())
def test_a_subtree_is_as_large_as_its_nodes(tree: ReasoningTree):
    sizes = subtree_sizes(tree)
    for path in tree.nodes:
        assert sizes[path] == sum(other[: len(path)] == path for other in tree.nodes)


# `keep` already shows one child, so the one more node must be another child.
@example(tree_of((), (0,), (1,), (2,)), 3, [1])
# `keep` already shows both children; the one with children must still be expanded.
@example(tree_of((), (0,), (1,), (1, 0), (1, 1)), 4, [1, 2])
@given(trees(), st.integers(1, 30), st.lists(st.integers(0, 30), max_size=3))
def test_a_thinned_tree_hangs_together_and_keeps_what_it_must(tree, at_most, numbers):
    keep = [sorted(tree.nodes)[number % len(tree)] for number in numbers]
    chosen = thinned(tree, subtree_sizes(tree), at_most=at_most, keep=keep)
    assert all(not path or path[:-1] in chosen for path in chosen)
    assert chosen <= set(tree.nodes)
    shown_in_any_case = {(), *(path[:depth] for path in keep for depth in range(len(path) + 1))}
    assert shown_in_any_case <= chosen
    assert len(chosen) == min(len(tree), max(at_most, len(shown_in_any_case)))


def test_what_must_be_shown_takes_no_place_from_the_others():
    tree = ReasoningTree()
    for number in range(5):
        tree.add(TreeNode(path=(number,), text=f"step {number}"))
        tree.add(TreeNode(path=(number, 0), text="end"))
    chosen = thinned(tree, subtree_sizes(tree), at_most=5, keep=[(0, 0)])
    assert chosen == {(), (0,), (0, 0), (1,), (3,)}


@given(trees())
def test_a_small_tree_is_shown_whole(tree):
    assert thinned(tree, subtree_sizes(tree), at_most=len(tree), keep=[]) == set(tree.nodes)


@pytest.mark.parametrize("number", [1, 3, 7])
def test_of_too_many_children_some_are_taken_at_equal_distances(number):
    items = [(index,) for index in range(70)]
    taken = [path[0] for path in evenly(items, number)]
    assert len(taken) == number
    assert {after - before for before, after in pairwise(taken)} <= {70 // number}


def test_a_deep_tree_needs_no_recursion():
    chain = [(0,) * depth for depth in range(3000)]
    assert set(dendrogram(chain).slots.values()) == {0.0}
