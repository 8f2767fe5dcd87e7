import pytest
from hypothesis import given
from hypothesis import strategies as st

from forests.core.tree import Grade
from forests.core.values import estimate_values
from metrics.core.statistics.distributions import BINS, ValueDistribution, answer_shares, bin_of
from tests.metrics.trees import grades_tree, leaf, tree_of, trees

RIGHT, WRONG, SILENT = Grade.CORRECT, Grade.INCORRECT, Grade.UNANSWERED


@pytest.mark.parametrize(
    ("value", "name"),
    [(0.0, "0"), (0.05, "0.0-0.1"), (0.1, "0.1-0.2"), (0.999, "0.9-1.0"), (1.0, "1"), (-3.0, "0"),
     (7.5, "1")],
)  # fmt: skip
def test_certain_values_have_bins_of_their_own(value, name):
    assert bin_of(value) == name


def test_nodes_are_counted_by_value_and_depth():
    tree = grades_tree(n0_0=RIGHT, n0_1=WRONG, n1=WRONG)
    values = {path: value for path, (value, _) in estimate_values(tree).items()}
    distribution = ValueDistribution()

    distribution.add(tree, values)
    found = distribution.as_dict()

    assert dict(zip(BINS, found["bins"], strict=True)) == {
        **dict.fromkeys(BINS, 0), "0": 2, "0.5-0.6": 1, "1": 1,
    }  # fmt: skip
    assert found["depths"] == [
        {"depth": 1, "nodes": 2, "valued": 2, "mean": 0.25},
        {"depth": 2, "nodes": 2, "valued": 2, "mean": 0.5},
    ]


@given(st.lists(trees(), max_size=4))
def test_every_node_with_a_value_is_in_one_bin_and_one_depth(given_trees):
    distribution = ValueDistribution()
    with_value = 0
    for tree in given_trees:
        values = {path: value for path, (value, _) in estimate_values(tree).items()}
        with_value += sum(values[path] is not None for path in tree.nodes if path)
        distribution.add(tree, values)
    found = distribution.as_dict()

    assert sum(found["bins"]) == with_value == sum(one["valued"] for one in found["depths"])
    assert sum(one["nodes"] for one in found["depths"]) == sum(len(t) - 1 for t in given_trees)


def test_answers_of_the_same_meaning_are_one_and_the_most_frequent_comes_first():
    tree = tree_of(
        leaf((0,), WRONG, answer="20", count=2),
        leaf((1,), RIGHT, answer="18"),
        leaf((2,), RIGHT, answer="18.0", voted_answer="18", count=2),
        leaf((3,), SILENT),
        leaf((4,), Grade.UNCOMPARED, answer="odd", count=9),
    )

    found = answer_shares(tree)

    assert [(one.answer, one.samples, one.is_correct) for one in found] == [
        ("18", 3, True), ("20", 2, False), (None, 1, False),
    ]  # fmt: skip
    assert sum(one.share for one in found) == pytest.approx(1)


def test_a_tree_that_is_still_growing_has_no_answers():
    assert answer_shares(tree_of()) == []
