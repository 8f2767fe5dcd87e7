"""Shares of correct leaves, and the best and worst paths."""

from hypothesis import given
from hypothesis import strategies as st

from forests.core.counting import count_tree, root_value
from forests.core.leaf_share import LeafShare, leaf_shares, steepest_path
from forests.core.tree import ROOT, Grade, ReasoningTree, TreeNode
from tests.forests.factories import RIGHT, WRONG, leaf, open_tree, tree_of


@st.composite
def trees(draw) -> ReasoningTree:
    """Draw a tree of up to 25 nodes, some of whose leaves have ended."""
    tree = ReasoningTree()
    for _ in range(draw(st.integers(0, 24))):
        parent = draw(st.sampled_from(sorted(tree.nodes)))
        tree.add(TreeNode((*parent, tree.next_position(parent)), text="x\n"))
    for node in tree.leaves():
        if node.path and draw(st.booleans()):
            node.terminal = True
            node.truncated = draw(st.booleans())
            node.grade = draw(st.sampled_from(Grade))
            node.count = draw(st.integers(1, 4))
    return tree


@given(trees())
def test_the_root_has_the_counters_of_the_tree(tree):
    shares, counters = leaf_shares(tree), count_tree(tree)
    assert shares[ROOT] == LeafShare(counters["num_correct"], counters["num_leaves"])
    assert shares[ROOT].value == root_value(counters["num_correct"], counters["num_leaves"])


@given(trees())
def test_a_node_has_the_leaves_of_its_children(tree):
    shares = leaf_shares(tree)
    for node in tree:
        children = [shares[child.path] for child in tree.children(node.path)]
        if children:
            assert shares[node.path].leaves == sum(one.leaves for one in children)
            assert shares[node.path].correct == sum(one.correct for one in children)


@given(trees(), st.booleans())
def test_a_marked_path_takes_the_extreme_child_at_each_step(tree, best):
    shares = leaf_shares(tree)
    path = steepest_path(tree, shares, best=best)
    assert path == [path[-1][:depth] for depth in range(1, len(path) + 1)] if path else True
    for taken in path:
        siblings = [shares[one.path].value for one in tree.children(taken[:-1])]
        values = [value for value in siblings if value is not None]
        assert shares[taken].value == (max(values) if best else min(values))


def test_samples_are_weighed_not_texts():
    tree = tree_of(leaf("0.0", "5", RIGHT, count=3), leaf("0.1", "6", WRONG))
    assert leaf_shares(tree)[ROOT].value == 0.75


def test_a_cut_solution_is_not_correct_and_an_open_node_is_no_result():
    cut = tree_of(leaf("0.0", "5", RIGHT, truncated=True))
    assert leaf_shares(cut)[ROOT] == LeafShare(0, 1)
    assert leaf_shares(open_tree())[ROOT].value is None
    assert steepest_path(open_tree(), leaf_shares(open_tree()), best=True) == []


def test_of_equal_children_the_one_with_more_samples_is_taken_then_the_earlier():
    tree = tree_of(
        leaf("0.0", "5", RIGHT), leaf("0.1", "5", RIGHT, count=2), leaf("0.2", "5", RIGHT, count=2)
    )
    assert steepest_path(tree, leaf_shares(tree), best=True) == [(1,)]
