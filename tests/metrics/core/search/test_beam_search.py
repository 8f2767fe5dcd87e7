import pytest
from hypothesis import given
from hypothesis import strategies as st

from forests.core.tree import ROOT, Grade, NodePath, ReasoningTree, TreeNode
from forests.core.values import estimate_values, leaf_result
from metrics.core.search.aggregation import AGGREGATIONS, aggregate_path
from metrics.core.search.beam_search import Overall, OverallValues, beam_search, diverse_search
from tests.metrics.trees import grades_tree, permuted, trees

RIGHT, WRONG = Grade.CORRECT, Grade.INCORRECT


def paths(beams):
    return [beam.leaf.path for beam in beams]


def drawn_values(tree, numbers):
    """Return a different value for each node."""
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
    last = OverallValues(values, AGGREGATIONS["last"])
    assert paths(beam_search(tree, last, 1).beams) == [(1, 1)]
    assert paths(beam_search(tree, last, 2).beams) == [(0, 1), (1, 1)]


def test_a_finished_beam_keeps_its_place_among_the_candidates():
    tree = grades_tree(n0=WRONG, n1_0=RIGHT, n1_1=RIGHT)
    values = {(0,): 0.5, (1,): 0.6, (1, 0): 0.1, (1, 1): 0.9}
    found = beam_search(tree, OverallValues(values, AGGREGATIONS["last"]), 2).beams
    assert [(beam.leaf.path, beam.value) for beam in found] == [((1, 1), 0.9), ((0,), 0.5)]


def test_ties_go_to_the_path_that_comes_first_and_no_value_comes_last():
    tree = grades_tree(n0=WRONG, n1=WRONG, n2=RIGHT)
    overall: dict[NodePath, float | None] = {(0,): None, (1,): 0.5, (2,): 0.5}
    assert paths(beam_search(tree, overall, 3).beams) == [(1,), (2,), (0,)]


def test_a_tree_of_a_root_has_no_beam():
    assert beam_search(ReasoningTree(), {}, 5).beams == []


@given(trees(), st.sampled_from(sorted(AGGREGATIONS)), st.randoms(use_true_random=False))
def test_as_many_beams_as_leaves_find_what_an_exhaustive_search_finds(tree, name, numbers):
    overall = OverallValues(drawn_values(tree, numbers), AGGREGATIONS[name])
    found = beam_search(tree, overall, len(tree.leaves())).beams
    all_leaves = sorted(
        (path for path in tree.nodes if tree.is_leaf(path)),
        key=lambda path: (-(overall[path] or 0.0), path),
    )
    assert paths(found) == all_leaves
    assert [beam.value for beam in found] == [overall[path] for path in all_leaves]


@given(trees(), st.integers(1, 6), st.randoms(use_true_random=False))
def test_a_search_returns_that_many_leaves_best_first(tree, num_beams, numbers):
    overall = OverallValues(drawn_values(tree, numbers), AGGREGATIONS["mean"])
    found = beam_search(tree, overall, num_beams).beams
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
    before = beam_search(tree, OverallValues(values, last), num_beams).beams
    after = beam_search(shuffled, OverallValues(values_there, last), num_beams).beams
    assert [moved[path] for path in paths(before)] == paths(after)


@given(trees(all_finished=True), st.integers(1, 4))
def test_the_values_of_any_lead_every_search_to_a_right_leaf_if_there_is_one(tree, num_beams):
    values = {path: value for path, (value, _) in estimate_values(tree, "any").items()}
    overall = OverallValues(values, AGGREGATIONS["last"])
    best = beam_search(tree, overall, num_beams).beams[0]
    assert leaf_result(best.leaf) == any(leaf_result(node) for node in tree.leaves())


def test_a_deep_tree_needs_no_recursion():
    nodes = [TreeNode((0,) * depth, terminal=depth == 3000) for depth in range(3001)]
    tree = ReasoningTree.from_nodes(nodes)
    values = dict.fromkeys(tree.nodes, 1.0)
    assert paths(beam_search(tree, OverallValues(values, AGGREGATIONS["last"]), 2).beams) == [
        (0,) * 3000
    ]


def test_the_tokens_of_a_search_are_those_of_all_samples_it_looked_at():
    tree = grades_tree(n0_0=WRONG, n0_1=RIGHT, n1_0=WRONG, n1_1=WRONG)
    for node in tree:
        node.tokens = 10
    tree.nodes[(0,)].count = 3
    values: Overall = {(0,): 0.9, (1,): 0.1, (0, 0): 0.5, (0, 1): 0.4, (1, 0): 0.3, (1, 1): 0.2}

    one = beam_search(tree, values, 1)
    all_ = beam_search(tree, values, 4)

    assert one.tokens(tree) == (3 + 1) * 10 + (1 + 1) * 10  # both first steps, then below one
    assert all_.tokens(tree) == 3 * 10 + 5 * 10


class TestDiverseSearch:
    def test_each_subtree_gives_its_own_best_beam(self):
        tree = grades_tree(n0_0=WRONG, n0_1=RIGHT, n1_0=WRONG, n1_1=WRONG)
        values: Overall = {
            (0,): 0.9, (1,): 0.1, (0, 0): 0.8, (0, 1): 0.7, (1, 0): 0.2, (1, 1): 0.3,
        }  # fmt: skip

        assert paths(beam_search(tree, values, 2).beams) == [(0, 0), (0, 1)]
        assert paths(diverse_search(tree, values, 2).beams) == [(0, 0), (1, 1)]

    def test_first_steps_are_dealt_out_in_turn(self):
        tree = grades_tree(n0=WRONG, n1=WRONG, n2=RIGHT, n3=WRONG)
        values: Overall = {(0,): 0.1, (1,): 0.2, (2,): 0.9, (3,): 0.8}

        assert paths(diverse_search(tree, values, 2).beams) == [(2,), (3,)]
        assert paths(diverse_search(tree, values, 9).beams) == [(2,), (3,), (1,), (0,)]

    @given(trees(), st.integers(1, 6), st.randoms(use_true_random=False))
    def test_beams_come_from_different_first_steps_best_first(self, tree, num_beams, numbers):
        overall = OverallValues(drawn_values(tree, numbers), AGGREGATIONS["mean"])

        found = diverse_search(tree, overall, num_beams).beams

        first_steps = [beam.leaf.path[:1] for beam in found]
        assert len(found) == min(num_beams, len(tree.children(ROOT)))
        assert len(set(first_steps)) == len(first_steps)
        assert all(tree.is_leaf(path) for path in paths(found))
        values = [beam.value or 0.0 for beam in found]
        assert values == sorted(values, reverse=True)

    @given(trees(), st.randoms(use_true_random=False))
    def test_with_one_subtree_it_is_a_search_with_one_beam(self, tree, numbers):
        overall = OverallValues(drawn_values(tree, numbers), AGGREGATIONS["last"])

        assert diverse_search(tree, overall, 1) == beam_search(tree, overall, 1)


def test_the_overall_value_is_of_all_steps_on_the_way():
    values = {(0,): 0.5, (0, 0): 0.25, (0, 0, 0): 0.5, (1,): 0.75}
    found = OverallValues(values, AGGREGATIONS["product"])
    assert {path: found[path] for path in values} == {
        (0,): 0.5,
        (0, 0): 0.125,
        (0, 0, 0): 0.0625,
        (1,): 0.75,
    }
