"""The pages as a browser requests them, with a real database."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.urls import URLPattern, URLResolver, get_resolver

from forests.core.naming import RESERVED_NAMES, ForestNameError, check_forest_name
from forests.models import Forest, Tree, TreeStatus
from forests.pages.tree_list import TREES_PER_PAGE, outcomes
from forests.progress import sampled_trees
from forests.storage.trees import TREES_PER_READ, collection
from tests.forests import states
from tests.forests.addresses import FOREST, FRAGMENT, NODE, PARTS, PROMPT, TREE, text_of
from tests.forests.factories import (
    RIGHT,
    UNCOMPARED,
    add_activity,
    add_tree,
    add_trees,
    duck_tree,
    leaf,
    make_forest,
    open_tree,
    tree_of,
)
from tests.forests.markup.test_markup import Reading

pytestmark = pytest.mark.django_db

LOGIN = ["django_session", "auth_user"]

# Access


@pytest.mark.parametrize("address", ["/", FOREST, TREE, NODE, PROMPT])
def test_a_closed_site_asks_for_a_login(client, forest, address):
    response = client.get(address)
    assert response.status_code == 302
    assert response["Location"] == f"/login/?next={address}"


@pytest.mark.parametrize("address", ["/", FOREST, TREE, NODE, PROMPT])
def test_a_public_site_can_be_read_without_login(client, forest, settings, address):
    settings.PUBLIC = True
    assert client.get(address).status_code == 200
    assert "Log in" in text_of(client, "/")


@pytest.mark.parametrize("address", ["/admin/", "/admin/queue/", "/admin/forests/node/"])
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
    html = text_of(client, "/")
    assert "<summary><bdi>reader</bdi></summary>" in html
    assert "Log out" in html
    assert client.get("/logout/").status_code == 405
    assert client.post("/logout/")["Location"] == "/login/"
    assert client.get("/").status_code == 302


def test_login_leads_only_to_this_site(client):
    User.objects.create_user("reader", password="secret-reader")
    answers = {"username": "reader", "password": "secret-reader"}
    response = client.post("/login/", {**answers, "next": "https://evil.example/"})
    assert response["Location"] == "/"


@pytest.mark.parametrize("address", ["/", FOREST, TREE, NODE, PROMPT])
def test_pages_are_only_read(reader, forest, address):
    assert reader.post(address).status_code == 405
    assert reader.head(address).status_code == 200


def test_every_page_has_a_strict_content_security_policy(reader, forest):
    for address in ("/", FOREST, TREE, NODE, PROMPT, "/nothing-here/", "/login/"):
        policy = reader.get(address)["Content-Security-Policy"]
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy


def test_pages_have_no_inline_script_or_style(reader, forest):
    for address in ("/", FOREST, TREE, NODE):
        html = text_of(reader, address)
        assert html.count("<script") == html.count("<script src=")
        assert " style=" not in html
        assert "<style" not in html
        assert not [name for name, _ in Reading(html).attributes if name.startswith("on")]


# List


def test_an_empty_site_says_which_command_comes_next(reader):
    html = text_of(reader, "/")
    assert "verify_config --config_name gsm8k_baseline" in html
    assert "seed_forest --dataset_config_name gsm8k_baseline" in html


def test_the_list_shows_each_forest_with_its_counters(reader, forest):
    make_forest("other-test-second")
    html = text_of(reader, "/")
    assert html.index("other-test-second") < html.index("ducks-test-first")
    assert "0.04\u20130.92, counted" in html
    assert "1 of 1" in html
    assert "0.40" in html
    assert 'aria-label="100.0 % complete"' in html


def test_htmx_gets_the_list_alone(reader, forest):
    html = text_of(reader, "/", **FRAGMENT)
    assert html.startswith('<section id="forests"')
    assert "<html" not in html


# Forest


def state_of(html: str) -> str:
    return html.partition('<span class="badge state-')[2].partition(">")[2].partition("<")[0]


@pytest.mark.parametrize(
    ("make", "state", "command", "seconds"),
    [
        (states.seeding, "seeding", "seed_forest --dataset_config_name ducks --dataset_split test "
         "--forest_name_suffix first", 2),
        (states.importing, "seeding", "import_forest …", 2),
        (states.pending, "pending", "rollout_worker --num_processes 4 --forest_name ducks", 15),
        (states.no_worker, "no worker", "populate_forest --forest_name ducks-test-first --watch",
         15),
        (states.growing, "growing", None, 2),
        (states.waiting, "waiting for the server", None, 15),
        (states.stopped, "stopped by an error", "rollout_worker --num_processes 4 --forest_name du",
         15),
        (states.paused, "paused", "populate_forest --forest_name ducks-test-first --watch", 15),
        (states.limit_spent, "limit spent", "rollout_worker --num_processes 4 --forest_name "
         "ducks-test-first --max_requests 100<", 15),
        (states.finished, "finished", "create_preferences --forest_name ducks-test-first", 15),
        (states.finished_with_failures, "finished with failures", "retry_failed --forest_name", 15),
        (states.empty, "empty", "seed_forest --dataset_config_name ducks --dataset_split test "
         "--forest_name_suffix first", 15),
    ],
)  # fmt: skip
def test_a_forest_shows_its_state_and_the_next_command(
    reader, make: Callable[[], Forest], state, command, seconds
):
    make()
    page = text_of(reader, FOREST)
    fragment = text_of(reader, FOREST, **PARTS["progress"])
    assert fragment.startswith('<section id="progress"')
    for html in (page, fragment):
        assert state_of(html) == state
        assert f'hx-trigger="every {seconds}s"' in html
        assert ("manage.py" in fragment) is (command is not None)
        assert command is None or command in html


def test_a_growing_forest_shows_rates_and_time_left(reader):
    states.growing()
    html = text_of(reader, FOREST)
    for name in ("Time left", "Trees / min", "Nodes / s", "Tokens / s", "Requests / s"):
        assert f"<dt>{name}</dt>" in html


def test_live_leases_tell_how_many_workers_are_alive(reader):
    forest = states.no_worker()
    now = datetime.now(UTC)
    leases = [
        ("node-a/pid:[1]/7", now + timedelta(seconds=20)),
        ("node-a/pid:[1]/7", now + timedelta(seconds=20)),
        ("node-a/pid:[1]/8", now + timedelta(seconds=20)),
        ("node-b/pid:[1]/7", now + timedelta(seconds=20)),
        ("node-c/pid:[1]/9", now - timedelta(seconds=1)),
        ("", None),
    ]
    for index, (holder, until) in enumerate(leases, start=1):
        add_tree(forest, index, open_tree(), status=TreeStatus.GROWING,
                 lease_holder=holder, lease_expires_at=until)  # fmt: skip
    assert ", 3 workers</small>" in text_of(reader, "/")
    html = text_of(reader, FOREST)
    assert "<dt>Workers alive</dt><dd>3 <small>on 2 machines</small></dd>" in html
    assert "<dt>Trees being grown</dt><dd>4</dd>" in html
    assert state_of(html) == "growing"  # however long its requests take
    Tree.objects.update(lease_expires_at=now - timedelta(seconds=1))
    html = text_of(reader, FOREST)
    assert "Workers alive" not in html
    assert state_of(html) == "no worker"


def test_limits_retries_and_what_is_spent_of_them_are_shown(reader):
    forest = states.growing()
    assert "of at most" not in text_of(reader, FOREST)
    Forest.objects.filter(pk=forest.pk).update(
        requests=1200, max_requests=5000, retries=31, prompt_tokens=10_000,
        completion_tokens=2_000, max_tokens_total=1_000_000,
    )  # fmt: skip
    html = text_of(reader, FOREST)
    assert "<dt>Requests</dt><dd>1,200 <small>of at most 5,000</small></dd>" in html
    assert "<dt>All tokens</dt><dd>12,000 <small>of at most 1,000,000</small></dd>" in html
    assert "<dt>Retries</dt><dd>31</dd>" in html


def test_money_is_shown_and_a_price_that_is_not_known_is_never_taken_for_nothing(reader):
    forest = states.growing()
    spent = {"prompt_tokens": 2_000_000, "completion_tokens": 100_000, "max_cost": 5.0}
    Forest.objects.filter(pk=forest.pk).update(**spent)
    assert "<dt>Cost</dt><dd>price not known" in text_of(reader, FOREST)
    assert "<small>no price</small>" in text_of(reader, "/")

    Forest.objects.filter(pk=forest.pk).update(price_in=0.5, price_out=2.0)

    assert "<dt>Cost</dt><dd>$1.20 <small>of at most $5.00</small></dd>" in text_of(reader, FOREST)
    assert '<td class="number">$1.20 <small' in text_of(reader, "/")


def test_what_is_reserved_for_requests_in_flight_is_told_apart_from_what_is_used(reader):
    forest = states.growing()
    Forest.objects.filter(pk=forest.pk).update(
        ledger={"requests": 12, "prompt_tokens": 300, "completion_tokens": 900}, price_in=1.0,
        reservations={"a": {"requests": 2, "completion_tokens": 800}}, price_out=10.0,
        max_requests=12, max_tokens_total=5000,
    )  # fmt: skip

    html = text_of(reader, FOREST)

    assert "<dt>Requests</dt><dd>10 <small>of at most 12</small></dd>" in html
    assert "<dt>All tokens</dt><dd>400 <small>of at most 5,000</small></dd>" in html
    assert "2 requests <small>with up to 800 tokens, $0.008</small>" in html


def test_the_list_tells_both_kinds_of_tokens(reader):
    forest = states.growing()
    Forest.objects.filter(pk=forest.pk).update(prompt_tokens=128_400, completion_tokens=15_917)

    html = text_of(reader, "/")
    assert '<small title="128,400 prompt, 15,917 completion">144 k tokens</small>' in html


def test_a_forest_that_nobody_grows_yet_says_how_to_estimate_what_it_costs(reader):
    make_forest(num_trees=40)

    assert (
        "verify_config --config_name ducks --dataset_split test --with_backend --estimate 40"
    ) in text_of(reader, FOREST)


def test_a_growing_forest_estimates_the_rest_from_its_first_trees(reader):
    forest = states.growing()
    for number in (9, 10, 11):
        tokens = {"prompt_tokens": 100 * number, "completion_tokens": 10 * number}
        forest = add_trees(forest, [duck_tree()], requests=number, **tokens)
    Forest.objects.filter(pk=forest.pk).update(
        num_trees=1000, num_complete=3, num_failed=0, price_in=1.0, price_out=10.0
    )

    html = text_of(reader, FOREST)

    assert "Estimate for the 997 unfinished trees" in html
    assert re.search(r"<dt>Requests</dt><dd>9,970 \([\d,]+ to [\d,]+\)</dd>", html)
    assert re.search(r"<dt>Cost</dt><dd>\$1\.99 \(\$[\d.]+ to \$[\d.]+\)</dd>", html)
    assert "Estimated from 3 of the first trees" in html


@pytest.mark.parametrize(("number", "words"), [(1, "failed tree another"), (2, "2 failed trees")])
def test_failed_trees_can_be_given_another_try(reader, number, words):
    forest = add_trees(make_forest(), [duck_tree()])
    add_trees(forest, [tree_of()] * number, status=TreeStatus.FAILED)
    html = text_of(reader, FOREST)
    assert words in html
    assert "python manage.py retry_failed --forest_name ducks-test-first" in html


@pytest.mark.parametrize("make", [states.waiting, states.stopped])
@pytest.mark.parametrize("address", ["/", FOREST])
def test_what_a_server_answered_is_shown_escaped_and_to_readers_with_a_login_alone(
    client, reader, settings, make, address
):
    settings.PUBLIC = True
    make()
    assert "http://10.0.0.7:8000/v1 &lt;refused&gt;" in text_of(reader, address)
    reader.logout()
    html = text_of(client, address)
    assert "10.0.0.7" not in html
    assert "to read why" in html


@pytest.mark.parametrize("address", ["/", FOREST, TREE])
def test_no_page_names_a_model_server_to_readers_without_a_login(client, reader, settings, address):
    settings.PUBLIC = True
    server = "http://10.0.0.7:8000/v1"
    forest = make_forest(
        config_source=f"class Config:\n    worker = Worker(base_urls=['{server}'])\n",
        worker_config={"base_urls": [server], "extra_body": {"router": server}, "seed": 7},
    )
    error = "Cannot connect to host 10.0.0.7:8000"
    add_trees(forest, [tree_of()], status=TreeStatus.FAILED, error=error)

    html = text_of(reader, address)
    assert ("10.0.0.7" in html) is (address != "/")
    reader.logout()
    html = text_of(client, address)
    assert "10.0.0.7" not in html
    if address == TREE:
        assert "to read why" in html


@pytest.mark.parametrize(
    "make", [states.limit_spent, states.paused, states.stopped, states.waiting, states.no_worker]
)
def test_a_forest_that_does_not_grow_shows_no_time_left(reader, make):
    add_activity(make(), datetime.now(UTC) - timedelta(minutes=3), trees=2, nodes=120, tokens=600)
    for address in ("/", FOREST):
        assert "Time left" not in text_of(reader, address)


@pytest.mark.parametrize(
    ("lease", "told"),
    [
        (timedelta(seconds=20), "A worker is growing this tree."),
        (timedelta(seconds=-1), "No worker is growing this tree. State of the forest: no worker"),
        (None, "No worker is growing this tree. State of the forest: no worker"),
    ],
)
def test_an_unfinished_tree_says_whether_a_worker_holds_it(reader, lease, told):
    states.no_worker()
    until = datetime.now(UTC) + lease if lease else None
    Tree.objects.update(lease_expires_at=until)
    html = text_of(reader, TREE)
    assert told in html
    assert ("manage.py rollout_worker" in html) is ("No worker" in told)


def test_failures_are_shown_by_kind(reader, forest):
    collection(Forest).update_one(
        {"_id": forest.name}, {"$set": {"failures": {"timeout": 7, "status_503": 12}}}
    )
    html = text_of(reader, FOREST)
    assert html.index("status_503") < html.index("timeout")


def test_trees_are_listed_in_the_order_of_the_dataset_page_by_page(reader):
    forest = make_forest()
    for index in range(TREES_PER_PAGE + 2):
        add_tree(forest, index, tree_of(), status=TreeStatus.PENDING)
    first, second = text_of(reader, FOREST), text_of(reader, f"{FOREST}?page=2")
    assert [i for i in range(60) if f"/trees/{i}/" in first] == list(range(TREES_PER_PAGE))
    assert [i for i in range(60) if f"/trees/{i}/" in second] == [50, 51]
    assert 'href="?page=2#trees"' in first
    assert "Page 2 of 2" in second


def test_going_to_a_tree_by_its_number(reader, forest):
    assert reader.get(f"{FOREST}?tree=0")["Location"] == TREE


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("/no-such-forest/", "There is no forest named &#x27;no-such-forest&#x27;"),
        ("/no-such-forest/trees/0/", "There is no forest named"),
        (f"{FOREST}trees/7/", "has 1 tree and no tree 7"),
        (f"{FOREST}trees/{'9' * 30}/", "has 1 tree"),
        (f"{FOREST}?tree=1", "has 1 tree"),
        (f"{FOREST}?tree=x", "has 1 tree"),
        (f"{FOREST}?page=2", "There is no page &#x27;2&#x27;"),
        (f"{FOREST}?page=0", "There is no page"),
        (f"{FOREST}?page={'9' * 5000}", "There is no page"),
        (f"{FOREST}?status=lost", "Unknown status &#x27;lost&#x27;: use pending"),
        ("/nothing/at/all/", "There is no page at this address."),
    ],
)
def test_what_is_not_there_is_a_404_that_says_so(reader, forest, address, reason):
    response = reader.get(address)
    assert response.status_code == 404
    assert reason in response.content.decode()


# Cost


NODE_READS = ["forests_forest", "forests_tree", "forests_node"]
TREE_READS = [*NODE_READS, "forests_scorer"]
PERMISSIONS = ["auth_user_groups", "auth_user_user_permissions"]


@pytest.mark.parametrize(
    ("address", "collections"),
    [
        # The read of trees is for the leases of growing ones.
        ("/", [*["forests_forest"] * 2, "forests_activity", "forests_tree", "metrics_metricrun"]),
        # The reads of trees are for one page of them, the leases of growing ones, the costs and the
        # thoughts of the first ones, and the values of some.
        (
            FOREST,
            [
                "forests_forest",
                "forests_activity",
                *["forests_tree"] * 5,
                "forests_node",
                "metrics_metricrun",
            ],
        ),
        # The permissions tell whether the reader may label.
        (f"{FOREST}trees/1/", [*TREE_READS, *PERMISSIONS, "forests_tree"]),
        (f"{FOREST}trees/1/?q=eggs&ends=correct", [*TREE_READS, *PERMISSIONS, "forests_tree"]),
        # The permissions tell whether the reader may draw more rollouts.
        (f"{FOREST}trees/1/nodes/0.0.1/", [*TREE_READS, *PERMISSIONS]),
        (f"{FOREST}trees/1/nodes/0.0.1/prefix.txt", [*NODE_READS, "forests_tree"]),
        (f"{FOREST}trees/1/prompt.txt", ["forests_forest", "forests_tree"]),
    ],
)
def test_a_page_reads_as_often_in_a_large_forest_as_in_a_small_one(
    reader, reads, address, collections, monkeypatch
):
    monkeypatch.setattr(sampled_trees, "TREES_SAMPLED", TREES_PER_READ)  # one query, not four
    forest = add_trees(states.growing(), [duck_tree()])
    reads.clear()
    text_of(reader, address)
    assert sorted(reads) == sorted(LOGIN + collections)
    add_trees(forest, [duck_tree()] * 60)
    for number in range(5):
        make_forest(f"other-test-{number}", growth_started_at=datetime.now(UTC), num_trees=3)
    reads.clear()
    text_of(reader, address)
    assert sorted(reads) == sorted(LOGIN + collections)


@pytest.mark.parametrize(
    ("part", "collections"),
    [
        ("inside/", TREE_READS),
        ("steps/?from=0&to=2", TREE_READS),
        ("text/", NODE_READS),
        ("details/", TREE_READS),
    ],
)
def test_a_part_loaded_on_demand_reads_no_more_than_it_shows(
    reader, forest, reads, part, collections
):
    text_of(reader, NODE + part, **FRAGMENT)
    assert sorted(reads) == sorted(LOGIN + collections)


# Names


def first_parts(patterns: list[URLPattern | URLResolver]) -> set[str]:
    return {str(one.pattern).partition("/")[0] for one in patterns} - {""}


def test_no_forest_can_shadow_a_page():
    resolver = get_resolver()
    fixed = {part for part in first_parts(resolver.url_patterns) if "<" not in part}
    assert {"admin", "login", "logout", "healthz"} <= fixed
    assert fixed | {"static"} <= RESERVED_NAMES
    for name in fixed:
        with pytest.raises(ForestNameError):
            check_forest_name(name)


def test_samples_that_could_not_be_compared_are_shown_with_what_to_run(reader):
    tree = tree_of(leaf("0.0", "18", RIGHT), leaf("0.1", "odd", UNCOMPARED, count=1200))
    add_trees(make_forest(), [tree])
    html = text_of(reader, FOREST)
    assert "<dt>Uncompared</dt><dd>1,200" in html
    assert "<dt>Samples</dt><dd>1</dd>" in html
    assert "run <code>regrade_forest --forest_name ducks-test-first</code> when" in html
    assert "1 of 1 <small>and 1,200 uncompared</small>" in html
    assert "all correct" in outcomes(dict(Tree.objects.values().get()))


def test_a_forest_whose_samples_were_all_compared_says_nothing_of_it(reader, forest):
    assert "ncompared" not in text_of(reader, FOREST)


def test_the_panels_tell_accuracy_with_its_interval_and_lead_to_trees_of_a_value(reader, forest):
    html = text_of(reader, FOREST)
    assert "<strong>0.40</strong> pass@1 <small>0.04 to 0.92 with 95 % confidence, over 1" in html
    [address] = re.findall(r'<a href="([?]from_value=[^"]+)"', html)
    assert f">{TREE}<" not in html
    assert f'href="{TREE}"' in text_of(reader, FOREST + address.replace("&amp;", "&"))
    for name in ("Accuracy", "Growth", "Cost", "Evidence"):
        assert f"{name}</h2>" in html


def test_growth_over_time_is_drawn_from_the_times_of_complete_trees(reader):
    began = datetime.now(UTC) - timedelta(hours=4)
    forest = make_forest(growth_started_at=began, growth_finished_at=began + timedelta(hours=3))
    add_trees(forest, [duck_tree()], completed_at=began + timedelta(hours=1))
    assert "<polyline" not in text_of(reader, FOREST)
    add_trees(Forest.objects.get(), [duck_tree()] * 2, completed_at=began + timedelta(hours=2))
    html = text_of(reader, FOREST)
    assert '<polyline points="0,90 100,90 100,60 200,60 200,30 200,0 300,0"/>' in html
    assert "half of them after 2 h 0 min" in html


def test_a_forest_refined_for_labels_claims_no_pass_rate(reader):
    settings = {"strategy": "branching", "refinement": {"goal": "labels"}}
    add_trees(make_forest(worker_config=settings), [duck_tree()])
    html = text_of(reader, FOREST)
    assert "of the trees have a correct sample" in html
    assert "</strong> pass@1" not in html


def test_commands_that_do_not_continue_growth_are_folded(reader, forest):
    html = text_of(reader, FOREST)
    assert html.index("<summary>Next commands</summary>") < html.index("create_preferences")
    assert html.count("data-copies") == 2
    states.changed(forest, num_trees=2, is_paused=True)
    assert "Next commands" not in text_of(reader, FOREST)
