import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forests.core.counting import count_tree, share_correct
from forests.core.tree import (
    ROOT,
    Grade,
    NodePath,
    ReasoningTree,
    TreeNode,
    format_path,
    parse_path,
)


@st.composite
def trees(draw: st.DrawFn) -> ReasoningTree:
    """Draw a tree of up to twenty nodes with letters as steps."""
    tree = ReasoningTree()
    for letter in draw(st.lists(st.sampled_from("abcß\n"), max_size=20)):
        parent = draw(st.sampled_from(list(tree.nodes)))
        tree.add(TreeNode((*parent, tree.next_position(parent)), letter))
    return tree


PATHS = st.lists(st.integers(0, 20), max_size=6).map(tuple)


@given(trees(), st.randoms())
def test_a_tree_is_the_same_from_its_nodes_in_any_order(tree: ReasoningTree, chance: random.Random):
    nodes = list(tree)
    chance.shuffle(nodes)

    rebuilt = ReasoningTree.from_nodes(nodes)

    assert rebuilt.nodes == tree.nodes
    assert all(rebuilt.children(path) == tree.children(path) for path in tree.nodes)


@given(trees())
def test_parents_come_first_and_last_from_the_bottom(tree: ReasoningTree):
    for order in (list(tree), tree.bottom_up()[::-1]):
        seen: set[NodePath] = set()
        for node in order:
            assert not node.path or node.path[:-1] in seen
            seen.add(node.path)


@given(trees())
def test_the_text_of_a_path_is_its_steps_in_order(tree: ReasoningTree):
    for node in tree:
        if node.path:
            assert tree.steps_text(node.path) == tree.steps_text(node.path[:-1]) + node.text
    assert tree.steps_text(ROOT) == ""


@given(trees())
def test_leaves_are_the_nodes_without_children(tree: ReasoningTree):
    assert {leaf.path for leaf in tree.leaves()} == {
        node.path for node in tree if not tree.children(node.path)
    }


@given(PATHS)
def test_a_path_is_read_as_it_was_written(path: NodePath):
    assert parse_path(format_path(path)) == path


def test_the_root_is_zero_and_its_third_child_ends_in_two():
    assert format_path(()) == "0"
    assert format_path((2,)) == "0.2"


@pytest.mark.parametrize(
    "text",
    ["", "1", "0.", "0.x", "0..1", "0.01", "0.-1", "0.\uff11", "0.x" * 99],
)
def test_a_text_that_is_no_path_is_refused(text: str):
    with pytest.raises(ValueError, match="is not a node path"):
        parse_path(text)


def test_a_node_needs_its_parent():
    with pytest.raises(ValueError, match="parent of node"):
        ReasoningTree().add(TreeNode((0, 0)))


def test_a_node_comes_once():
    tree = ReasoningTree()
    tree.add(TreeNode((0,)))

    with pytest.raises(ValueError, match="exists already"):
        tree.add(TreeNode((0,)))


def test_a_tree_needs_a_root():
    with pytest.raises(ValueError, match="needs a root"):
        ReasoningTree.from_nodes([])


def graded(*leaves: tuple[Grade | None, int, bool]) -> ReasoningTree:
    tree = ReasoningTree()
    for number, (grade, count, truncated) in enumerate(leaves):
        tree.add(
            TreeNode(
                (number,), count=count, grade=grade, truncated=truncated,
                terminal=grade is not None and not truncated,
            )
        )  # fmt: skip
    return tree


def test_leaves_are_counted_in_samples():
    tree = graded((Grade.CORRECT, 3, False), (Grade.UNANSWERED, 1, False))

    counters = count_tree(tree)

    assert (counters["num_nodes"], counters["num_leaves"], counters["num_correct"]) == (2, 4, 3)
    assert share_correct(counters["num_correct"], counters["num_leaves"]) == 0.75


def test_a_solution_that_was_cut_is_not_correct():
    counters = count_tree(graded((Grade.CORRECT, 1, True)))

    assert (counters["num_correct"], counters["num_incorrect"]) == (0, 1)
    assert counters["num_truncated"] == 1


def test_open_leaves_are_no_result():
    tree = graded((None, 1, False))

    counters = count_tree(tree)
    assert counters["num_leaves"] == 0
    assert share_correct(counters["num_correct"], counters["num_leaves"]) is None


def test_samples_that_could_not_be_compared_are_counted_apart_from_those_with_a_result():
    tree = graded(
        (Grade.CORRECT, 1, False), (Grade.INCORRECT, 3, False), (Grade.UNCOMPARED, 5, False)
    )

    counters = count_tree(tree)

    assert (counters["num_leaves"], counters["num_uncompared"]) == (4, 5)
    assert share_correct(counters["num_correct"], counters["num_leaves"]) == 0.25


def test_a_solution_that_was_cut_is_wrong_whatever_its_answer_would_mean():
    counters = count_tree(graded((Grade.UNCOMPARED, 2, True)))

    assert (counters["num_incorrect"], counters["num_uncompared"]) == (2, 0)
    assert (counters["num_leaves"], counters["num_truncated"]) == (2, 2)
