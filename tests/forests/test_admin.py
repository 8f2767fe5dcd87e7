"""What staff can look at, and the one thing that they can change."""

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.test import Client
from pymongo.collection import Collection

from forests.models import Forest
from tests.forests.factories import (
    RIGHT,
    add_activity,
    add_trees,
    duck_tree,
    leaf,
    make_forest,
    tree_of,
)
from tests.forests.test_markup import HOSTILE, Reading

pytestmark = pytest.mark.django_db

NODE = "ducks-test-first/0000000/0.0.1.0"
TREE = "ducks-test-first/0000000"


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("staff"))
    return client


@pytest.fixture
def forest() -> Forest:
    forest = add_trees(make_forest(), [duck_tree(), duck_tree()])
    add_activity(forest, forest.created_at, trees=2, nodes=24)
    return forest


def page(staff: Client, address: str) -> str:
    response = staff.get(address)
    assert response.status_code == 200
    html: str = response.content.decode()
    return html


@pytest.mark.parametrize("model", ["forest", "tree", "node", "activity"])
def test_every_model_is_listed_and_read_but_not_added_or_deleted(staff, forest, model):
    address = f"/admin/forests/{model}/"
    html = page(staff, address)
    key = {"forest": forest.name, "tree": TREE, "node": NODE}.get(model)
    if key is not None:
        assert key in html
        html = page(staff, f"{address}{quote(key)}/change/")
        assert "deletelink" not in html
        assert staff.post(f"{address}{quote(key)}/delete/").status_code == 403
    assert staff.get(f"{address}add/").status_code == 403


@pytest.mark.parametrize(
    ("model", "key", "address"),
    [
        ("forest", "ducks-test-first", "/ducks-test-first/"),
        ("tree", TREE, "/ducks-test-first/trees/0/"),
        ("node", NODE, "/ducks-test-first/trees/0/?open=0.0.1.0#node-0-0-1-0"),
    ],
)
def test_a_document_leads_to_its_public_page(staff, forest, model, key, address):
    html = page(staff, f"/admin/forests/{model}/{quote(key)}/change/")
    assert f'href="{address}" class="viewsitelink"' in html


def test_pausing_a_forest_leaves_the_counters_to_the_workers(staff, forest, monkeypatch):
    address = f"/admin/forests/forest/{forest.name}/change/"
    page(staff, address)
    read = Forest.from_db

    def read_then_grow(*args):
        """Let a worker add to a counter between the reading and the writing of the admin."""
        Forest.objects.filter(pk=forest.pk).update(num_nodes=1000)
        return read(*args)

    monkeypatch.setattr(Forest, "from_db", read_then_grow)
    assert staff.post(address, {"is_paused": "on", "num_nodes": "7"}).status_code == 302
    monkeypatch.undo()
    stored = Forest.objects.get(pk=forest.pk)
    assert stored.is_paused
    assert stored.num_nodes == 1000
    assert staff.post(address, {}).status_code == 302
    assert not Forest.objects.get(pk=forest.pk).is_paused


@pytest.mark.parametrize("model", ["tree", "node", "activity"])
def test_what_workers_write_cannot_be_changed(staff, forest, model):
    key = {"tree": TREE, "node": NODE}.get(model, f"{forest.name}/{forest.created_at:%Y%m%d%H%M}")
    assert staff.post(f"/admin/forests/{model}/{quote(key)}/change/", {}).status_code == 403


def test_trees_are_filtered_by_forest_and_status(staff, forest):
    add_trees(make_forest("other-test-second"), [tree_of(leaf("0.0", "4", RIGHT))])
    html = page(staff, "/admin/forests/tree/?forest=other-test-second")
    assert "other-test-second/0000000" in html
    assert TREE not in html
    assert "0 trees" in page(staff, "/admin/forests/tree/?status__exact=failed")


def test_nodes_are_found_by_their_own_id_or_that_of_their_tree(staff, forest):
    assert "12 nodes" in page(staff, f"/admin/forests/node/?q={TREE}")
    html = page(staff, f"/admin/forests/node/?q={NODE}")
    assert "1 node<" in " ".join(html.split()).replace("1 node <", "1 node<")
    assert "0 nodes" in page(staff, "/admin/forests/node/?q=ducks")


def test_a_list_counts_and_orders_no_more_than_it_offers(staff, forest, monkeypatch):
    monkeypatch.setattr("forests.admin.MAX_LISTED", 20)
    monkeypatch.setattr("forests.admin.NodeAdmin.list_per_page", 10)
    pipelines = []
    aggregate = Collection.aggregate

    def noting(self, pipeline, *args, **kwargs):
        if self.name == "forests_node":
            pipelines.append(pipeline)
        return aggregate(self, pipeline, *args, **kwargs)

    monkeypatch.setattr(Collection, "aggregate", noting)
    assert "20 nodes" in page(staff, "/admin/forests/node/")
    assert pipelines
    for pipeline in pipelines:
        stages = {name: value for stage in pipeline for name, value in stage.items()}
        assert stages.get("$limit", 10**6) <= 20
        assert "$sort" not in stages


def test_hostile_text_is_inert_in_the_admin(staff):
    text = "\n".join(one for one in HOSTILE if "\ud800" not in one)
    forest = make_forest(config_source=text, backend_message=text, config_git_branch=text)
    add_trees(forest, [tree_of(leaf("0.0", text, RIGHT, answer=text, model=text[:50]))], item=text,
              prompt=text, error=text)  # fmt: skip
    for model, key in (("forest", forest.name), ("tree", TREE), ("node", f"{TREE}/0.0")):
        for address in (
            f"/admin/forests/{model}/",
            f"/admin/forests/{model}/{quote(key)}/change/",
        ):
            html = page(staff, address)
            reading = Reading(html)
            assert html.count("<script") == html.count("<script src=") + html.count("<script id=")
            assert not [name for name, _ in reading.attributes if name.startswith("on")]
            assert not {"iframe", "object", "embed", "base", "math"} & set(reading.tags)


def test_the_queues_are_reached_from_the_admin(staff):
    assert "/admin/django_rq/dashboard/" in page(staff, "/admin/")
    html = page(staff, "/admin/django_rq/dashboard/")
    assert "rollouts" in html
    assert "rollouts" in page(staff, "/admin/rq/")
    assert 'href="/admin/rq/"' in page(staff, "/")
