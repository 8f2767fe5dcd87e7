"""Trees store where scorers disagree, so that pages find it at once."""

import pytest

from forests.core.opinions.disagreements import GRADED_LEAVES
from forests.core.opinions.verdicts import JUDGE
from forests.core.tree import parse_path
from forests.labels.disagreeing import read_largest, update_disagreements, update_disagreements_of
from forests.models import Forest, Node, Tree
from forests.storage.scores import start_scorer, write_scores
from forests.storage.trees import read_trees
from tests.forests.factories import RIGHT, WRONG, add_trees, leaf, make_forest, step, tree_of

pytestmark = pytest.mark.django_db(transaction=True)

A, B = (parse_path(name) for name in ("0.0", "0.1"))


def tree_with(right: int, wrong: int):
    """Return a tree of two steps: one with these right and wrong samples, one always wrong."""
    return tree_of(
        step("0.0", "a", count=right + wrong),
        leaf("0.0.0", "r", RIGHT, count=right),
        leaf("0.0.1", "w", WRONG, count=wrong),
        leaf("0.1", "b", WRONG, count=4),
    )


@pytest.fixture
def forest() -> Forest:
    return add_trees(make_forest(), [tree_with(1, 1), tree_with(30, 1), tree_with(3, 1)])


def judge(forest: Forest, **scores: dict) -> None:
    scorer = start_scorer(forest, "judge", {}, JUDGE)
    ids = dict(Tree.objects.values_list("index", "id"))
    write_scores(scorer, {ids[int(index[1:])]: given for index, given in scores.items()})


def test_the_largest_disagreements_of_a_forest_are_found_without_reading_its_nodes(
    forest: Forest,
):
    judge(forest, t0={A: 0.0, B: 0.0}, t1={A: 0.0, B: 1.0}, t2={A: 0.0})

    update_disagreements(forest)

    Node.objects.all().delete()
    found = read_largest(forest, 10)
    assert [(index, one.path) for index, one in found] == [(1, A), (2, A), (1, B), (0, A)]
    assert all(one.one == "judge" and one.other == GRADED_LEAVES for _, one in found)
    sizes = [one.size for _, one in found]
    assert sizes == sorted(sizes, reverse=True)


def test_after_a_label_of_a_tree_only_that_tree_changes(forest: Forest):
    judge(forest, t0={A: 0.0}, t1={A: 0.0})
    update_disagreements(forest)
    judge(forest, t0={A: 1.0}, t1={A: 1.0})

    for stored in read_trees(forest, [1]):
        update_disagreements_of(forest, stored)

    assert [index for index, _ in read_largest(forest, 10)] == [0]


def test_without_a_scorer_nobody_disagrees(forest: Forest):
    update_disagreements(forest)

    assert read_largest(forest, 10) == []
    assert set(Tree.objects.values_list("disagreement", flat=True)) == {None}
