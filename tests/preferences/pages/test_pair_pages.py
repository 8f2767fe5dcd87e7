import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from forests.markup.rendering import MAX_MARKDOWN_LENGTH, MAX_TEXTS_OF_PAGE
from forests.models import Tree
from preferences.core.pairing import PairingOptions
from preferences.models import Preference, PreferenceSet, ReviewState
from preferences.sets.creation import SetParameters, create_preferences
from preferences.sets.reviews import record_review
from tests.preferences.trees import RIGHT, WRONG, tree_of

pytestmark = pytest.mark.django_db

ADDRESS = "/sums-test-first/preferences/"
ATTACK = "<script>alert(1)</script> <img src=x onerror=alert(2)>"


@pytest.fixture
def reader(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("reader", password="secret-reader"))
    return client


def create(forest, name: str = "mine", **options) -> PreferenceSet:
    parameters = SetParameters(PairingOptions(**options))
    return create_preferences(forest, name, parameters, report=lambda _trees: None)


def page(reader: Client, query: str = "") -> str:
    response = reader.get(ADDRESS + query)
    assert response.status_code == 200
    return response.content.decode()


def test_a_forest_without_a_set_says_how_to_make_one(reader, forest):
    assert "create_preferences --forest_name sums-test-first" in page(reader)


def test_pairs_stand_side_by_side_with_what_differs(reader, forest):
    create(forest, min_margin=0.6)
    html = page(reader)
    assert "mine" in html
    assert html.count('<article class="pair"') == 10
    assert "<del>6</del><ins>5</ins>" in html
    assert "Question 0: 2 + 3?" in html
    assert "naïve, 足す" in html
    assert reverse("tree", args=[forest.name, 0]) in html
    assert "value 1.00 from 3 leaves" in html
    assert "value 1.00 from 1 leaf<" in html


def test_a_page_of_hostile_pairs_reads_part_of_them_as_markdown_and_shows_the_rest(reader, forest):
    create(forest)
    table = "a|b\n-|-\n\n"
    hostile = table * 800
    Preference.objects.update(chosen=hostile, rejected=hostile, prefix=hostile)
    chat = [{"role": "user", "content": hostile}] * 5
    Tree.objects.update(prompt=chat)

    html = page(reader)

    pairs = [part.partition("</article>")[0] for part in html.split('<article class="pair"')[1:]]
    tables = [pair.count("<table>") for pair in pairs]
    assert len(tables) == 10
    assert tables[0] > 0
    assert tables[-1] == 0
    assert sum(tables) <= MAX_TEXTS_OF_PAGE * MAX_MARKDOWN_LENGTH // len(table)
    assert html.count('<pre class="raw"') >= 10 * 8


def test_pages_show_every_pair_once(reader, forest):
    create(forest)
    first, second = page(reader), page(reader, "?page=2")
    assert "Page 1 of 2" in first
    assert "?set=mine&amp;page=2" in first
    assert first.count('<article class="pair"') == 10
    assert second.count('<article class="pair"') == 8


@pytest.mark.parametrize("query", ["?page=0", "?page=3", "?page=x", "?page=-1", "?set=other"])
def test_a_page_that_is_not_there_is_not_found(reader, forest, query):
    create(forest)
    assert reader.get(ADDRESS + query).status_code == 404


def test_an_unknown_forest_is_not_found(reader, db):
    assert reader.get("/nope-test-first/preferences/").status_code == 404


def test_one_of_several_sets_can_be_chosen(reader, forest):
    create(forest, "strict", min_margin=0.6)
    create(forest, "all")
    assert '<a href="?set=strict">' in page(reader)
    assert '<a href="?set=strict" aria-current="page">' in page(reader, "?set=strict")


def test_a_set_without_pairs_says_why(reader, make_forest):
    forest = make_forest(trees=[tree_of({"0.0": ("5", RIGHT), "0.1": ("five", RIGHT)})])
    create(forest)
    html = page(reader)
    assert "This set has no pair" in html
    assert "pairs with equal values" in html


def test_whatever_a_model_writes_is_inert(reader, make_forest):
    trees = [
        tree_of(
            {
                "0.0": (ATTACK, None),
                "0.0.0": (f"{ATTACK} right", RIGHT),
                "0.0.1": (f"wrong {ATTACK}", WRONG),
            }
        )
    ]
    create(make_forest(trees=trees, prompts=[[{"role": ATTACK, "content": ATTACK}]]))
    html = page(reader)
    assert "<script>alert" not in html
    assert html.count("<img") == 1  # the icon of the site
    assert "alert(1)" in html


def test_a_visitor_is_asked_to_log_in(client, forest):
    response = client.get(ADDRESS)
    assert response.status_code == 302
    assert "login" in response["Location"]


@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_the_page_only_shows(reader, forest, method):
    assert getattr(reader, method)(ADDRESS).status_code == 405


def test_a_page_costs_the_same_however_many_pairs_there_are(
    reader, make_forest, django_assert_num_queries, django_assert_max_num_queries
):
    create(make_forest())
    with django_assert_max_num_queries(10) as few:
        page(reader)
    many = make_forest("many-test-first", trees=[tree_of(_wide()) for _ in range(12)])
    create(many, pairing="all_pairs")
    with django_assert_num_queries(len(few)):
        assert reader.get("/many-test-first/preferences/?page=40").status_code == 200


def _wide() -> dict:
    return {f"0.{i}": (f"step {i}", RIGHT if i % 2 else WRONG) for i in range(14)}


@pytest.mark.parametrize("model", [PreferenceSet, Preference])
def test_the_admin_shows_and_changes_nothing(reader, forest, model):
    made = create(forest)
    name = model._meta.model_name
    listed = reader.get(reverse(f"admin:preferences_{name}_changelist"))
    assert listed.status_code == 200
    assert reader.get(reverse(f"admin:preferences_{name}_add")).status_code == 403
    pk = made.pk if model is PreferenceSet else f"{made.pk}/0000000/0"
    address = reverse(f"admin:preferences_{name}_change", args=[pk])
    assert reader.get(address).status_code == 200
    assert reader.post(address, {}).status_code == 403


def test_the_admin_finds_the_pairs_of_one_tree(reader, forest):
    made = create(forest)
    listed = reader.get(
        reverse("admin:preferences_preference_changelist"), {"q": f"{made.pk}/0000002"}
    )
    html = listed.content.decode()
    assert "0000002/0" in html
    assert "0000003/0" not in html


def test_the_admin_shows_reviews_and_changes_nothing(reader, forest):
    made = create(forest)
    review = record_review(Preference.objects.all()[0], ReviewState.REJECTED, "unclear", "reader")
    html = reader.get(reverse("admin:preferences_review_changelist")).content.decode()
    assert "unclear" in html
    assert f"{ADDRESS}?set={made.name}&amp;review=rejected" in html
    address = reverse("admin:preferences_review_change", args=[review.pk])
    assert reader.get(address).status_code == 200
    assert reader.post(address, {}).status_code == 403
