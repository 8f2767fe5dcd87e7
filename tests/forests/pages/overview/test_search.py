"""The search over forests and trees by words, numbers, ids and texts, with bounded work."""

import re

import pytest

from forests.models import Forest
from forests.pages.overview import finding
from tests.forests.addresses import FOREST, TREE, text_of
from tests.forests.factories import add_trees, duck_tree, make_forest, tree_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def forests() -> list[Forest]:
    """Two forests of ducks, the second without a model, and one of geese."""
    add_trees(make_forest("ducks-test-first"), [duck_tree(), duck_tree()])
    make_forest("ducks-train-second", worker_config={"strategy": "omega_prm"})
    geese = make_forest("geese-test-first", dataset_source="example/Geese")
    add_trees(geese, [tree_of()] * 3, item="How many geese fly?")
    return list(Forest.objects.all())


def found(reader, query: str) -> tuple[list[str], list[str]]:
    """Return the addresses of the forests and of the trees that the page lists."""
    html = text_of(reader, f"/search/?{query}")
    trees, _, forests = html.partition('id="forests"')
    hits = re.findall(r'<th scope="row"><a href="([^"]+)"', trees)
    return re.findall(r'<th scope="row"><a href="([^"]+)"', forests), hits


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("geese", ["geese-test-first"]),
        ("EXAMPLE/geese", ["geese-test-first"]),
        ("test first", ["geese-test-first", "ducks-test-first"]),
        ("omega", ["ducks-train-second"]),
        ("small-model ducks", ["ducks-test-first"]),
        ("swans", []),
    ],
)
def test_all_words_are_in_the_name_dataset_strategy_or_model(reader, words, names):
    assert found(reader, f"q={words}") == ([f"/{name}/" for name in names], [])


def test_a_number_behind_the_words_names_a_tree_of_each_of_these_forests(reader):
    assert found(reader, "q=ducks 1") == (
        ["/ducks-train-second/", "/ducks-test-first/"],
        ["/ducks-test-first/trees/1/"],
    )
    assert found(reader, "q=2")[1] == ["/geese-test-first/trees/2/"]
    assert found(reader, "q=99999999999")[1] == []


def test_on_a_forest_a_number_names_its_tree_and_a_text_is_looked_for_in_its_items(reader):
    assert found(reader, "forest=ducks-test-first&q=1")[1] == ["/ducks-test-first/trees/1/"]
    assert found(reader, "forest=geese-test-first&q=geese fly")[1] == [
        f"/geese-test-first/trees/{index}/" for index in range(3)
    ]
    html = text_of(reader, "/search/?forest=geese-test-first&q=fly")
    assert "in the items of trees 0 to 2 of 3" in html
    assert "<mark>fly</mark>" in html
    assert found(reader, "q=fly")[1] == []
    assert reader.get("/search/?forest=swans&q=fly").status_code == 404


@pytest.mark.parametrize(
    ("id_", "address"),
    [
        ("ducks-test-first/0000000", TREE),
        ("ducks-test-first/0/", TREE),
        ("ducks-test-first/0/0.0.1", f"{TREE}nodes/0.0.1/"),
    ],
)
def test_ids_lead_to_a_tree_or_a_step(reader, id_, address):
    assert found(reader, f"q={id_}") == ([], [address])
    assert "forests match" not in text_of(reader, f"/search/?q={id_}")


def test_words_that_look_like_an_id_find_forests_and_a_longer_number_no_other_tree(reader):
    Forest.objects.filter(pk="geese-test-first").update(dataset_source="geese/2024")
    assert found(reader, "q=geese/2024") == (["/geese-test-first/"], [])
    assert found(reader, "q=ducks-test-first/0000000001") == ([], [])


def test_the_result_is_limited_and_says_how_far_it_looked(reader, monkeypatch):
    monkeypatch.setattr(finding, "MAX_HITS", 1)
    monkeypatch.setattr(finding, "FORESTS_LOOKED_AT", 2)
    html = text_of(reader, "/search/?q=first")
    assert "1 of the latest 2 forests match" in html
    assert found(reader, "q=test") == (["/geese-test-first/"], [])
    text = found(reader, "forest=geese-test-first&q=geese")
    assert text[1] == ["/geese-test-first/trees/0/"]
    html = text_of(reader, "/search/?forest=geese-test-first&q=geese")
    assert "in the items of trees 0 to 0 of 3" in html


def test_nothing_asked_for_explains_the_search_and_a_wrong_text_is_shown_escaped(reader):
    assert "followed by the number of a tree" in text_of(reader, "/search/")
    html = text_of(reader, "/search/?q=<script>x</script>")
    assert "<script>x" not in html
    assert "No tree found" in html


def test_the_header_searches_the_forest_of_the_page(reader):
    hidden = '<input type="hidden" name="forest" value="ducks-test-first">'
    assert hidden in text_of(reader, FOREST)
    assert hidden in text_of(reader, TREE)
    assert hidden not in text_of(reader, "/")


def test_the_json_has_what_the_page_shows(reader):
    data = reader.get("/search/?q=ducks 1&format=json").json()
    assert data["forests_looked_at"] == 3
    assert [one["name"] for one in data["forests"]] == ["ducks-train-second", "ducks-test-first"]
    (tree,) = data["trees"]
    assert tree["item_preview"].startswith("Janet")
    assert tree["page"] == "/ducks-test-first/trees/1/?format=json"
