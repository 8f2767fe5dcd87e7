"""Trees with answers that turned out to be parts of thoughts are emptied, and grow again."""

import pytest

from forests.core.naming import tree_id
from forests.models import Forest, Scorer, Tree, TreeScores
from forests.storage.scores import start_scorer, write_scores
from forests.storage.trees import read_tree
from rollouts.growing import leases
from rollouts.growing.fencing import GROWS_AGAIN, forget_nodes, take_over
from rollouts.workers.jobs import grow_slice
from tests.openai_server import OpenAIServer
from tests.rollouts.forests import assert_whole, seeded

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def grown(model_server: OpenAIServer) -> Forest:
    forest = seeded(2)
    grow_slice(forest.name, 0, 2)
    return forest


def generation_of(tree: str) -> int:
    return Tree.objects.get(pk=tree).generation


def test_an_emptied_tree_grows_again(grown: Forest):
    tree = tree_id(grown.name, 0)

    assert forget_nodes([(tree, generation_of(tree))], GROWS_AGAIN) == 1

    stored = read_tree(grown, 0)
    assert stored is not None
    assert (stored.status, len(stored.tree)) == ("pending", 1)
    assert Tree.objects.get(pk=tree).oldest_generation == stored.generation + 1  # nothing to move
    grow_slice(grown.name, 0, 2)
    assert_whole(grown)


def test_a_tree_that_another_worker_has_taken_since_stays(grown: Forest):
    tree = tree_id(grown.name, 0)
    before = generation_of(tree)
    Tree.objects.filter(pk=tree).update(status="pending")
    take_over(leases.claim([tree], "another/1"), "another/1")
    Tree.objects.filter(pk=tree).update(status="complete", lease_expires_at=None)

    assert forget_nodes([(tree, before)], {}) == 0

    assert_whole(grown)


def test_a_tree_that_is_held_is_emptied_only_where_that_is_asked(grown: Forest):
    tree = tree_id(grown.name, 0)
    Tree.objects.filter(pk=tree).update(status="pending")
    take_over(leases.claim([tree], "another/1"), "another/1")
    now = [(tree, generation_of(tree))]

    assert forget_nodes(now, GROWS_AGAIN) == 0
    assert forget_nodes(now, GROWS_AGAIN, also_held=True) == 1

    assert Tree.objects.get(pk=tree).lease_holder == ""


def test_scores_of_the_emptied_steps_go_with_them(grown: Forest):
    trees = [tree_id(grown.name, index) for index in range(2)]
    scorer = start_scorer(grown, "judge", {})
    write_scores(scorer, {tree: {(0,): 0.5, (1,): 0.25} for tree in trees})

    forget_nodes([(trees[0], generation_of(trees[0]))], GROWS_AGAIN)

    assert TreeScores.objects.count() == 1
    counted = Scorer.objects.get(pk=scorer.pk)
    assert (counted.num_trees, counted.num_nodes) == (1, 2)
