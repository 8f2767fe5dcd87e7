"""What scorers say of a step, on its page, in the details of a tree's page, and as JSON."""

import pytest
from django.test import Client

from forests.core.opinions.judged import JudgedTree
from forests.core.tree import parse_path
from forests.models import Forest
from forests.storage.scores import start_scorer, write_judged
from tests.forests.addresses import NODE, TREE
from tests.forests.factories import add_trees, duck_tree, make_forest

pytestmark = pytest.mark.django_db

PATH = parse_path("0.0.1")
HOSTILE = "It **forgets** three.\n\n<script>alert(1)</script>\n\n[x](javascript:alert(2))"


@pytest.fixture(autouse=True)
def forest(db) -> Forest:
    forest = add_trees(make_forest("ducks-test-first"), [duck_tree()])
    critic = start_scorer(forest, "critic", {}, "judge")
    judged = JudgedTree({PATH: 0.25}, {PATH: HOSTILE, (): "As a whole."}, {PATH: [1, 0, 3]})
    write_judged(critic, {f"{forest.name}/0000000": judged})
    shepherd = start_scorer(forest, "shepherd", {}, "prm")
    write_judged(shepherd, {f"{forest.name}/0000000": JudgedTree({PATH: 0.75})})
    return forest


@pytest.fixture
def reader(admin_user) -> Client:
    client = Client()
    client.force_login(admin_user)
    return client


def test_the_page_of_a_step_shows_scores_and_folds_rationales(reader):
    html = reader.get(NODE).content.decode()
    assert "wrong, score 0.250" in html
    assert "1 right, 0 neutral, 3 wrong" in html
    assert "<strong>forgets</strong>" in html
    assert "<script>alert" not in html
    assert 'href="javascript:' not in html
    assert "score 0.750" in html  # of a reward model, which gives no verdict
    assert "right, score 0.750" not in html


def test_the_details_on_the_page_of_a_tree_show_them_too(reader):
    html = reader.get(f"{NODE}details/", headers={"HX-Request": "true"}).content.decode()
    assert "wrong, score 0.250" in html
    assert "<strong>forgets</strong>" in html


def test_a_step_without_a_judgement_has_no_heading_for_it(reader):
    assert '<h2 id="scores">' not in reader.get(f"{TREE}nodes/0.1/").content.decode()


def test_json_has_scores_kinds_and_rationales(reader):
    found = reader.get(f"{NODE}?format=json").json()["judgements"]
    assert found == [
        {
            "scorer": "critic", "kind": "judge", "score": 0.25, "verdict": "wrong",
            "votes": [1, 0, 3], "rationale": HOSTILE,
        },
        {
            "scorer": "shepherd", "kind": "prm", "score": 0.75, "verdict": None, "votes": [],
            "rationale": "",
        },
    ]  # fmt: skip
    tree = reader.get(f"{TREE}?format=json").json()["judgements"]
    assert tree["critic"]["scores"] == {"0.0.1": 0.25}
    assert tree["critic"]["rationales"] == {"0.0.1": HOSTILE, "0": "As a whole."}
    assert tree["shepherd"]["kind"] == "prm"
