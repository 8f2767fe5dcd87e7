"""Staff recount a forest in the admin."""

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client

from forests.models import Forest, Tree, TreeStatus
from forests.storage.counters import recount_forest
from tests.forests.factories import add_trees, duck_tree, make_forest, open_tree

pytestmark = pytest.mark.django_db


@pytest.fixture
def forest() -> Forest:
    forest = add_trees(make_forest(), [duck_tree(), duck_tree()])
    recount_forest(forest)
    return forest


@pytest.fixture
def recount(client: Client, forest):
    """Recount the forest in the admin, and return what the next page says."""
    client.force_login(User.objects.create_superuser("staff"))

    def recount() -> str:
        choice = {"action": "recount", "_selected_action": [forest.name], "index": 0}
        return client.post("/admin/forests/forest/", choice, follow=True).content.decode()

    return recount


def test_recounting_says_what_was_wrong_and_mends_it(forest, recount):
    assert "Recounted ducks-test-first: all counters were correct." in recount()
    Forest.objects.filter(pk=forest.pk).update(num_nodes=7)
    Tree.objects.filter(pk=f"{forest.name}/0000000").update(num_correct=0)
    assert "Recounted ducks-test-first: num_nodes 7 is 24." in recount()
    assert Forest.objects.get(pk=forest.pk).num_nodes == 24
    assert Tree.objects.get(pk=f"{forest.name}/0000000").num_correct == 4


def test_a_forest_that_workers_hold_is_not_recounted(forest, recount):
    soon = datetime.now(UTC) + timedelta(seconds=30)
    add_trees(forest, [open_tree()], status=TreeStatus.GROWING, lease_expires_at=soon)
    Forest.objects.filter(pk=forest.pk).update(num_nodes=7)
    assert "Pause ducks-test-first first" in recount()
    assert Forest.objects.get(pk=forest.pk).num_nodes == 7


def test_a_large_forest_is_recounted_by_the_command(forest, recount, monkeypatch):
    monkeypatch.setattr("forests.admin.MAX_NODES_OF_A_REQUEST", 23)
    assert "recount_forest --forest_name ducks-test-first" in recount()


def test_recounting_takes_the_right_to_change_forests(client: Client, forest):
    client.force_login(User.objects.create_user("viewer", is_staff=True))
    choice = {"action": "recount", "_selected_action": [forest.name], "index": 0}
    assert client.post("/admin/forests/forest/", choice).status_code == 403
