"""Which steps of a forest a search finds, and how far it looks at once."""

import pytest
from django.urls import reverse

from forests.core.tree import parse_path
from forests.models import Forest, Node, Tree
from forests.pages.overview import step_search
from forests.pages.overview.step_search import StepSearch, search_steps
from forests.pages.overview.step_views import MAX_PARTS, MORE_PART
from forests.pages.tree.step_texts import MAX_STEP_LENGTH
from forests.storage.trees import collection
from tests.forests.addresses import text_of
from tests.forests.factories import RIGHT, WRONG, add_trees, leaf, make_forest, step, tree_of

pytestmark = pytest.mark.django_db

NAME = "steps-test-first"
ADDRESS = f"/{NAME}/steps/"


def numbered(number: int):
    """Return a tree whose steps name its number."""
    return tree_of(
        step("0.0", f"Tree **{number}** takes\n two eggs."),
        leaf("0.0.0", f"So {number}.", RIGHT, answer=str(number)),
        leaf("0.0.1", "So TWO  eggs are left.", WRONG, answer="2"),
    )


@pytest.fixture
def forest() -> Forest:
    add_trees(make_forest(NAME), [numbered(index) for index in range(6)])
    return Forest.objects.get(pk=NAME)


def found(forest: Forest, phrase: str, start: int = 0, seconds: float = 60):
    """Return the steps that a search finds, by tree, and where it continues."""
    page = search_steps(forest, StepSearch(phrase, start), seconds)
    return {one.index: [step.name for step in one.steps] for one in page.trees}, page.next_start


def test_a_text_is_found_in_all_trees_whatever_its_case_spaces_and_marks(forest):
    assert found(forest, "two eggs") == ({index: ["0.0", "0.0.1"] for index in range(6)}, None)
    assert found(forest, "tree 3 takes") == ({3: ["0.0"]}, None)
    assert found(forest, "nowhere") == ({}, None)


def test_a_leaf_has_its_grade(forest):
    [tree] = search_steps(forest, StepSearch("so 4.")).trees
    [one] = tree.steps
    assert (one.path, one.grade) == (parse_path("0.0.0"), "correct")


def test_a_page_ends_when_it_is_full_and_the_next_one_continues(forest, monkeypatch):
    monkeypatch.setattr(step_search, "TREES_PER_PAGE", 2)
    pages: list[list[int]] = []
    start: int | None = 0
    while start is not None:
        trees, start = found(forest, "eggs", start)
        pages.append(list(trees))
    assert pages == [[0, 1], [2, 3], [4, 5]]


def test_a_search_whose_time_is_over_says_how_far_it_looked(forest, monkeypatch):
    monkeypatch.setattr(step_search, "_NODES_PER_READ", 6)
    page = search_steps(forest, StepSearch("nowhere"), seconds=0)
    assert (page.looked_at, page.num_nodes, page.next_start) == (range(2), 6, 2)
    assert found(forest, "tree 5", 2) == ({5: ["0.0"]}, None)


def test_a_tree_lists_its_first_steps_and_counts_the_others():
    many = tree_of(*(step(f"0.{index}", "again") for index in range(11)))
    add_trees(make_forest(NAME), [many])
    [tree] = search_steps(Forest.objects.get(pk=NAME), StepSearch("again")).trees
    assert [one.name for one in tree.steps] == ["0.0", "0.1", "0.2", "0.3"]
    assert tree.num_more == 7


def test_nodes_of_an_earlier_tree_are_not_found(forest):
    collection(Tree).update_many({}, {"$set": {"oldest_generation": 5}})
    collection(Node).update_many({}, {"$set": {"generation": 4}})
    assert found(forest, "eggs") == ({}, None)


def test_the_page_links_steps_and_their_trees_and_marks_the_text(forest, admin_client):
    html = text_of(admin_client, f"{ADDRESS}?q=two+eggs")
    assert reverse("node", args=[NAME, 3, parse_path("0.0.1")]) in html
    assert f'href="/{NAME}/trees/3/?q=two+eggs"' in html
    assert html.count("<mark>TWO eggs</mark>") == 6
    assert "Searched to the last tree." in html
    assert "Searched" not in text_of(admin_client, ADDRESS)


def test_a_page_asks_for_more_until_it_is_full_or_has_asked_often(
    forest, admin_client, monkeypatch
):
    monkeypatch.setattr(step_search, "_NODES_PER_READ", 6)
    monkeypatch.setattr("forests.pages.overview.step_views.search_steps", in_no_time)
    html = text_of(admin_client, f"{ADDRESS}?q=tree+3")
    assert "No step contains this text so far." in html
    assert "Trees 0 to 1 of 6 are searched." in html
    assert 'hx-get="?q=tree+3&amp;from=2&amp;listed=0&amp;part=1"' in html
    more = {"HX-Request": "true", "HX-Target": MORE_PART}
    part = text_of(admin_client, f"{ADDRESS}?q=tree+3&from=2&listed=0&part=1", **more)
    assert "<html" not in part
    assert 'from=4&amp;listed=1&amp;part=2"' in part
    for reason in ("listed=24", f"part={MAX_PARTS}"):
        last = text_of(admin_client, f"{ADDRESS}?q=tree&from=2&{reason}", **more)
        assert "Continue from tree 4" in last
        assert "hx-get" not in last


def in_no_time(forest: Forest, wanted: StepSearch):
    return search_steps(forest, wanted, seconds=0)


def test_the_page_as_json(forest, admin_client):
    data = admin_client.get(f"{ADDRESS}?q=tree+3&format=json").json()
    assert data == {
        "trees": [{
            "index": 3,
            "num_steps": 1,
            "page": f"/{NAME}/trees/3/?q=tree+3&format=json",
            "steps": [{
                "path": "0.0",
                "text": "Tree **3** takes\n two eggs.",
                "num_characters_missing": 0,
                "grade": None,
            }],
        }],
        "looked_at": {"first": 0, "last": 5},
        "num_nodes": 18,
        "next": None,
    }  # fmt: skip


def test_long_steps_are_cut_in_the_json(forest, admin_client):
    Node.objects.update(text="eggs " * MAX_STEP_LENGTH)
    data = admin_client.get(f"{ADDRESS}?q=eggs&format=json").json()
    assert len(data["trees"][0]["steps"][0]["text"]) == MAX_STEP_LENGTH
    assert data["trees"][0]["steps"][0]["num_characters_missing"] == 4 * MAX_STEP_LENGTH


def test_a_start_that_is_not_a_number_is_refused(forest, admin_client):
    assert admin_client.get(f"{ADDRESS}?q=x&from=y").status_code == 404
