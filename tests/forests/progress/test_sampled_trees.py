"""What a page reads of some trees, evenly spread over a forest."""

from datetime import UTC, datetime, timedelta

import pytest

from forests.models import Forest, TreeStatus
from forests.progress import sampled_trees
from forests.progress.sampled_trees import read_sampled_trees
from tests.forests.factories import (
    RIGHT,
    WRONG,
    add_trees,
    duck_tree,
    leaf,
    make_forest,
    tree_of,
)

pytestmark = pytest.mark.django_db

GOOD, BAD = tree_of(leaf("0.0", "18", RIGHT)), tree_of(leaf("0.0", "1", WRONG))
NOW = datetime.now(UTC).replace(microsecond=0)


def test_a_small_forest_is_read_whole_and_a_large_one_evenly(monkeypatch):
    forest = add_trees(make_forest(), [GOOD, BAD, GOOD, BAD, GOOD, BAD])
    found = read_sampled_trees(forest)
    assert (found.number, found.is_all) == (6, True)
    assert found.mean_value == 0.5
    assert (found.num_never_correct, found.num_always_correct) == (3, 3)
    monkeypatch.setattr(sampled_trees, "TREES_SAMPLED", 3)
    found = read_sampled_trees(forest)
    assert (found.number, found.is_all, found.mean_value) == (3, False, 1.0)
    assert found.interval is not None
    assert found.interval[1] == 1.0


def test_only_complete_trees_with_a_result_count():
    forest = add_trees(make_forest(), [duck_tree(), tree_of()])
    add_trees(forest, [duck_tree()], status=TreeStatus.GROWING)
    found = read_sampled_trees(Forest.objects.get(pk=forest.pk))
    assert (found.number, list(found.values)) == (3, [0.4])
    assert found.samples_per_tree == 5  # one tree has ten samples, the other none


def test_times_of_complete_trees_are_in_order():
    later, earlier = NOW, NOW - timedelta(hours=1)
    forest = add_trees(make_forest("ducks-test-2"), [GOOD], completed_at=later)
    forest = add_trees(forest, [GOOD], completed_at=earlier)
    assert read_sampled_trees(forest).completed_at == [earlier, later]


def test_a_forest_without_trees_has_no_value():
    found = read_sampled_trees(make_forest())
    assert (found.number, found.mean_value, found.interval) == (0, None, None)
    assert found.samples_per_tree is None
