"""The list of forests: what its filters find, in which order, and what it says of each."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from forests.models import Forest
from forests.pages.overview import forest_list
from tests.forests import states
from tests.forests.addresses import text_of
from tests.forests.factories import add_trees, duck_tree, make_forest

pytestmark = pytest.mark.django_db

NOW = datetime.now(UTC)


@pytest.fixture
def several() -> None:
    """Forests with names that end in a, b and c, in the order of seeding; c is the latest."""
    add_trees(make_forest("ducks-test-a", created_at=NOW - timedelta(days=3)), [duck_tree()] * 2)
    make_forest("geese-test-b", created_at=NOW - timedelta(hours=2), num_trees=9, is_paused=True,
                dataset_source="example/geese")  # fmt: skip
    add_trees(make_forest("ducks-train-c", dataset_source="example/other"), [duck_tree()])


def names(reader, query: str = "") -> list[str]:
    html = text_of(reader, f"/?{query}")
    return re.findall(r'<th scope="row"><a [^>]*><bdi>([^<]+)</bdi>', html)


@pytest.mark.parametrize(
    ("query", "letters"),
    [
        ("", "cba"),
        ("q=ducks", "ca"),
        ("q=example/ducks+test", "a"),
        ("state=paused", "b"),
        ("state=finished&q=train", "c"),
        ("state=growing", ""),
        ("sort=name", "acb"),
        ("sort=least-complete", "bca"),
        ("sort=most-trees", "bac"),
        ("sort=most-tokens", "acb"),
        ("sort=most-correct", "cab"),
        ("group=config", "cab"),
    ],
)
def test_filters_and_orders_are_in_the_address(reader, several, query, letters):
    assert [name[-1] for name in names(reader, query)] == list(letters)
    data = reader.get(f"/?{query}&format=json").json()
    assert [one["name"][-1] for one in data["forests"]] == list(letters)
    assert data["num_matches"] == len(letters)


def test_a_share_that_is_biased_is_no_reason_to_come_first(reader, several):
    Forest.objects.filter(pk="ducks-train-c").update(worker_config={"strategy": "omega_prm"})
    assert names(reader, "sort=most-correct")[0] == "ducks-test-a"


def test_groups_are_headed_by_their_config(reader, several):
    html = text_of(reader, "/?group=config")
    heads = re.findall(r'<th scope="rowgroup" colspan="9"><bdi>(\w+)</bdi>', html)
    assert heads == ["ducks", "geese"]


@pytest.mark.parametrize(
    ("query", "known"),
    [
        ("state=asleep", "finished with failures"),
        ("sort=colour", "most tokens"),
        ("group=model", "use config"),
        ("page=0", "no page"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(reader, query, known):
    response = reader.get(f"/?{query}")
    assert response.status_code == 404
    assert known in response.content.decode()


def test_a_page_has_as_many_forests_at_any_number(reader, several, monkeypatch):
    monkeypatch.setattr(forest_list, "FORESTS_PER_PAGE", 2)
    assert [name[-1] for name in names(reader)] == ["c", "b"]
    assert [name[-1] for name in names(reader, "page=2")] == ["a"]
    assert [name[-1] for name in names(reader, "sort=name&page=2")] == ["b"]
    html = text_of(reader, "/?q=test&state=&sort=name")
    assert "page=2" not in html  # one page is enough
    html = text_of(reader, "/?sort=name&q=")
    assert 'href="?sort=name&amp;q=&amp;page=2"' in html
    data = reader.get("/?sort=name&format=json").json()
    assert data["next"] == "/?sort=name&page=2&format=json"


def test_very_many_forests_are_chosen_among_the_latest_and_the_page_says_so(
    reader, several, monkeypatch
):
    monkeypatch.setattr(forest_list, "FORESTS_LOOKED_AT", 2)
    assert "1 of the latest 2 of 3 forests matches" in text_of(reader, "/?q=ducks")
    assert names(reader, "page=1")[-1] == "ducks-test-a"


def test_choices_for_a_comparison_go_to_its_page_and_stay_when_the_list_is_renewed(reader, several):
    html = text_of(reader, "/")
    assert '<form id="compared" method="get" action="/compare/">' in html
    box = 'name="forest" value="ducks-test-a" form="compared"'
    assert box in html
    assert html.count("hx-preserve") == 3
    response = reader.get("/compare/?forest=ducks-test-a&forest=ducks-train-c")
    assert response.status_code == 200


def test_the_list_renews_itself_with_its_filter(reader, several):
    assert 'hx-get="/?q=ducks&amp;sort=name"' in text_of(reader, "/?q=ducks&sort=name")


def test_one_forest_has_nothing_to_be_compared_with(reader):
    states.growing()
    assert "Compare selected" not in text_of(reader, "/")


def test_a_forest_without_a_number_says_why(reader):
    make_forest("ducks-test-new", num_trees=3)
    assert "no sample yet" in text_of(reader, "/")
    Forest.objects.update(num_leaves=3, num_correct=1)
    assert "no complete tree" in text_of(reader, "/")
    Forest.objects.update(num_complete=1, worker_config={"strategy": "omega_prm"})
    assert "<small>biased</small>" in text_of(reader, "/")


def test_the_models_that_will_be_asked_are_named_before_growth(reader):
    make_forest()
    assert '<td class="models"><bdi>small-model</bdi>' in text_of(reader, "/")
