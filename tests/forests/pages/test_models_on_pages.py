"""The pages of a forest name the models that wrote its nodes."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from forests.core.model_counts import as_fields, from_fields, in_words
from forests.core.tree import ReasoningTree
from forests.models import Forest
from forests.storage.trees import collection
from tests.forests.addresses import FOREST, text_of
from tests.forests.factories import add_trees, duck_tree, make_forest

pytestmark = pytest.mark.django_db

NAME = "ducks-test-first"
PAGES = ["/", FOREST, f"{FOREST}metrics/", f"{FOREST}preferences/"]


def tree_by(model: str) -> ReasoningTree:
    tree = duck_tree()
    for node in tree:
        node.model = model
    return tree


def entry(model: str, server: str = "http://gpu1:8000/v1", *answered: str) -> dict[str, object]:
    return {
        "model": model,
        "server": server,
        "chat_template_sha256": "ab" * 32,
        "first_at": "2026-11-29T10:00:00+00:00",
        "answered_as": list(answered),
    }


@pytest.fixture
def reader(client: Client) -> Client:
    client.force_login(User.objects.create_user("reader"))
    return client


@pytest.fixture
def mixed(db: None) -> Forest:
    """Two trees by one model, one by another."""
    forest = make_forest(NAME, grown_by=[entry("strong.8b"), entry("small", "http://gpu2/v1")])
    return add_trees(forest, [tree_by("strong.8b"), tree_by("small"), tree_by("strong.8b")])


@pytest.mark.parametrize("address", PAGES)
def test_each_page_names_all_models_with_their_nodes(mixed, reader, address):
    html = " ".join(text_of(reader, address).split())

    words = "<bdi>strong.8b</bdi> <small>24 nodes</small>, <bdi>small</bdi> <small>12 nodes</small>"
    if address != FOREST:
        assert words in html
        return
    for name, number in (("strong.8b", 24), ("small", 12)):
        row = html.partition(f"<bdi>{name}</bdi>")[2].partition("</tr>")[0]
        assert f'<td class="number">{number}</td>' in row


def test_servers_are_shown_to_those_who_have_logged_in_alone(mixed, client, settings):
    settings.PUBLIC = True
    shown_to_all = text_of(client, FOREST)
    assert "strong.8b" in shown_to_all
    for address in PAGES:
        assert "gpu1" not in text_of(client, address)

    client.force_login(User.objects.create_user("reader"))

    html = text_of(client, FOREST)
    assert "http://gpu1:8000/v1" in html
    assert "http://gpu2/v1" in html
    assert "ab" * 6 in html


def test_a_forest_of_two_models_says_what_that_means(mixed, reader):
    assert "More than one model grew this forest" in text_of(reader, FOREST)

    Forest.objects.filter(pk=NAME).update(
        nodes_by_model=as_fields({"strong.8b": 36}), grown_by=[entry("strong.8b")]
    )

    assert "More than one model" not in text_of(reader, FOREST)


def test_an_alias_is_shown_beside_the_name_that_answers_give(reader):
    forest = make_forest(NAME, grown_by=[entry("gpt", "http://a/v1", "gpt-2024-08-06")])
    add_trees(forest, [tree_by("gpt-2024-08-06")])

    html = " ".join(text_of(reader, FOREST).split())

    assert "<bdi>gpt-2024-08-06</bdi> <small>requested as <bdi>gpt</bdi></small>" in html
    assert html.count('<th scope="row"><bdi>gpt') == 1


def test_nodes_of_an_older_version_are_said_not_to_be_counted(mixed, reader):
    Forest.objects.filter(pk=NAME).update(nodes_by_model={}, grown_by=[])

    html = " ".join(text_of(reader, FOREST).split())

    assert "36 nodes were drawn by an older version" in html
    assert "36 nodes not counted by model" in " ".join(text_of(reader, "/").split())


def test_a_document_without_the_fields_is_shown(mixed, reader):
    fields = {"nodes_by_model": 1, "grown_by": 1, "allowed_models": 1}
    collection(Forest).update_one({"_id": NAME}, {"$unset": fields})

    for address in PAGES:
        words = "did not count nodes by model" if address == FOREST else "not counted by model"
        assert words in " ".join(text_of(reader, address).split())


def test_a_forest_that_nobody_has_grown_names_no_model(reader):
    make_forest(NAME)

    for address in PAGES:
        assert "<dt>Model" not in text_of(reader, address)
    assert "Models of this forest" not in text_of(reader, FOREST)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("a\u202eb", "a"), ("x" * 200, "x" * 70), ("", "not named"), ("%", "%"), ("$.", "$."),
    ],
)  # fmt: skip
def test_whatever_a_model_is_called_its_name_is_shown_as_text(reader, name, shown):
    add_trees(make_forest(NAME), [tree_by(name)])

    for address in PAGES:
        html = text_of(reader, address)
        assert f"<bdi>{shown}" in html
        assert "<script>alert" not in html
    assert from_fields(Forest.objects.get().nodes_by_model) == {name: 12}


def test_the_numbers_are_those_of_the_forest_s_document(mixed, reader):
    """The forest's document has the numbers, however large the forest is."""
    collection(Forest).update_one({"_id": NAME}, {"$set": {"nodes_by_model": {"big": 10**9}}})

    assert "1,000,000,000" in text_of(reader, FOREST)


def test_many_models_are_shown_in_part(reader):
    models = as_fields({f"model-{number}": 100 - number for number in range(50)})
    make_forest(NAME, nodes_by_model=models, num_nodes=10)

    html = text_of(reader, FOREST)

    assert "30 more models are not shown" in html
    assert "model-0<" in html
    assert "model-49<" not in html


def test_numbers_in_words():
    assert in_words({"a": 1, "": 2}) == "a (1 node), not named (2 nodes)"
