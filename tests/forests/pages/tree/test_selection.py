"""The part of a tree that a filter and a search show."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forests.core.counting import count_tree
from forests.core.tree import Grade, ReasoningTree, TreeNode, parse_path
from forests.pages.tree.selection import LeafKind, is_of_kind, phrase_pattern, select
from tests.forests.core.strategies import trees
from tests.forests.factories import RIGHT, WRONG, duck_tree, leaf, step, tree_of

KINDS = st.sampled_from([None, *LeafKind])
PHRASES = st.sampled_from(["", "eggs", "9 eggs", "nowhere"])


def ways(*names: str) -> set[tuple[int, ...]]:
    return {parse_path(name) for name in names}


def test_a_filter_shows_the_leaves_of_a_kind_and_the_steps_on_the_way():
    found = select(duck_tree(), kind=LeafKind.TRUNCATED, phrase="")
    assert found.shown == ways("0.1", "0.1.1")
    assert found.hits == ways("0.1.1")
    assert found.opened == ways("0.1")


def test_a_search_shows_the_steps_found_what_leads_to_them_and_what_follows():
    found = select(duck_tree(), kind=None, phrase="AT $2 per egg")
    assert found.hits == ways("0.0.1")
    assert found.opened == ways("0.0")
    assert found.shown == ways("0.0", "0.0.1", "0.0.1.0", "0.0.1.1")
    assert found.num_leaves == 2


def test_a_search_with_a_filter_shows_the_ways_that_have_both():
    found = select(duck_tree(), kind=LeafKind.INCORRECT, phrase="eggs are left")
    assert found.shown == ways("0.0", "0.0.1", "0.0.1.1")
    assert found.hits == ways("0.0")


def test_words_of_a_search_may_have_line_ends_and_marks_between_them():
    assert phrase_pattern("9 eggs").search("so 9\n  EGGS")
    assert phrase_pattern("9 eggs are").search("so **9 eggs** are left")
    assert not phrase_pattern("9 eggs").search("9eggs")
    assert phrase_pattern("**9 eggs**").search("so **9 eggs** are")
    assert phrase_pattern("9 * 2").search("9  * 2")
    assert not phrase_pattern("9 * 2").search("9 2")
    assert not phrase_pattern("a.c").search("abc")


def test_a_search_for_marks_alone_finds_them_as_they_are():
    assert phrase_pattern("**").search("so **9**")
    assert not phrase_pattern("**").search("3 * 4")


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("* " * 100 + "x", "*" * 100_000),
        ("a * " * 50 + "x", "a * " * 25_000),
        ("_" * 200, " _" * 50_000),
    ],
    ids=["marks", "words and marks", "marks alone"],
)
def test_no_search_takes_long_whatever_is_looked_for_and_where(phrase: str, text: str):
    assert phrase_pattern(phrase).search(text) is None


@given(trees(), KINDS, PHRASES)
def test_what_is_shown_hangs_together_and_holds_all_hits(tree: ReasoningTree, kind, phrase):
    found = select(tree, kind=kind, phrase=phrase)
    assert found.hits | found.opened <= found.shown
    for path in found.shown:
        assert path[:-1] in found.shown | {()}
    for path in found.opened:
        assert any(hit[: len(path)] == path and hit != path for hit in found.hits)


@given(trees(), KINDS, PHRASES)
def test_a_path_is_shown_if_and_only_if_its_leaf_fits_and_one_of_its_steps_has_the_text(
    tree: ReasoningTree, kind, phrase
):
    found = select(tree, kind=kind, phrase=phrase)
    for leaf_ in tree.leaves():
        if not leaf_.path:
            continue
        texts = [" ".join(node.text.lower().split()) for node in tree.path_nodes(leaf_.path)]
        fits = (kind is None or is_of_kind(leaf_, kind)) and any(phrase in text for text in texts)
        assert (leaf_.path in found.shown) is fits


@given(trees())
def test_kinds_agree_with_the_counters_of_the_tree(tree: ReasoningTree):
    counts = count_tree(tree)
    for kind in LeafKind:
        leaves = [node for node in tree.leaves() if node.is_finished and is_of_kind(node, kind)]
        assert sum(node.count for node in leaves) == counts[f"num_{kind}"]


@pytest.mark.parametrize("kind", list(LeafKind))
def test_a_leaf_without_a_result_is_of_no_kind(kind):
    assert not is_of_kind(TreeNode((0,), text="x"), kind)


def test_a_cut_solution_is_not_correct_whatever_it_says():
    tree = tree_of(
        step("0.0", "a\n"),
        leaf("0.0.0", "#### 1", RIGHT),
        leaf("0.0.1", "#### 2", WRONG),
        step("0.0.2", "#### 1 and", grade=Grade.CORRECT, truncated=True),
    )
    assert select(tree, kind=LeafKind.CORRECT, phrase="").hits == ways("0.0.0")
    assert select(tree, kind=LeafKind.INCORRECT, phrase="").hits == ways("0.0.1", "0.0.2")


def test_the_time_of_a_search_grows_with_the_square_of_the_depth_and_not_with_its_cube():
    """Ids grow with the depth, so the text of a page grows with the square of the depth."""

    def seconds(depth: int) -> float:
        paths = [(0,) * number for number in range(1, depth + 1)]
        tree = ReasoningTree.from_nodes([TreeNode(path, text="step\n") for path in [(), *paths]])
        found = []
        for _ in range(3):
            began = time.process_time()
            assert len(select(tree, kind=None, phrase="step").opened) == depth - 1
            found.append(time.process_time() - began)
        return min(found)

    assert seconds(1600) < 6 * seconds(800)
