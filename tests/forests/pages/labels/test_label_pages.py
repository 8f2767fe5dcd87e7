"""The page on which people label steps."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from forests.core.opinions.verdicts import HUMAN, IMPORTED, JUDGE, Verdict
from forests.core.tree import parse_path
from forests.labels.disagreeing import update_disagreements
from forests.labels.storage import DECISIONS
from forests.models import Forest, Tree, TreeLabels
from forests.storage.scores import JudgedTree, read_scores, start_scorer, write_judged
from prm_site.access.roles import OPERATOR, REVIEWER, VIEWER
from tests.forests.factories import add_trees, duck_tree, make_forest
from tests.forests.labelling import person, say

pytestmark = pytest.mark.django_db(transaction=True)

A, B = parse_path("0.0"), parse_path("0.1")
RIGHT, NEUTRAL, WRONG = Verdict
PAGE = "/ducks-test-first/labels/"
STEP = "/ducks-test-first/trees/0/nodes/0.0/label/"


@pytest.fixture
def forest() -> Forest:
    return add_trees(make_forest(), [duck_tree(), duck_tree(), duck_tree()])


@pytest.fixture
def judged(forest: Forest) -> Forest:
    """A forest with a judge that calls a step wrong, though most samples after it are right."""
    scorer = start_scorer(forest, "strict", {}, JUDGE)
    said = JudgedTree({A: 0.0, B: 1.0}, {A: "It **forgot** <b>the muffins</b>."})
    write_judged(scorer, {Tree.objects.get(index=1).id: said})
    update_disagreements(forest)
    return forest


def log_in(client: Client, role: str, name: str = "ann") -> None:
    call_command("add_user", username=name, role=role)
    client.force_login(User.objects.get(username=name))


def data(client: Client, query: str = "") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(client.get(f"{PAGE}?format=json&{query}").content)
    return found


def test_where_sources_disagree_comes_first_with_the_reason(client: Client, judged: Forest):
    log_in(client, REVIEWER)

    html = client.get(PAGE).content.decode()

    assert "Tree 1, step 0.0" in html
    assert "Why <bdi>strict</bdi> says so" in html
    assert "It <strong>forgot</strong> &lt;b&gt;the muffins&lt;/b&gt;." in html
    first = data(client)["steps"][0]
    assert (first["tree"], first["path"]) == (1, "0.0")
    assert first["disagreement"]["between"] == ["strict", "Monte Carlo"]
    assert first["scores"][0]["score"] == 0


def test_a_label_is_stored_and_the_form_comes_back(client: Client, judged: Forest):
    log_in(client, REVIEWER)

    form = client.post(STEP, {"verdict": "wrong", "note": "no"}, headers={"HX-Request": "true"})

    assert 'id="label-0-0-0"' in form.content.decode()
    assert read_scores(judged, HUMAN, [0]) == {0: {A: 0.0}}
    assert data(client, "queue=disagreements")["people"] == [{"name": "ann", "labels": 1}]


def test_without_scripts_a_label_leads_back_to_the_step(client: Client, forest: Forest):
    log_in(client, REVIEWER)

    answer = client.post(STEP, {"verdict": "right"})

    assert (answer.status_code, answer["Location"]) == (
        302, "/ducks-test-first/trees/0/nodes/0.0/#labels",
    )  # fmt: skip


def test_a_label_is_taken_back(client: Client, forest: Forest):
    log_in(client, REVIEWER)
    client.post(STEP, {"verdict": "right"})
    client.post(STEP, {"verdict": "none"})

    assert read_scores(forest, HUMAN, [0]) == {0: {}}


@pytest.mark.parametrize(
    ("address", "form", "status"),
    [
        (STEP, {"verdict": "maybe"}, 400),
        (STEP, {}, 400),
        (STEP, {"verdict": "right", "note": "x" * 2001}, 400),
        ("/ducks-test-first/trees/0/nodes/0.9/label/", {"verdict": "right"}, 404),
        ("/ducks-test-first/trees/9/nodes/0.0/label/", {"verdict": "right"}, 404),
        ("/ducks-test-first/trees/0/nodes/0/label/", {"verdict": "right"}, 404),
        ("/no-such-forest/trees/0/nodes/0.0/label/", {"verdict": "right"}, 404),
    ],
)
def test_a_label_that_cannot_be_is_refused(
    client: Client, forest: Forest, address: str, form: dict, status: int
):
    log_in(client, REVIEWER)

    assert client.post(address, form).status_code == status
    assert not TreeLabels.objects.exists()


@pytest.mark.parametrize(
    ("role", "form", "status"),
    [
        (VIEWER, {"verdict": "right"}, 403),
        (REVIEWER, {"verdict": "right", "decide": "on"}, 403),
        (OPERATOR, {"verdict": "right", "decide": "on"}, 302),
    ],
)
def test_labels_and_decisions_need_their_permissions(
    client: Client, forest: Forest, role: str, form: dict, status: int
):
    log_in(client, role)

    assert client.post(STEP, form).status_code == status
    assert TreeLabels.objects.filter(person=DECISIONS).exists() == (status == 302)


def test_visitors_of_a_public_site_read_but_do_not_label(client: Client, judged: Forest, settings):
    settings.PUBLIC = True
    say(judged, 1, A, person("ann"), RIGHT, "")

    html = client.get(PAGE).content.decode()

    assert "a person" in html
    assert "ann" not in html
    assert "<textarea" not in html
    assert data(client)["people"] == [{"name": None, "labels": 1}]
    assert client.post(STEP, {"verdict": "right"}).status_code in (302, 403)
    assert TreeLabels.objects.count() == 1


def test_scores_that_were_imported_under_the_name_of_labels_are_not_overwritten(
    client: Client, forest: Forest
):
    start_scorer(forest, HUMAN, {"file": "x"}, IMPORTED)
    log_in(client, REVIEWER)

    answer = client.post(STEP, {"verdict": "right"}, headers={"HX-Request": "true"})

    assert answer.status_code == 409
    assert b"was imported, and labels given here would replace it" in answer.content


def test_whole_solutions_are_labelled_without_seeing_what_others_say(
    client: Client, judged: Forest
):
    log_in(client, REVIEWER)
    steps = data(client, "queue=solutions&from=1")["steps"]
    assert {step["tree"] for step in steps} == {1}
    assert all(step["is_blind"] and "scores" not in step for step in steps)

    path = steps[0]["path"]
    client.post(
        f"/ducks-test-first/trees/1/nodes/{path}/label/", {"verdict": "right", "blind": "1"}
    )

    again = data(client, "queue=solutions&from=1")["steps"]
    assert [step["path"] for step in again] == [step["path"] for step in steps]
    assert (again[0]["is_blind"], again[0]["mine"]) == (False, "right")


def test_a_program_follows_next_from_portion_to_portion(client: Client, forest: Forest):
    log_in(client, REVIEWER)
    address, trees = f"{PAGE}?queue=solutions&format=json", []
    while address:
        assert address.startswith(PAGE)
        found = client.get(address).json()
        trees.append({step["tree"] for step in found["steps"]})
        address = found["next"]
    assert trees == [{0}, {1}, {2}]


def test_after_a_whole_solution_the_next_tree_comes(client: Client, forest: Forest):
    log_in(client, REVIEWER)
    for _ in range(3):
        steps = data(client, "queue=solutions")["steps"]
        for step in steps:
            client.post(
                f"/ducks-test-first/trees/{step['tree']}/nodes/{step['path']}/label/",
                {"verdict": "neutral"},
            )

    assert data(client, "queue=solutions")["steps"] == []
    assert {one["tree_id"][-1] for one in TreeLabels.objects.values("tree_id")} == {"0", "1", "2"}


def test_where_people_disagree_is_listed_until_it_is_decided(client: Client, forest: Forest):
    for name, verdict in (("ann", RIGHT), ("bob", WRONG), ("cid", WRONG)):
        say(forest, 0, A, person(name), verdict, is_blind=True)
        say(forest, 2, B, person(name), RIGHT, is_blind=True)
    log_in(client, OPERATOR, "head")

    found = data(client, "queue=divided")
    assert [(one["tree"], one["path"]) for one in found["steps"]] == [(0, "0.0")]
    assert found["steps"][0]["labels"] == {"right": 1, "neutral": 0, "wrong": 2}
    assert found["agreement"]["fleiss"]["steps"] == 2
    assert [one["people"] for one in found["agreement"]["cohen"]] == [
        ["ann", "bob"], ["ann", "cid"], ["bob", "cid"],
    ]  # fmt: skip

    client.post(STEP, {"verdict": "wrong", "decide": "on"})

    after = data(client, "queue=divided")
    assert (after["num_divided"], after["num_decided"], after["steps"]) == (0, 1, [])
    assert read_scores(forest, HUMAN, [0]) == {0: {A: 0.0}}


def test_a_person_s_label_that_contradicts_the_judge_is_a_disagreement(
    client: Client, judged: Forest
):
    log_in(client, REVIEWER)
    client.post("/ducks-test-first/trees/1/nodes/0.0/label/", {"verdict": "right"})
    client.logout()
    log_in(client, REVIEWER, "bob")

    first = data(client, "queue=disagreements")["steps"][0]

    assert first["disagreement"] == {"size": 1.0, "between": ["human", "strict"]}


@pytest.mark.parametrize("query", ["queue=mine", "page=0", "page=x", "page=101"])
def test_a_queue_or_page_that_is_not_there_is_not_found(client: Client, judged: Forest, query: str):
    log_in(client, VIEWER)

    assert client.get(f"{PAGE}?{query}").status_code == 404


TREE = "/ducks-test-first/trees/1/"


def test_the_page_of_a_tree_shows_scores_intervals_and_disagreements(
    client: Client, judged: Forest
):
    log_in(client, REVIEWER)

    html = client.get(TREE).content.decode()

    assert '<span class="badge said-wrong">strict wrong</span>' in html
    assert '<span class="badge said-right">strict right</span>' in html
    assert '<span class="interval" title="95 % interval">' in html
    assert html.count('<span class="mark disputed">') == 1
    assert 'data-jump="disputed"' in html


def test_a_label_from_the_page_of_a_tree_brings_the_scores_of_its_step(
    client: Client, judged: Forest
):
    log_in(client, REVIEWER)
    headers = {"HX-Request": "true", "HX-Target": "scores-node-0-0"}

    part = client.post(f"{TREE}nodes/0.0/label/", {"verdict": "right"}, headers=headers)

    assert part.content.decode().strip() == (
        '<span class="scores" id="scores-node-0-0"><span class="badge said-right">human right'
        '</span><span class="badge said-wrong">strict wrong</span></span>'
    )


def test_only_a_person_who_may_label_can_do_so_by_key(client: Client, judged: Forest):
    log_in(client, VIEWER)
    assert "data-labels" not in client.get(TREE).content.decode()
    client.logout()
    log_in(client, REVIEWER, "bob")
    assert "data-labels" in client.get(TREE).content.decode()


def test_trees_are_listed_by_their_largest_disagreement(client: Client, judged: Forest):
    log_in(client, VIEWER)

    listed = client.get("/ducks-test-first/?sort=largest-disagreement&format=json").json()

    trees = listed["trees"]["rows"] if "rows" in listed["trees"] else listed["trees"]
    assert [tree["index"] for tree in trees] == [1, 0, 2]
    assert [bool(tree["disagreement"]) for tree in trees] == [True, False, False]


def test_a_step_that_the_reader_labelled_is_not_asked_for_again(client: Client, judged: Forest):
    log_in(client, REVIEWER)
    before = [(one["tree"], one["path"]) for one in data(client)["steps"]]
    assert (1, "0.0") in before

    client.post("/ducks-test-first/trees/1/nodes/0.0/label/", {"verdict": "wrong"})

    after = data(client, "queue=disagreements")["steps"]
    assert [(one["tree"], one["path"]) for one in after] == [
        one for one in before if one != (1, "0.0")
    ]


def test_a_label_elsewhere_does_not_move_the_queue_of_whole_solutions(
    client: Client, judged: Forest
):
    log_in(client, REVIEWER)
    client.post("/ducks-test-first/trees/2/nodes/0.0/label/", {"verdict": "right"})

    assert {step["tree"] for step in data(client, "queue=solutions")["steps"]} == {0}


def test_a_label_by_key_keeps_the_note_that_is_there(client: Client, judged: Forest):
    log_in(client, REVIEWER)
    client.post(STEP, {"verdict": "wrong", "note": "it forgets three"})
    headers = {"HX-Request": "true", "HX-Target": "scores-node-0-0"}

    client.post(STEP, {"verdict": "neutral"}, headers=headers)

    assert TreeLabels.objects.get().notes == {"0-0": "it forgets three"}


def test_a_person_keeps_the_labels_under_a_new_name(client: Client, judged: Forest):
    log_in(client, REVIEWER)
    client.post(STEP, {"verdict": "wrong"})
    User.objects.filter(username="ann").update(username="anna")
    client.post(STEP, {"verdict": "right"})

    assert data(client, "queue=disagreements")["people"] == [{"name": "anna", "labels": 1}]
    User.objects.filter(username="anna").delete()
    log_in(client, VIEWER, "bob")
    assert data(client)["people"] == [{"name": "a former user", "labels": 1}]


def test_a_solution_is_offered_again_after_a_label_of_it_is_taken_back(
    client: Client, forest: Forest
):
    log_in(client, REVIEWER)
    steps = data(client, "queue=solutions")["steps"]
    addresses = [
        f"/ducks-test-first/trees/{step['tree']}/nodes/{step['path']}/label/" for step in steps
    ]
    for address in addresses:
        client.post(address, {"verdict": "right"})
    assert data(client, "queue=solutions")["steps"][0]["tree"] != steps[0]["tree"]

    client.post(addresses[-1], {"verdict": "none"})

    assert data(client, "queue=solutions")["steps"][0]["tree"] == steps[0]["tree"]


def test_agreement_counts_only_labels_given_without_seeing_the_others(
    client: Client, judged: Forest
):
    say(judged, 0, A, person("ann"), RIGHT, is_blind=True)
    say(judged, 0, A, person("bob"), RIGHT)
    log_in(client, VIEWER, "cid")

    assert data(client)["agreement"] == {
        "fleiss": {"kappa": None, "steps": 0, "equal": None}, "cohen": [],
    }  # fmt: skip


def test_a_decision_is_taken_back_by_an_operator_without_a_label(client: Client, forest: Forest):
    say(forest, 0, A, person("ann"), RIGHT)
    say(forest, 0, A, person("bob"), WRONG)
    log_in(client, OPERATOR, "head")
    client.post(STEP, {"verdict": "wrong", "decide": "on"})
    headers = {"HX-Request": "true"}

    form = client.post(STEP, {"verdict": "wrong", "decide": "on"}, headers=headers)
    assert 'value="none"' in form.content.decode()
    assert not TreeLabels.objects.filter(person=DECISIONS, is_whole=True).exists()
    client.post(STEP, {"verdict": "none", "decide": "on"})

    assert read_scores(forest, HUMAN, [0]) == {0: {A: 0.5}}


def test_a_first_step_has_no_earlier_steps(client: Client, judged: Forest):
    log_in(client, REVIEWER)

    html = client.get(f"{PAGE}?queue=disagreements").content.decode()

    card = html.partition("Tree 1, step 0.0<")[2].partition("</article>")[0]
    assert card
    assert "earlier steps</p>" not in card
