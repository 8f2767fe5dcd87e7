"""Every page gives its data as JSON, to the same readers, in the same portions."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from pymongo.errors import ServerSelectionTimeoutError

from forests.core.tree import format_path
from forests.models import Forest, Tree, TreeStatus
from forests.pages.tree_list import TREES_PER_PAGE
from forests.storage.scores import start_scorer, write_scores
from preferences.models import PAIRS_PER_PAGE, Preference, ReviewState
from preferences.sets.reviews import record_review
from tests.forests.addresses import FOREST, NODE, TREE
from tests.forests.factories import add_tree, add_trees, duck_tree, make_forest, step, tree_of

pytestmark = pytest.mark.django_db

NAME = "ducks-test-first"
METRICS, PREFERENCES = f"{FOREST}metrics/", f"{FOREST}preferences/"
PAGES = ["/", FOREST, TREE, NODE, METRICS, PREFERENCES, f"{FOREST}config/"]
SERVER = "http://gpu1.example:8000/v1"


@pytest.fixture
def forest() -> Forest:
    """A forest with metrics and pairs; its server is named in every text that may name one."""
    grown_by = {
        "model": "small", "server": SERVER, "chat_template_sha256": "", "first_at": "2026-11-29",
    }  # fmt: skip
    made = make_forest(
        NAME,
        grown_by=[grown_by],
        config_source=f"base_urls = ['{SERVER}']\n",
        stop_reason=f"{SERVER} refused the key",
        worker_message=f"{SERVER} serves another model",
    )
    made.worker_config["base_urls"] = [SERVER]
    made.replaced_settings = {"base_urls": [SERVER, "http://old.example/v1"]}
    made.save()
    add_trees(made, [duck_tree(), duck_tree(), duck_tree()])
    failed = {"status": TreeStatus.FAILED, "error": f"{SERVER} said no"}
    add_tree(made, 3, tree_of(), **failed)
    add_tree(made, 4, tree_of(step("0.0", "One.\n")), status=TreeStatus.PENDING)
    call_command(
        "beam_search", "--forest_name", NAME, "--num_beam_values", "1,2",
        "--value_function_option", "labelled", "--aggregation", "mean",
    )  # fmt: skip
    call_command(
        "create_preferences",
        "--min_confidence",
        "0",
        "--forest_name",
        NAME,
        "--set_name",
        "all",
        "--pairing",
        "all_pairs",
    )
    return Forest.objects.get(pk=NAME)


@pytest.fixture
def reader(client: Client) -> Client:
    client.force_login(User.objects.create_user("reader"))
    return client


def data_of(client: Client, address: str, **parameters: str | int) -> dict[str, Any]:
    response = client.get(address, {**parameters, "format": "json"})
    assert (response.status_code, response["Content-Type"]) == (200, "application/json")
    found: dict[str, Any] = json.loads(response.content)
    return found


def followed(client: Client, address: str | None, key: str) -> Iterator[Any]:
    """Yield the entries under a key of a list, from page to page."""
    while address:
        found = json.loads(client.get(address).content)
        yield from found[key]
        address = found["next"]


# Access


@pytest.mark.parametrize("address", PAGES)
def test_a_closed_site_asks_a_program_to_log_in(client, forest, address):
    response = client.get(address, {"format": "json"})

    assert (response.status_code, response["Content-Type"]) == (401, "application/json")
    assert "log in" in response.json()["error"]
    assert NAME not in response.content.decode()


@pytest.mark.parametrize("address", PAGES)
def test_who_reads_a_page_reads_its_json_and_neither_is_kept(reader, forest, settings, address):
    for is_public in (False, True):
        settings.PUBLIC = is_public
        page, data = reader.get(address), reader.get(address, {"format": "json"})
        assert (page.status_code, data.status_code) == (200, 200)
        assert data["Cache-Control"] == page["Cache-Control"] == "private, no-store"


@pytest.mark.parametrize("address", PAGES)
def test_an_open_site_shows_no_server_to_those_who_have_not_logged_in(
    client, forest, settings, address
):
    settings.PUBLIC = True
    response = client.get(address, {"format": "json"})

    assert response.status_code == 200
    assert "Cache-Control" not in response.headers
    assert ".example" not in response.content.decode()


def test_those_who_have_logged_in_see_servers_and_reasons(reader, forest):
    data = data_of(reader, FOREST)["forest"]

    assert data["models"][0]["servers"] == [SERVER]
    assert data["settings"]["base_urls"] == [SERVER]
    assert SERVER in data["config_source"]
    assert data["worker_message"].startswith(SERVER)
    assert data["reason"] == f"{SERVER} refused the key"
    assert data_of(reader, f"{FOREST}trees/3/")["error"] == f"{SERVER} said no"


def test_only_a_login_tells_who_reviewed(client, forest, settings):
    settings.PUBLIC = True
    pair = Preference.objects.get(pk=f"{NAME}/all/0000000/0")
    record_review(pair, ReviewState.ACCEPTED, "good", "ada", seen=None)

    found = data_of(client, PREFERENCES, review="accepted")["pairs"]
    assert [(one["review"]["note"], one["review"]["reviewer"]) for one in found] == [("good", None)]
    client.force_login(User.objects.create_user("reader"))
    found = data_of(client, PREFERENCES, review="accepted")["pairs"]
    assert [one["review"]["reviewer"] for one in found] == ["ada"]


def test_a_program_logs_in_as_the_documents_say(forest, settings):
    User.objects.create_user("ada", password="correct-horse")
    program = Client(enforce_csrf_checks=True)
    program.get("/login/")
    form = {
        "username": "ada",
        "password": "correct-horse",
        "csrfmiddlewaretoken": program.cookies["csrftoken"].value,
    }

    assert program.post("/login/", form).status_code == 302
    assert data_of(program, "/")["forests"][0]["name"] == NAME


# Errors


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("/nothing-test-here/", "no forest named"),
        (f"{FOREST}trees/9/", "has 5 trees"),
        (f"{TREE}nodes/0.9/", "no step 0.9"),
        (f"{FOREST}?status=ripe", "unknown status 'ripe'"),
        (f"{FOREST}?page=9", "no page '9'"),
        (f"{TREE}?ends=well", "no solution ends"),
        (f"{METRICS}?tree=x", "not the number of a tree"),
        (f"{PREFERENCES}?set=other", "no preference set 'other'"),
        (f"{PREFERENCES}?min_margin=2", "no margin"),
        ("/no/such/page/at/all/", "no page at this address"),
    ],
)
def test_what_is_not_there_is_told_in_json_with_the_same_status(reader, forest, address, said):
    page = reader.get(address)
    data = reader.get(address + ("&" if "?" in address else "?") + "format=json")

    assert page.status_code == data.status_code == 404
    assert data["Content-Type"] == "application/json"
    assert data["Cache-Control"] == page["Cache-Control"]
    assert (data.json()["status"], said in data.json()["error"]) == (404, True)


def test_a_form_that_no_page_has_is_refused(reader, forest):
    for address in PAGES:
        response = reader.get(address, {"format": "xml"})
        assert response.status_code == 404
        assert "no format" in response.content.decode()


@pytest.mark.parametrize("address", PAGES)
def test_a_database_that_is_away_is_told_in_json(forest, reader, monkeypatch, address):
    def away(*_: object) -> None:
        raise ServerSelectionTimeoutError("nobody there")

    for module in ("forests.pages.forest_views", "metrics.pages.views", "preferences.pages.views",
                   "forests.pages.tree.views", "forests.pages.config_views"):  # fmt: skip
        monkeypatch.setattr(f"{module}.get_forest", away)
    monkeypatch.setattr("forests.pages.overview.list_views.read_forests", away)
    reader.raise_request_exception = False

    response = reader.get(address, {"format": "json"})

    assert (response.status_code, response["Content-Type"]) == (503, "application/json")
    assert "does not answer" in response.json()["error"]


def test_a_login_that_may_not_is_told_in_json(reader, forest):
    address = f"{PREFERENCES}all/0/0/review/?format=json"

    response = reader.post(address, {"state": "accepted"})

    assert (response.status_code, response["Content-Type"]) == (403, "application/json")
    assert "review_preference" in response.json()["error"]


# Data


def test_each_page_names_its_json(reader, forest):
    for address in PAGES:
        html = reader.get(address, {"q": "a b"}).content.decode()
        [href] = re.findall(r'type="application/json" href="([^"]+)"', html)
        assert data_of(reader, address + href.replace("&amp;", "&").partition("&format")[0])


def test_the_list_tells_how_far_each_forest_is(reader, forest):
    [found] = data_of(reader, "/")["forests"]

    assert (found["num_trees"], found["num_complete"], found["num_failed"]) == (5, 3, 1)
    assert found["value"] == forest.num_correct / forest.num_leaves
    assert found["state"] == "stopped by an error"
    assert reader.get(found["page"]).json()["forest"]["name"] == NAME


def test_a_forest_lists_its_trees_with_the_filters_of_its_page(reader, forest):
    rows = data_of(reader, FOREST)["trees"]

    assert [row["index"] for row in rows] == [0, 1, 2, 3, 4]
    assert rows[0]["root_value"] == Tree.objects.get(index=0).root_value
    assert (rows[0]["num_correct"], rows[0]["num_leaves"]) == (4, 10)
    failed = data_of(reader, FOREST, status="failed")["trees"]
    assert [row["index"] for row in failed] == [3]
    mixed = data_of(reader, FOREST, outcome="mixed")
    assert [row["index"] for row in mixed["trees"]] == [0, 1, 2]
    assert (mixed["looked_at"], mixed["num_matches"]) == ({"first": 0, "last": 4}, 3)
    assert data_of(reader, FOREST, q="nothing like it")["trees"] == []


@pytest.mark.parametrize("parameters", ["", "status=complete&", "outcome=mixed&q=ducks&"])
def test_lists_come_in_portions_that_lead_on(reader, parameters):
    forest = add_trees(make_forest(NAME), [duck_tree()] * (2 * TREES_PER_PAGE + 3))
    first = f"{FOREST}?{parameters}format=json"

    assert len(reader.get(first).json()["trees"]) == TREES_PER_PAGE
    found = [row["index"] for row in followed(reader, first, "trees")]
    assert found == list(range(forest.num_trees))


def test_a_filter_that_looks_at_no_tree_is_answered(reader, forest):
    data = reader.get(f"{FOREST}?outcome=mixed&from=999999&format=json").json()

    assert (data["trees"], data["looked_at"]) == ([], None)


def test_a_jump_to_a_tree_keeps_the_form(reader, forest):
    response = reader.get(FOREST, {"tree": "2", "format": "json"}, follow=True)
    assert response.json()["index"] == 2
    response = reader.get(f"{NODE}inside/", {"format": "json"}, follow=True)
    assert response.json()["path"] == "0.0.1"


def test_a_tree_has_its_steps_with_values_and_texts(reader, forest):
    data = data_of(reader, TREE)

    expected = {format_path(node.path): node for node in duck_tree() if node.path}
    assert {row["path"]: row["text"] for row in data["steps"]} == {
        path: node.text for path, node in expected.items()
    }
    root = data["root"]
    assert (root["value"], root["num_leaves"], root["num_correct"]) == (4 / 10, 10, 4)
    assert 0 < root["low"] < 4 / 10 < root["high"] < 1
    ends = [row for row in data["steps"] if row["is_leaf"] and row["value"] is not None]
    assert ends
    assert all(row["low"] == row["value"] == row["high"] for row in ends)
    row = next(row for row in data["steps"] if row["path"] == "0.0")
    assert (row["value"], row["num_leaves"], row["num_samples"]) == (4 / 5, 5, 3)
    assert data["prompt"].startswith("Question:")
    assert (data["label"], data["estimator"], data["previous"]) == ("18", "leaf_mean", None)
    assert reader.get(data["next"]).json()["index"] == 1
    found = data_of(reader, TREE, q="boxed")["steps"]
    assert [row["path"] for row in found if row["is_hit"]] == ["0.0.0.1"]


def test_a_large_tree_is_cut_as_on_its_page_and_says_where(reader):
    wide = tree_of(*(step(f"0.{number}", "x" * 3000) for number in range(1000)))
    add_trees(make_forest(NAME), [wide])

    data = data_of(reader, TREE)

    gaps = [row["gap"] for row in data["steps"] if "gap" in row]
    steps = [row for row in data["steps"] if "gap" not in row]
    assert data["num_nodes"] == sum(gap["num_steps"] for gap in gaps) + len(steps) == 1000
    assert len(steps) < 300
    assert all(len(row["text"] or "") + row["num_characters_missing"] == 3000 for row in steps)
    leads_to = reader.get(gaps[0]["page"]).json()
    assert gaps[0]["first"] in [row.get("path") for row in leads_to["steps"]]
    assert len(reader.get(f"{TREE}nodes/0/?format=json").json()["children"]) == 200


def test_a_step_has_all_that_led_to_it(reader, forest):
    data = data_of(reader, NODE)

    assert data["text"] == "At $2 per egg and 9 eggs, that is `9 * 2`.\n"
    assert [row["path"] for row in data["ancestors"]] == ["0.0"]
    assert [row["path"] for row in data["siblings"]] == ["0.0.0", "0.0.1"]
    assert [row["path"] for row in data["children"]] == ["0.0.1.0", "0.0.1.1"]
    assert data["prefix"].endswith(data["text"])
    assert (data["value"], data["num_leaves"]) == (1 / 2, 2)


def test_metrics_come_as_numbers(reader, forest):
    data = data_of(reader, METRICS)

    [run] = data["runs"]
    assert run["parameters"]["value_function"] == "labelled"
    assert {row["metric"] for row in run["rows"]} >= {"accuracy", "pass", "coverage"}
    assert run["num_trees_used"] == 3
    assert "oracle" in run["note"]
    assert data["answers"]["answers"][0] == {
        "answer": "18", "samples": 4, "share": 0.4, "is_correct": True,
    }  # fmt: skip
    assert data_of(reader, METRICS, tree=3)["answers"]["answers"] == []


def test_a_judged_scorer_comes_with_its_numbers(reader, forest):
    scorer = start_scorer(forest, "judge", {"kind": "logprobs"})
    scores = {node.path: 0.1 + 0.2 * node.position for node in duck_tree() if node.path}
    write_scores(scorer, {f"{NAME}/000000{index}": scores for index in range(3)})
    call_command(
        "evaluate_scorer", "--forest_name", NAME, "--scorer", "judge", "--num_beam_values", "1",
        "--aggregation", "mean",
    )  # fmt: skip

    [report] = data_of(reader, METRICS)["scorers"]

    assert report["scorer"] == "judge"
    assert 0 <= report["quality"]["auroc"]["value"] <= 1
    assert set(report["searches"]) == {"prm", "labelled", "random"}


def test_pairs_come_with_their_filters_page_by_page(reader, forest):
    add_trees(forest, [duck_tree()] * 4)
    call_command(
        "create_preferences",
        "--min_confidence",
        "0",
        "--forest_name",
        NAME,
        "--set_name",
        "more",
        "--min_margin",
        "0.1",
    )
    data = data_of(reader, PREFERENCES)

    stored = Preference.objects.filter(preference_set_id=f"{NAME}/more").count()
    assert (data["sets"], data["set"]["num_pairs"]) == (["more", "all"], stored)
    assert len(data["pairs"]) == PAIRS_PER_PAGE < stored
    pairs = list(followed(reader, f"{PREFERENCES}?format=json", "pairs"))
    assert len(pairs) == stored
    assert len({(one["tree"], one["number"]) for one in pairs}) == stored
    first = Preference.objects.get(pk=f"{NAME}/more/0000000/0")
    assert (pairs[0]["chosen"]["text"], pairs[0]["margin"]) == (first.chosen, first.margin)
    wide = list(followed(reader, f"{PREFERENCES}?format=json&min_margin=0.9", "pairs"))
    assert 0 < len(wide) < stored
    assert all(one["margin"] >= 0.9 for one in wide)


def test_a_forest_without_anything_is_said_to_have_nothing(reader):
    make_forest(NAME)

    assert data_of(reader, FOREST)["trees"] == []
    assert data_of(reader, METRICS)["runs"] == []
    assert data_of(reader, PREFERENCES) == {
        "forest": NAME, "sets": [], "set": None, "pairs": [], "next": None,
    }  # fmt: skip


# The documents

DOCUMENT = Path("docs/json.md").read_text()


def test_every_example_of_the_documents_is_answered(reader, forest):
    add_trees(forest, [duck_tree()])
    examples = re.findall(r'`curl [^"]*"\$SITE([^"]+)"`', DOCUMENT)

    assert len(examples) > 6
    for address in examples:
        data_of(
            reader, address.replace("gsm8k_baseline-test-first", NAME).replace("&format=json", "")
        )


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_the_documented_login_works_with_curl(live_server, forest, tmp_path):
    User.objects.create_user("ada", password="correct horse & more")
    [script] = re.findall(r"```sh\n(.*?)```", DOCUMENT, re.DOTALL)
    script = script.replace("http://localhost:8000", live_server.url)

    def run(password: str) -> dict[str, Any]:
        environment = {"PATH": os.environ["PATH"], "NAME": "ada", "PASSWORD": password}
        done = subprocess.run(
            ["bash", "-c", script],
            capture_output=True, text=True, check=False, cwd=tmp_path, env=environment,
        )  # fmt: skip
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    assert run("wrong")["status"] == 401
    assert run("correct horse & more")["forests"][0]["name"] == NAME
