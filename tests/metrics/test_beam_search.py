import pytest
from hypothesis import given
from hypothesis import strategies as st

from forests.core.tree import Grade, NodePath, ReasoningTree, TreeNode
from metrics.core.aggregation import AGGREGATIONS, aggregate_path
from metrics.core.beam_search import beam_search, overall_values
from metrics.core.values import estimate_values, leaf_result
from tests.metrics.trees import grades_tree, permuted, trees

RIGHT, WRONG = Grade.CORRECT, Grade.INCORRECT


def paths(beams):
    return [beam.leaf.path for beam in beams]


def drawn_values(tree, numbers):
    """Return values of which no two are equal."""
    order = list(tree.nodes)
    numbers.shuffle(order)
    return {path: place / len(order) for place, path in enumerate(order)}


@pytest.mark.parametrize(
    ("name", "value"),
    [("min", 0.2), ("product", 0.05), ("mean", 0.4), ("last", 0.5), ("max", 0.5), ("sum", 1.2)],
)
def test_an_aggregation_makes_one_number_of_the_values_on_a_path(name, value):
    assert aggregate_path([0.5, None, 0.2, 0.5], AGGREGATIONS[name]) == pytest.approx(value)


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_a_path_without_values_has_no_overall_value(name):
    assert aggregate_path([None, None], AGGREGATIONS[name]) is None
    assert aggregate_path([], AGGREGATIONS[name]) is None


def test_one_beam_takes_the_best_child_of_each_step():
    tree = grades_tree(n0_0=WRONG, n0_1=RIGHT, n1_0=WRONG, n1_1=WRONG)
    values = {(0,): 0.4, (1,): 0.6, (0, 0): 0.1, (0, 1): 1.0, (1, 0): 0.2, (1, 1): 0.3}
    last = overall_values(tree, values, AGGREGATIONS["last"])
    assert paths(beam_search(tree, last, 1)) == [(1, 1)]
    assert paths(beam_search(tree, last, 2)) == [(0, 1), (1, 1)]


def test_a_finished_beam_keeps_its_place_among_the_candidates():
    tree = grades_tree(n0=WRONG, n1_0=RIGHT, n1_1=RIGHT)
    values = {(0,): 0.5, (1,): 0.6, (1, 0): 0.1, (1, 1): 0.9}
    found = beam_search(tree, overall_values(tree, values, AGGREGATIONS["last"]), 2)
    assert [(beam.leaf.path, beam.value) for beam in found] == [((1, 1), 0.9), ((0,), 0.5)]


def test_ties_go_to_the_path_that_comes_first_and_no_value_comes_last():
    tree = grades_tree(n0=WRONG, n1=WRONG, n2=RIGHT)
    overall: dict[NodePath, float | None] = {(0,): None, (1,): 0.5, (2,): 0.5}
    assert paths(beam_search(tree, overall, 3)) == [(1,), (2,), (0,)]


def test_a_tree_of_a_root_has_no_beam():
    assert beam_search(ReasoningTree(), {}, 5) == []


@given(trees(), st.sampled_from(sorted(AGGREGATIONS)), st.randoms(use_true_random=False))
def test_as_many_beams_as_leaves_find_what_an_exhaustive_search_finds(tree, name, numbers):
    overall = overall_values(tree, drawn_values(tree, numbers), AGGREGATIONS[name])
    found = beam_search(tree, overall, len(tree.leaves()))
    all_leaves = sorted(
        (path for path in tree.nodes if tree.is_leaf(path)),
        key=lambda path: (-(overall[path] or 0.0), path),
    )
    assert paths(found) == all_leaves
    assert [beam.value for beam in found] == [overall[path] for path in all_leaves]


@given(trees(), st.integers(1, 6), st.randoms(use_true_random=False))
def test_a_search_returns_that_many_leaves_best_first(tree, num_beams, numbers):
    overall = overall_values(tree, drawn_values(tree, numbers), AGGREGATIONS["mean"])
    found = beam_search(tree, overall, num_beams)
    assert 1 <= len(found) <= num_beams
    assert len(set(paths(found))) == len(found)
    assert all(tree.is_leaf(path) for path in paths(found))
    values = [beam.value or 0.0 for beam in found]
    assert values == sorted(values, reverse=True)


@given(trees(), st.integers(1, 6), st.randoms(use_true_random=False))
def test_the_order_of_siblings_changes_no_search_over_distinct_values(tree, num_beams, numbers):
    values = drawn_values(tree, numbers)
    shuffled, moved = permuted(tree, numbers)
    values_there = {moved[path]: value for path, value in values.items()}
    last = AGGREGATIONS["last"]
    before = beam_search(tree, overall_values(tree, values, last), num_beams)
    after = beam_search(shuffled, overall_values(shuffled, values_there, last), num_beams)
    assert [moved[path] for path in paths(before)] == paths(after)


@given(trees(all_finished=True), st.integers(1, 4))
def test_the_exact_values_of_any_lead_every_search_to_a_right_leaf_if_there_is_one(tree, num_beams):
    exact = {path: value for path, (value, _) in estimate_values(tree, "any").items()}
    overall = overall_values(tree, exact, AGGREGATIONS["last"])
    best = beam_search(tree, overall, num_beams)[0]
    assert leaf_result(best.leaf) == any(leaf_result(node) for node in tree.leaves())


def test_a_deep_tree_needs_no_recursion():
    nodes = [TreeNode((0,) * depth, terminal=depth == 3000) for depth in range(3001)]
    tree = ReasoningTree.from_nodes(nodes)
    values = dict.fromkeys(tree.nodes, 1.0)
    assert paths(beam_search(tree, overall_values(tree, values, AGGREGATIONS["last"]), 2)) == [
        (0,) * 3000
    ]
