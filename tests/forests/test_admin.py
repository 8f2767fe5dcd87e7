"""What staff can look at, and what they can do with a forest."""

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.test import Client
from pymongo.collection import Collection

from forests.models import Activity, Forest, Node, Tree, TreeStatus
from metrics.models import MetricRun
from preferences.core.pairing import PairingOptions
from preferences.models import Preference, PreferenceSet, ReviewState
from preferences.sets.creation import SetParameters, create_preferences
from preferences.sets.reviews import record_review
from tests.forests.addresses import text_of
from tests.forests.factories import (
    RIGHT,
    add_activity,
    add_trees,
    duck_tree,
    leaf,
    make_forest,
    open_tree,
    tree_of,
)
from tests.forests.markup.test_markup import HOSTILE, Reading

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


@pytest.mark.parametrize("model", ["forest", "tree", "node", "activity"])
def test_every_model_is_listed_and_read_but_only_a_forest_deleted(staff, forest, model):
    address = f"/admin/forests/{model}/"
    html = text_of(staff, address)
    activity = Activity.objects.get().pk
    key = {"forest": forest.name, "tree": TREE, "node": NODE, "activity": activity}[model]
    assert f"{address}{quote(key)}/change/" in html
    html = text_of(staff, f"{address}{quote(key)}/change/")
    if model != "forest":
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
    html = text_of(staff, f"/admin/forests/{model}/{quote(key)}/change/")
    assert f'href="{address}" class="viewsitelink"' in html


def test_pausing_a_forest_leaves_the_counters_to_the_workers(staff, forest, monkeypatch):
    address = f"/admin/forests/forest/{forest.name}/change/"
    text_of(staff, address)
    read = Forest.from_db

    def read_then_grow(*args):
        """Let a worker add to a counter between the admin's read and its write."""
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
    html = text_of(staff, "/admin/forests/tree/?forest=other-test-second")
    assert "other-test-second/0000000" in html
    assert TREE not in html
    assert "0 trees" in text_of(staff, "/admin/forests/tree/?status__exact=failed")


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("forest=ducks-test-first&status__exact=failed", "1 tree"),
        ("forest=ducks-test-first&status__exact=complete", "1 tree"),
        ("forest=other-test-second&status__exact=failed", "0 trees"),
        (f"q={TREE}", "1 tree"),
        (f"q={TREE}&forest=ducks-test-first", "1 tree"),
        (f"q={TREE}&forest=other-test-second&status__exact=complete", "1 tree"),
    ],
)
def test_no_list_of_trees_is_asked_for_with_two_conditions(
    staff, forest, django_assert_max_num_queries, query: str, shown: str
):
    """Django joins them with `$and`, for which the embedded server reads all trees."""
    make_forest("other-test-second")
    Tree.objects.filter(pk=TREE).update(status=TreeStatus.FAILED)

    with django_assert_max_num_queries(20) as asked:
        assert shown in text_of(staff, f"/admin/forests/tree/?{query}")
    of_trees = [one["sql"] for one in asked.captured_queries if "forests_tree." in one["sql"]]
    assert of_trees or shown == "0 trees"
    assert not any("$and" in one for one in of_trees)


def test_nodes_are_found_by_their_own_id_or_that_of_their_tree(staff, forest):
    assert "12 nodes" in text_of(staff, f"/admin/forests/node/?q={TREE}")
    html = text_of(staff, f"/admin/forests/node/?q={NODE}")
    assert "1 node<" in " ".join(html.split()).replace("1 node <", "1 node<")
    assert "0 nodes" in text_of(staff, "/admin/forests/node/?q=ducks")


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
    assert "20 nodes" in text_of(staff, "/admin/forests/node/")
    assert pipelines
    for pipeline in pipelines:
        stages = {name: value for stage in pipeline for name, value in stage.items()}
        assert stages.get("$limit", 10**6) <= 20
        assert "$sort" not in stages


def test_forests_are_found_by_a_part_of_their_name_and_filtered(staff, forest):
    make_forest("other-train-second", is_paused=True)
    for query in ("q=OTHER", "is_paused__exact=1", "config_name=other", "dataset_split=train"):
        html = text_of(staff, f"/admin/forests/forest/?{query}")
        assert "other-train-second" in html
        assert "/forest/ducks-test-first/change/" not in html


def test_a_list_leads_to_the_public_pages(staff, forest):
    for model, address in (
        ("forest", "/ducks-test-first/"),
        ("tree", "/ducks-test-first/trees/1/"),
        ("node", "/ducks-test-first/trees/0/?open=0.0.1.0#node-0-0-1-0"),
        ("activity", "/ducks-test-first/"),
    ):
        assert f'<a href="{address}">view</a>' in text_of(staff, f"/admin/forests/{model}/")


# Actions


def act(client: Client, action: str, *names: str, **more: str) -> str:
    """Choose forests and an action in the list; return what the next page says."""
    choice = {"action": action, "_selected_action": names, **(more or {"index": "0"})}
    response = client.post("/admin/forests/forest/", choice, follow=True)
    assert response.status_code == 200
    html: str = response.content.decode()
    return html


def test_forests_are_paused_and_resumed(staff, forest):
    other = make_forest("other-test-second")
    assert "Paused: ducks-test-first, other-test-second." in act(
        staff, "pause", forest.name, other.name
    )
    assert Forest.objects.filter(is_paused=True).count() == 2
    assert "Resumed: ducks-test-first." in act(staff, "resume", forest.name)
    assert [one.name for one in Forest.objects.filter(is_paused=True)] == [other.name]


def test_failed_trees_are_retried(staff, forest):
    add_trees(forest, [tree_of()] * 2, status=TreeStatus.FAILED, error="gave up")
    assert "2 trees of ducks-test-first made pending" in act(staff, "retry", forest.name)
    assert Tree.objects.filter(status=TreeStatus.PENDING).count() == 2
    assert Forest.objects.get(pk=forest.pk).num_failed == 0


def test_what_was_done_is_in_the_history(staff, forest):
    act(staff, "pause", forest.name)
    act(staff, "retry", forest.name)
    html = text_of(staff, f"/admin/forests/forest/{forest.name}/history/")
    assert "paused" in html
    assert "0 failed trees made pending" in html


@pytest.mark.parametrize("by", ["the list", "the page"])
def test_deleting_a_forest_says_first_what_goes(staff, forest, by):
    call_command("beam_search", "--forest_name", forest.name, "-v", "0")
    made = create_preferences(
        forest, "mine", SetParameters(PairingOptions()), report=lambda _: None
    )
    record_review(Preference.objects.all()[0], ReviewState.ACCEPTED, "clear", "staff")
    kept = add_trees(make_forest("other-test-second"), [duck_tree()])
    address = f"/admin/forests/forest/{forest.name}/delete/"
    asked = (
        act(staff, "delete_selected", forest.name) if by == "the list" else text_of(staff, address)
    )
    numbers = {"forests": 1, "trees": 2, "nodes": 24, "preference sets": 1,
               "preferences": made.num_pairs, "reviews": 1, "metric runs": 1}  # fmt: skip
    for what, number in numbers.items():
        assert f"<li>{what.capitalize()}: {number}</li>" in asked
    assert Forest.objects.count() == 2
    if by == "the list":
        act(staff, "delete_selected", forest.name, post="yes")
    else:
        staff.post(address, {"post": "yes"})
    assert [one.pk for one in Forest.objects.all()] == [kept.pk]
    assert Tree.objects.count() == 1
    assert Node.objects.count() == 12
    assert not PreferenceSet.objects.exists()
    assert not MetricRun.objects.exists()


def test_a_forest_that_workers_hold_is_not_deleted(staff, forest):
    soon = datetime.now(UTC) + timedelta(seconds=30)
    add_trees(forest, [open_tree()], status=TreeStatus.GROWING, lease_expires_at=soon)
    address = f"/admin/forests/forest/{forest.name}/delete/"
    assert "trees of ducks-test-first that workers hold: pause it" in text_of(staff, address)
    assert "that workers hold" in act(staff, "delete_selected", forest.name, post="yes")
    staff.post(address, {"post": "yes"})
    assert Forest.objects.filter(pk=forest.pk).exists()


@pytest.mark.parametrize("counter", ["num_nodes", "num_trees"])
def test_a_large_forest_is_deleted_by_a_command(staff, forest, counter):
    Forest.objects.filter(pk=forest.pk).update(**{counter: 100_001})
    address = f"/admin/forests/forest/{forest.name}/delete/"
    command = f"python manage.py delete_forest --forest_name {forest.name} --yes"
    assert f"more than a page can delete: {command}" in text_of(staff, address)
    assert command in act(staff, "delete_selected", forest.name, post="yes")
    staff.post(address, {"post": "yes"})
    assert Forest.objects.filter(pk=forest.pk).exists()
    assert Node.objects.exists()


def test_who_may_only_look_can_do_nothing(client: Client, forest):
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_forest"))
    client.force_login(viewer)
    html = text_of(client, "/admin/forests/forest/")
    assert forest.name in html
    assert "_selected_action" not in html
    for action in ("pause", "retry", "recount"):
        assert act(client, action, forest.name).count('class="success"') == 0
    act(client, "delete_selected", forest.name, post="yes")
    stored = Forest.objects.get(pk=forest.pk)
    assert not stored.is_paused
    assert client.get(f"/admin/forests/forest/{forest.name}/delete/").status_code == 403


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
            html = text_of(staff, address)
            reading = Reading(html)
            assert html.count("<script") == html.count("<script src=") + html.count("<script id=")
            assert not [name for name, _ in reading.attributes if name.startswith("on")]
            assert not {"iframe", "object", "embed", "base", "math"} & set(reading.tags)


def test_the_queue_is_reached_from_the_admin_and_from_every_page(staff):
    for address in ("/admin/", "/"):
        assert 'href="/admin/queue/"' in text_of(staff, address)
