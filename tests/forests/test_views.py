"""The pages, as a browser asks for them, against a real database."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from pymongo.collection import Collection
from pymongo.errors import ServerSelectionTimeoutError

from forests.core.naming import RESERVED_NAMES, ForestNameError, forest_name
from forests.models import Forest, Node, TreeStatus
from forests.selectors import MAX_FILTERED_TREES, TREES_PER_PAGE
from forests.store import collection
from forests.tree_rows import MAX_OPEN_NODES
from tests.forests.factories import (
    RIGHT,
    WRONG,
    add_activity,
    add_tree,
    add_trees,
    duck_tree,
    leaf,
    make_forest,
    open_tree,
    step,
    tree_of,
)
from tests.forests.test_markup import HOSTILE, Reading

pytestmark = pytest.mark.django_db

FOREST = "/ducks-test-first/"
TREE = "/ducks-test-first/trees/0/"


@pytest.fixture
def reader(client: Client) -> Client:
    client.force_login(User.objects.create_user("reader"))
    return client


@pytest.fixture
def forest() -> Forest:
    return add_trees(make_forest(), [duck_tree()])


def text_of(client: Client, address: str, **headers: str) -> str:
    response = client.get(address, headers=headers or None)
    assert response.status_code == 200
    html: str = response.content.decode()
    return html


# Access


@pytest.mark.parametrize("address", ["/", FOREST, TREE])
def test_a_closed_site_asks_for_a_login(client, forest, address):
    response = client.get(address)
    assert response.status_code == 302
    assert response["Location"] == f"/login/?next={address}"


@pytest.mark.parametrize("address", ["/", FOREST, TREE])
def test_a_public_site_can_be_read_without_login(client, forest, settings, address):
    settings.PUBLIC = True
    assert "Log in" in text_of(client, address)


@pytest.mark.parametrize("address", ["/admin/", "/admin/rq/", "/admin/forests/node/"])
@pytest.mark.parametrize("is_public", [True, False])
def test_admin_and_queues_always_need_staff(client, settings, address, is_public):
    settings.PUBLIC = is_public
    assert client.get(address).status_code == 302
    client.force_login(User.objects.create_user("reader"))
    assert client.get(address).status_code == 302
    client.force_login(User.objects.create_superuser("staff"))
    assert client.get(address).status_code == 200


def test_a_fragment_asked_after_logout_reloads_its_page(client, forest):
    response = client.get(FOREST, headers={"HX-Request": "true"})
    assert response.status_code == 401
    assert response["HX-Refresh"] == "true"


def test_login_and_logout(client, forest):
    User.objects.create_user("reader", password="secret-reader")
    wrong = client.post("/login/", {"username": "reader", "password": "wrong"})
    assert "do not match" in wrong.content.decode()
    right = client.post("/login/", {"username": "reader", "password": "secret-reader"})
    assert right["Location"] == "/"
    assert "Log out <bdi>reader</bdi>" in text_of(client, "/")
    assert client.get("/logout/").status_code == 405
    assert client.post("/logout/")["Location"] == "/login/"
    assert client.get("/").status_code == 302


def test_login_leads_only_to_this_site(client):
    User.objects.create_user("reader", password="secret-reader")
    answers = {"username": "reader", "password": "secret-reader"}
    response = client.post("/login/", {**answers, "next": "https://evil.example/"})
    assert response["Location"] == "/"


@pytest.mark.parametrize("address", ["/", FOREST, TREE])
def test_pages_are_only_read(reader, forest, address):
    assert reader.post(address).status_code == 405
    assert reader.head(address).status_code == 200


def test_every_page_has_a_strict_content_security_policy(reader, forest):
    for address in ("/", FOREST, TREE, "/nothing-here/", "/login/"):
        policy = reader.get(address)["Content-Security-Policy"]
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy


def test_pages_have_no_inline_script_or_style(reader, forest):
    for address in ("/", FOREST, TREE):
        html = text_of(reader, address)
        assert html.count("<script") == html.count("<script src=")
        assert " style=" not in html
        assert "<style" not in html
        assert not [name for name, _ in Reading(html).attributes if name.startswith("on")]


# Health


def test_health_needs_no_login(client):
    response = client.get("/healthz")
    assert (response.status_code, response.content) == (200, b"ok\n")


def test_health_fails_where_the_database_does_not_answer(client, monkeypatch):
    def fail(name: str) -> None:
        raise ServerSelectionTimeoutError("no server")

    gone = SimpleNamespace(database=SimpleNamespace(command=fail))
    monkeypatch.setattr("prm_site.views.connection", gone)
    assert client.get("/healthz").status_code == 503


# List


def test_an_empty_site_says_which_command_comes_next(reader):
    html = text_of(reader, "/")
    assert "verify_config --config_name gsm8k_baseline" in html
    assert "seed_forest --dataset_config_name gsm8k_baseline" in html


def test_the_list_shows_each_forest_with_its_counters(reader, forest):
    make_forest("other-test-second")
    html = text_of(reader, "/")
    assert html.index("other-test-second") < html.index("ducks-test-first")
    assert "1 of 1" in html
    assert "0.40" in html
    assert 'aria-label="100.0 % complete"' in html


def test_htmx_gets_the_list_alone(reader, forest):
    html = text_of(reader, "/", **{"HX-Request": "true"})
    assert html.startswith('<section id="forests"')
    assert "<html" not in html


# Forest


def state_of(html: str) -> str:
    return html.partition('<span class="badge state-')[2].partition(">")[2].partition("<")[0]


def seeding() -> Forest:
    return make_forest(is_seeded=False)


def not_started() -> Forest:
    return add_trees(make_forest(), [tree_of()], status=TreeStatus.PENDING)


def stalled() -> Forest:
    forest = make_forest(growth_started_at=datetime.now(UTC) - timedelta(hours=1))
    return add_trees(forest, [open_tree()], status=TreeStatus.GROWING)


def growing() -> Forest:
    forest = stalled()
    add_activity(forest, datetime.now(UTC) - timedelta(minutes=1), trees=2, nodes=120, tokens=600)
    add_activity(forest, datetime.now(UTC), trees=1, nodes=60, tokens=300)
    return forest


def blocked() -> Forest:
    forest = growing()
    Forest.objects.filter(pk=forest.pk).update(backend_message="waiting: connection <refused>")
    return forest


def stopped() -> Forest:
    forest = growing()
    Forest.objects.filter(pk=forest.pk).update(backend_message="stopped: no model named x")
    return forest


def paused() -> Forest:
    forest = growing()
    Forest.objects.filter(pk=forest.pk).update(is_paused=True)
    return forest


def finished() -> Forest:
    return add_trees(make_forest(), [duck_tree()])


@pytest.mark.parametrize(
    ("make", "state", "command", "seconds"),
    [
        (seeding, "seeding", "seed_forest --dataset_config_name ducks --dataset_split test "
         "--forest_name_suffix first", 2),
        (not_started, "not started", "rollout_worker --num_processes 4 --forest_name ducks", 15),
        (stalled, "no worker", "populate_forest --forest_name ducks-test-first --watch", 15),
        (growing, "growing", None, 2),
        (blocked, "waiting", None, 15),
        (stopped, "stopped", "rollout_worker --num_processes 4 --forest_name ducks", 15),
        (paused, "paused", None, 15),
        (finished, "finished", "create_preferences --forest_name ducks-test-first", 15),
        (make_forest, "empty", None, 15),
    ],
)  # fmt: skip
def test_a_forest_shows_its_state_and_the_next_command(
    reader, make: Callable[[], Forest], state, command, seconds
):
    make()
    page = text_of(reader, FOREST)
    fragment = text_of(reader, FOREST, **{"HX-Request": "true"})
    assert fragment.startswith('<section id="progress"')
    for html in (page, fragment):
        assert state_of(html) == state
        assert f'hx-trigger="every {seconds}s"' in html
        assert ("manage.py" in fragment) is (command is not None)
        assert command is None or command in html


def test_a_growing_forest_shows_rates_and_time_left(reader):
    growing()
    html = text_of(reader, FOREST)
    for name in ("Time left", "Trees / min", "Nodes / s", "Tokens / s", "Requests / s"):
        assert f"<dt>{name}</dt>" in html


def test_a_blocked_forest_shows_why_escaped(reader):
    blocked()
    assert "waiting: connection &lt;refused&gt;" in text_of(reader, FOREST)


def test_failures_are_shown_by_kind(reader, forest):
    collection(Forest).update_one(
        {"_id": forest.name}, {"$set": {"failures": {"timeout": 7, "status_503": 12}}}
    )
    html = text_of(reader, FOREST)
    assert html.index("status_503") < html.index("timeout")


def test_a_forest_shows_its_config_as_it_was(reader, forest):
    html = text_of(reader, FOREST)
    assert "source = &#x27;ducks&#x27;" in html
    assert "0123456789abcdef" * 4 in html
    assert "ffffffffffff</code> on <bdi>main" in html
    assert "small-model" in html


def test_trees_are_listed_in_the_order_of_the_dataset_page_by_page(reader):
    forest = make_forest()
    for index in range(TREES_PER_PAGE + 2):
        add_tree(forest, index, tree_of(), status=TreeStatus.PENDING)
    first, second = text_of(reader, FOREST), text_of(reader, f"{FOREST}?page=2")
    assert [i for i in range(60) if f"/trees/{i}/" in first] == list(range(TREES_PER_PAGE))
    assert [i for i in range(60) if f"/trees/{i}/" in second] == [50, 51]
    assert 'href="?page=2#trees"' in first
    assert "Page 2 of 2" in second


def test_trees_are_filtered_by_status(reader, forest):
    add_tree(forest, 1, tree_of(), status=TreeStatus.FAILED, error="grading failed: <b>")
    add_tree(forest, 2, tree_of(), status=TreeStatus.PENDING)
    html = text_of(reader, f"{FOREST}?status=failed")
    assert [i for i in range(3) if f"/trees/{i}/" in html] == [1]
    assert "grading failed: &lt;b&gt;" in html
    assert "No tree of this forest is growing." in text_of(reader, f"{FOREST}?status=growing")


def test_a_filtered_list_says_that_there_are_more(reader, monkeypatch):
    assert MAX_FILTERED_TREES >= TREES_PER_PAGE
    monkeypatch.setattr("forests.selectors.MAX_FILTERED_TREES", 2)
    add_trees(make_forest(), [tree_of()] * 3)
    assert "there are more" in text_of(reader, f"{FOREST}?status=complete")
    assert "there are more" not in text_of(reader, f"{FOREST}?status=failed")


def test_going_to_a_tree_by_its_number(reader, forest):
    assert reader.get(f"{FOREST}?tree=0")["Location"] == TREE


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("/no-such-forest/", "there is no forest named &#x27;no-such-forest&#x27;"),
        ("/no-such-forest/trees/0/", "there is no forest named"),
        (f"{FOREST}trees/7/", "has 1 trees, none of them 7"),
        (f"{FOREST}trees/{'9' * 30}/", "has 1 trees"),
        (f"{FOREST}?tree=1", "has 1 trees"),
        (f"{FOREST}?tree=x", "has 1 trees"),
        (f"{FOREST}?page=2", "no page &#x27;2&#x27;"),
        (f"{FOREST}?page=0", "no page"),
        (f"{FOREST}?page={'9' * 5000}", "no page"),
        (f"{FOREST}?status=lost", "no status &#x27;lost&#x27;: trees are pending"),
        ("/nothing/at/all/", "There is no page at this address."),
    ],
)
def test_what_is_not_there_is_a_404_that_says_so(reader, forest, address, reason):
    response = reader.get(address)
    assert response.status_code == 404
    assert reason in response.content.decode()


# Tree


def test_a_tree_shows_every_step_with_its_value_and_grade(reader, forest):
    html = text_of(reader, TREE)
    for node in duck_tree():
        if node.path:
            anchor = "node-" + "-".join(map(str, (0, *node.path)))
            assert f'<li id="{anchor}"' in html
    assert "0.40" in html
    assert "(4 of 10)" in html
    assert "4 of 5 correct" in html
    assert '<span class="badge grade-incorrect">incorrect</span>' in html
    assert '<span class="badge grade-truncated">truncated</span>' in html
    assert "<strong>9 eggs</strong>" in html
    assert "<mfrac><mn>36</mn><mn>2</mn></mfrac>" in html
    assert "9*2=18&gt;&gt;18" in html
    assert 'class="label"><bdi>18</bdi>' in html


def test_the_best_and_the_worst_path_are_marked(reader, forest):
    html = text_of(reader, TREE)
    marked = {
        kind: [part.split('"')[0] for part in html.split('<li id="')[1:]
               if f'<span class="mark {kind}">' in part]
        for kind in ("best", "worst")
    }  # fmt: skip
    assert marked["best"] == ["node-0-0", "node-0-0-0", "node-0-0-0-0"]
    assert marked["worst"] == ["node-0-1", "node-0-1-0", "node-0-1-0-0"]
    assert 'href="#node-0-0-0-0"' in html


def test_steps_are_nested_as_the_tree_is(reader, forest):
    parents: dict[str, str] = {}
    stack: list[str] = []

    class Nesting(Reading):
        def handle_starttag(self, tag, attrs):
            super().handle_starttag(tag, attrs)
            if tag == "li" and (anchor := dict(attrs).get("id")):
                parents[anchor] = stack[-1] if stack else ""
            if tag == "li":
                stack.append(dict(attrs).get("id") or "")

        def handle_endtag(self, tag):
            super().handle_endtag(tag)
            if tag == "li":
                stack.pop()

    html = text_of(reader, TREE)
    steps = html[html.index('<ol class="steps root">') : html.index("</main>")]
    assert Nesting(steps).open == []
    assert parents == {
        anchor: "" if anchor.count("-") == 2 else anchor.rpartition("-")[0] for anchor in parents
    }
    assert len(parents) == len(duck_tree()) - 1


def test_raw_text_is_shown_as_written(reader, forest):
    html = text_of(reader, f"{TREE}?raw")
    assert "She uses $3 + 4 = 7$ eggs, so **9 eggs** are left." in html
    assert "<math" not in html


def test_a_tree_leads_to_its_neighbours(reader, forest):
    add_trees(forest, [duck_tree(), duck_tree()])
    assert 'rel="prev"' not in text_of(reader, TREE)
    middle = text_of(reader, f"{FOREST}trees/1/")
    assert f'rel="prev" href="{FOREST}trees/0/"' in middle
    assert f'rel="next" href="{FOREST}trees/2/"' in middle
    assert 'rel="next"' not in text_of(reader, f"{FOREST}trees/2/")


def test_a_tree_without_steps_says_why(reader):
    forest = add_trees(make_forest(), [tree_of()], status=TreeStatus.PENDING)
    add_tree(forest, 1, tree_of(), status=TreeStatus.FAILED, error="the model said <no>")
    assert "rollout_worker --num_processes 4 --forest_name" in text_of(reader, TREE)
    failed = text_of(reader, f"{FOREST}trees/1/")
    assert "the model said &lt;no&gt;" in failed
    assert "No step was written before growth gave up." in failed


def test_a_growing_tree_shows_no_result_as_no_result(reader):
    add_trees(make_forest(), [open_tree()], status=TreeStatus.GROWING)
    html = text_of(reader, TREE)
    assert html.count("not grown yet") == 2
    assert "0.00" not in html
    assert "best path" not in html


def test_chat_prompts_show_their_roles(reader):
    messages = [{"role": "system", "content": "*Check*."}, {"role": "user", "content": "$x$?"}]
    add_trees(make_forest(), [duck_tree()], prompt=messages)
    html = text_of(reader, TREE)
    assert '<p class="role"><bdi>system</bdi></p>' in html
    assert "<em>Check</em>" in html


def test_a_large_tree_opens_its_first_levels_and_all_on_request(reader):
    firsts = [step(f"0.{i}", "a\n") for i in range(30)]
    seconds = [step(f"0.{i}.{j}", "b\n") for i in range(30) for j in range(3)]
    thirds = [
        leaf(f"0.{i}.{j}.0", "#### 1", RIGHT if i == 7 else WRONG)
        for i in range(30)
        for j in range(3)
    ]
    tree = tree_of(*firsts, *seconds, *thirds)
    assert len(tree) > MAX_OPEN_NODES
    add_trees(make_forest(), [tree])
    steps = '<li id="node'
    html = text_of(reader, TREE)
    assert html.count(steps) == 210
    assert html.count("<details open>") == 30 + 90 + 1
    assert text_of(reader, f"{TREE}?all").count("<details open>") == 210


def test_a_node_links_to_its_place_in_the_page(reader, forest):
    node = Node.objects.get(pk="ducks-test-first/0000000/0.0.1.0")
    assert node.get_absolute_url() == f"{TREE}#node-0-0-1-0"
    assert 'id="node-0-0-1-0"' in text_of(reader, TREE)


@pytest.mark.parametrize("raw", ["", "?raw"])
def test_hostile_text_in_every_field_is_inert(reader, raw):
    text = "\n\n".join(one for one in HOSTILE if "\ud800" not in one)
    tree = tree_of(
        step("0.0", text, model=text, finish_reason="stop"),
        leaf("0.0.0", text, WRONG, answer=text),
    )
    forest = add_trees(
        make_forest(config_source=text, config_git_branch=text, dataset_source=text,
                    dataset_licence=text, backend_message=text, failures={"kind": 1},
                    worker_config={text.replace("\x00", ""): text}),
        [tree], item=text, label=text, prompt=text, error=text, status=TreeStatus.GROWING,
    )  # fmt: skip
    add_tree(forest, 1, tree, prompt=[{"role": text, "content": text}], item=text, label=text)
    calm = make_forest("calm-test-first")
    add_trees(calm, [tree_of(step("0.0", "calm"), leaf("0.0.0", "calm", WRONG, answer="calm"))])
    tags = {
        kind: set(Reading(text_of(reader, f"/calm-test-first/{part}")).tags)
        for kind, part in (("forest", ""), ("tree", "trees/0/"))
    }
    for address, kind in ((FOREST, "forest"), (TREE, "tree"), (f"{FOREST}trees/1/", "tree")):
        html = text_of(reader, address + raw)
        reading = Reading(html)
        assert html.count("<script") == html.count('<script src="/static/')
        assert not {"img", "iframe", "style", "object", "embed", "base"} & (
            set(reading.tags) - tags[kind]
        )
        assert not [name for name, _ in reading.attributes if name.startswith("on")]
        addresses = [value or "" for name, value in reading.attributes if name in ("href", "src")]
        assert all(one.startswith(("/", "#", "?")) and one[:2] != "//" for one in addresses)
        assert "evil.example" in reading.text


# Cost


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """The collections that were read, in order, by the ORM or past it."""
    names: list[str] = []

    def noting(method: Callable[..., Any]) -> Callable[..., Any]:
        def read(self: Collection[Any], *args: Any, **kwargs: Any) -> Any:
            names.append(self.name)
            return method(self, *args, **kwargs)

        return read

    for name in ("find", "aggregate", "count_documents"):
        monkeypatch.setattr(Collection, name, noting(getattr(Collection, name)))
    return names


LOGIN = ["django_session", "auth_user"]


@pytest.mark.parametrize(
    ("address", "collections"),
    [
        ("/", ["forests_forest", "forests_activity"]),
        (FOREST, ["forests_forest", "forests_activity", "forests_tree"]),
        (f"{FOREST}?status=complete", ["forests_forest", "forests_activity", "forests_tree"]),
        (f"{FOREST}trees/1/", ["forests_forest", "forests_tree", "forests_node"]),
    ],
)
def test_a_page_reads_as_often_in_a_large_forest_as_in_a_small_one(
    reader, reads, address, collections
):
    forest = add_trees(growing(), [duck_tree()])
    reads.clear()
    text_of(reader, address)
    assert sorted(reads) == sorted(LOGIN + collections)
    add_trees(forest, [duck_tree()] * 60)
    for number in range(5):
        make_forest(f"other-test-{number}", growth_started_at=datetime.now(UTC), num_trees=3)
    reads.clear()
    text_of(reader, address)
    assert sorted(reads) == sorted(LOGIN + collections)


# Names


def first_parts(patterns: list[URLPattern | URLResolver]) -> set[str]:
    return {str(one.pattern).partition("/")[0] for one in patterns} - {""}


def test_no_forest_can_shadow_a_page():
    resolver = get_resolver()
    fixed = {part for part in first_parts(resolver.url_patterns) if "<" not in part}
    assert {"admin", "login", "logout", "healthz"} <= fixed
    assert fixed | {"static"} <= RESERVED_NAMES
    with pytest.raises(ForestNameError):
        forest_name("admin", "rq", "A")
