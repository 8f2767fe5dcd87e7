"""The best and worst paths."""

from hypothesis import given
from hypothesis import strategies as st

from forests.core.tree import ROOT
from forests.core.values import estimate_values
from forests.pages.tree.steepest import steepest_path
from tests.forests.core.strategies import trees
from tests.forests.factories import RIGHT, leaf, open_tree, tree_of


@given(trees(), st.booleans())
def test_a_marked_path_takes_the_extreme_child_at_each_step(tree, best):
    values = estimate_values(tree)
    path = steepest_path(tree, values, best=best)
    assert path == [path[-1][:depth] for depth in range(1, len(path) + 1)] if path else True
    for taken in path:
        siblings = [values[one.path].value for one in tree.children(taken[:-1])]
        known = [value for value in siblings if value is not None]
        assert values[taken].value == (max(known) if best else min(known))
    below = tree.children(path[-1] if path else ROOT)
    assert all(values[one.path].value is None for one in below), "it goes on as far as it can"


def test_a_tree_without_a_result_has_no_path():
    assert steepest_path(open_tree(), estimate_values(open_tree()), best=True) == []


def test_of_equal_children_the_one_with_more_samples_is_taken_then_the_earlier():
    tree = tree_of(
        leaf("0.0", "5", RIGHT), leaf("0.1", "5", RIGHT, count=2), leaf("0.2", "5", RIGHT, count=2)
    )
    assert steepest_path(tree, estimate_values(tree), best=True) == [(1,)]
