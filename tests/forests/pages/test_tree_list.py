"""Which trees of a forest its page lists, and what it reads to find them."""

from typing import Any

import pytest
from django.test import Client

from forests.core.naming import tree_id
from forests.core.tree import ROOT
from forests.core.values import estimate_values
from forests.models import Forest, Tree, TreeStatus
from forests.pages import tree_list as listing
from forests.pages.tree_list import TreeFilter, TreeOutcome, outcomes, read_filtered
from forests.storage.trees import collection
from tests.forests.addresses import FOREST, PARTS, text_of
from tests.forests.factories import (
    RIGHT,
    WRONG,
    add_tree,
    add_trees,
    duck_tree,
    leaf,
    make_forest,
    open_tree,
    tree_of,
)

pytestmark = pytest.mark.django_db

PENDING, COMPLETE, FAILED = TreeStatus.PENDING, TreeStatus.COMPLETE, TreeStatus.FAILED


def listed(html: str) -> list[int]:
    """Return the trees that a page lists, in its order."""
    rows = (
        html.partition('<table class="trees">')[2]
        .partition("</table>")[0]
        .split('<th scope="row">')[1:]
    )
    return [int(row.partition("/trees/")[2].partition("/")[0]) for row in rows]


def found(forest: Forest, **fields: Any) -> tuple[list[int], int | None]:
    """Return the trees that a filter lists, and where the next page starts."""
    page = read_filtered(forest, TreeFilter(**fields))
    return [row["index"] for row in page.rows], page.next_start


@pytest.fixture
def small_windows(monkeypatch):
    monkeypatch.setattr(listing, "TREES_PER_PAGE", 3)
    monkeypatch.setattr(listing, "TREES_LOOKED_AT", 8)
    monkeypatch.setattr(listing, "_FIRST_WINDOW", 1)
    monkeypatch.setattr(listing, "_MAX_TREES_OF_WINDOW", 4)


def bare_forest(statuses: str) -> Forest:
    """Insert a forest of trees without nodes; each letter is the first of a tree's status."""
    forest = make_forest()
    names = {status.value[0]: status for status in TreeStatus}
    for index, letter in enumerate(statuses):
        add_tree(forest, index, tree_of(), status=names[letter])
    return Forest.objects.get(pk=forest.pk)


def mixed_forest() -> Forest:
    """Insert a forest whose trees have all kinds of outcomes."""
    forest = make_forest()
    trees = {
        "ducks": duck_tree(),
        "geese": tree_of(leaf("0.0", "#### 18", RIGHT, answer="18")),
        "swans": tree_of(leaf("0.0", "#### 19", WRONG, answer="19", count=2)),
        "hens <b>": open_tree(),
        "Ducks again": tree_of(leaf("0.0", "#### 1", WRONG, answer="1")),
    }
    for index, (item, tree) in enumerate(trees.items()):
        status = TreeStatus.GROWING if item.startswith("hens") else COMPLETE
        tokens = [500, 10, 40, 30, 20][index]
        add_tree(forest, index, tree, item=f"How many {item}?", status=status,
                 completion_tokens=tokens)  # fmt: skip
    return Forest.objects.get(pk=forest.pk)


# One status


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize(
    "statuses",
    ["", "p", "cccccccccc", "pppppppppppppppppppppc", "cpcpcpcpcpcpcpcpcpcpc", "cppcccppc"],
)
def test_the_pages_of_a_status_list_its_trees_once_and_in_order(statuses):
    forest = bare_forest(statuses)
    seen: list[int] = []
    start: int | None = 0
    while start is not None:
        indexes, start = found(forest, status=COMPLETE, start=start)
        assert len(indexes) <= 3
        assert start is None or len(indexes) == 3
        seen += indexes
    assert seen == [index for index, letter in enumerate(statuses) if letter == "c"]


@pytest.mark.usefixtures("small_windows")
def test_looking_for_a_rare_status_has_an_end_from_which_it_goes_on(monkeypatch):
    monkeypatch.setattr(listing, "_MAX_WINDOWS", 2)
    forest = bare_forest("p" * 20 + "c")
    indexes, start = found(forest, status=COMPLETE)
    assert indexes == []
    assert start is not None
    assert 0 < start < 20
    while not indexes and start is not None:
        indexes, start = found(forest, status=COMPLETE, start=start)
    assert indexes == [20]


def test_a_status_is_listed_page_by_page(reader, monkeypatch):
    monkeypatch.setattr(listing, "TREES_PER_PAGE", 2)
    add_trees(make_forest(), [tree_of()] * 5)
    first = text_of(reader, f"{FOREST}?status=complete")
    assert listed(first) == [0, 1]
    assert 'href="?status=complete&amp;from=2"' in first
    last = text_of(reader, f"{FOREST}?status=complete&from=4")
    assert listed(last) == [4]
    assert "Go on" not in last
    assert 'href="?status=complete">From the first tree' in last


def test_trees_are_filtered_by_status(reader, forest):
    add_tree(forest, 1, tree_of(), status=FAILED, error="grading failed: <b>")
    add_tree(forest, 2, tree_of(), status=PENDING)
    html = text_of(reader, f"{FOREST}?status=failed")
    assert listed(html) == [1]
    assert "grading failed: &lt;b&gt;" in html
    assert "No tree of this forest is growing." in text_of(reader, f"{FOREST}?status=growing")


# TreeOutcome, text, order


@pytest.mark.parametrize(
    ("outcome", "indexes"),
    [
        ("some-correct", [0, 1]),
        ("all-correct", [1]),
        ("none-correct", [2, 4]),
        ("mixed", [0]),
        ("no-result", [3]),
    ],
)
def test_trees_are_filtered_by_what_their_samples_came_to(reader, outcome, indexes):
    mixed_forest()
    html = text_of(reader, f"{FOREST}?outcome={outcome}")
    assert listed(html) == indexes
    matches = "match" if len(indexes) == 1 else "matches"
    assert f"{len(indexes)} {matches} among trees 0 to 4." in html


@pytest.mark.parametrize("make", [duck_tree, open_tree, tree_of])
def test_outcomes_agree_with_the_value_of_the_tree(make):
    tree = make()
    share = estimate_values(tree)[ROOT]
    told = outcomes({"num_correct": share.correct, "num_leaves": share.leaves})
    assert (TreeOutcome.SOME_CORRECT in told) is bool(share.value)
    assert (TreeOutcome.NO_RESULT in told) is (share.value is None)
    assert (TreeOutcome.NONE_CORRECT in told) is (share.value == 0)


def test_items_are_searched_and_what_was_found_is_marked(reader):
    mixed_forest()
    html = text_of(reader, f"{FOREST}?q=many+ducks")
    assert listed(html) == [0, 4]
    assert "How <mark>many ducks</mark>?" in html
    assert "How <mark>many Ducks</mark> again?" in html
    hostile = text_of(reader, f"{FOREST}?q=%3Cb%3E")
    assert listed(hostile) == [3]
    assert "hens <mark>&lt;b&gt;</mark>?" in hostile
    assert 'value="&lt;b&gt;"' in hostile


def test_a_search_that_finds_nothing_says_among_what(reader):
    mixed_forest()
    html = text_of(reader, f"{FOREST}?q=platypus&status=complete")
    assert "0 matches among the complete trees from 0 to 4." in html
    assert "No tree matches." in html


@pytest.mark.parametrize(
    ("order", "indexes"),
    [
        ("highest-value", [1, 0, 2, 4, 3]),
        ("lowest-value", [2, 4, 0, 1, 3]),
        ("most-nodes", [0, 3, 1, 2, 4]),
        ("most-tokens", [0, 2, 3, 4, 1]),
    ],
)
def test_trees_are_sorted_those_without_a_result_last(reader, order, indexes):
    mixed_forest()
    assert listed(text_of(reader, f"{FOREST}?sort={order}")) == indexes


def test_filters_are_used_together(reader):
    mixed_forest()
    address = f"{FOREST}?q=ducks&outcome=none-correct&status=complete&sort=most-tokens"
    assert listed(text_of(reader, address)) == [4]


@pytest.mark.usefixtures("small_windows")
def test_what_no_index_knows_is_looked_for_among_so_many_trees_at_once():
    forest = bare_forest("c" * 20)
    collection(Tree).update_many({}, {"$set": {"num_leaves": 1}})
    rare = {"_id": {"$in": [tree_id(forest.name, 5), tree_id(forest.name, 13)]}}
    collection(Tree).update_many(rare, {"$set": {"num_correct": 1}})
    for status in (None, COMPLETE):
        assert found(forest, outcome=TreeOutcome.SOME_CORRECT, status=status) == ([5], 8)
        again = found(forest, outcome=TreeOutcome.SOME_CORRECT, status=status, start=8)
        assert again == ([13], 16)
        assert found(forest, outcome=TreeOutcome.SOME_CORRECT, status=status, start=16) == (
            [],
            None,
        )
        many = found(forest, outcome=TreeOutcome.NONE_CORRECT, status=status, start=4)
        assert many == ([4, 6, 7], 8)
    page = read_filtered(forest, TreeFilter(order=listing.Order.HIGHEST_VALUE))
    assert (page.looked_at, page.num_matches, len(page.rows)) == (range(8), 8, 3)


# The page


def test_htmx_gets_the_trees_alone(reader, forest):
    html = text_of(reader, f"{FOREST}?q=ducks", **PARTS["trees"])
    assert html.startswith('<section id="trees"')
    assert "<html" not in html
    assert listed(html) == [0]


def test_a_filter_is_kept_in_its_form(reader):
    mixed_forest()
    html = text_of(
        reader, f"{FOREST}?q=ducks&outcome=none-correct&status=complete&sort=most-tokens"
    )
    assert 'name="q" value="ducks"' in html
    for option in (
        "<option selected>complete",
        'value="none-correct" selected',
        'value="most-tokens" selected',
    ):
        assert option in html


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ("status=lost", "Unknown status &#x27;lost&#x27;: use pending, growing, complete, failed"),
        ("outcome=good", "Unknown outcome &#x27;good&#x27;: use some correct, all correct"),
        ("sort=name", "Unknown order &#x27;name&#x27;: use dataset order, highest value"),
        ("status=complete&from=x", "There is no tree &#x27;x&#x27; to start from"),
        ("status=complete&from=²", "no tree"),
    ],
)
def test_a_filter_that_there_is_not_is_a_404_that_says_which_there_are(
    reader, forest, parameters, reason
):
    response = reader.get(f"{FOREST}?{parameters}")
    assert response.status_code == 404
    assert reason in response.content.decode()


# Cost


MOST_READS = {
    "status=complete": 3,
    "status=failed": 6,
    "outcome=mixed": 5,
    "q=ducks&sort=highest-value": 5,
    "q=ducks&status=complete": 2,
}
"""The most queries for trees that a filter may make, in a forest of any size."""


def test_a_filter_reads_as_often_in_a_large_forest_as_in_a_small_one(reader: Client, reads):
    forest = mixed_forest()
    for number in (5, 300):
        add_trees(forest, [tree_of()] * (number - forest.num_trees))
        forest = Forest.objects.get(pk=forest.pk)
        for parameters, most in MOST_READS.items():
            reads.clear()
            text_of(reader, f"{FOREST}?{parameters}", **PARTS["trees"])
            assert 1 <= reads.count("forests_tree") <= most, (number, parameters)


@pytest.mark.parametrize("status", list(TreeStatus))
def test_a_window_of_a_status_is_one_range_of_the_index(forest, status):
    query = {
        "forest_id": forest.name, "status": str(status), "index": {"$gte": 0, "$lt": 64},
    }  # fmt: skip
    plan = str(collection(Tree).find(query).explain())
    assert "tree_forest_status_index" in plan
    assert "COLLSCAN" not in plan


def test_all_trees_of_a_status_are_found_by_the_same_index(forest):
    plan = str(collection(Tree).find({"forest_id": forest.name, "status": "failed"}).explain())
    assert "tree_forest_status_index" in plan
    assert "COLLSCAN" not in plan


# Values, votes, disagreements, columns


@pytest.fixture
def valued() -> Forest:
    """Trees of the values 0, 0.4, 0.375 and 1; the vote of the third is wrong."""
    forest = add_trees(make_forest(), [tree_of(leaf("0.0", "1", WRONG, answer="1")), duck_tree()])
    divided = tree_of(
        leaf("0.0", "18", RIGHT, answer="18", count=2),
        leaf("0.1", "1", WRONG, answer="1", count=3),
        leaf("0.2", "18", RIGHT, answer="18"),
        leaf("0.3", "1", WRONG, answer="1"),
        leaf("0.4", "no", WRONG, answer="2"),
    )
    return add_trees(forest, [divided, tree_of(leaf("0.0", "18", RIGHT, answer="18"))])


@pytest.mark.parametrize(
    ("query", "trees"),
    [
        ("from_value=0.4", [1, 3]),
        ("to_value=0.4", [0, 1, 2]),
        ("from_value=0.2&to_value=0.4", [1, 2]),
        ("from_value=1&to_value=1", [3]),
        ("to_value=0", [0]),
        ("from_value=&to_value=", [0, 1, 2, 3]),
        ("outcome=majority-wrong-but-some-correct", [2]),
        ("outcome=majority-wrong-but-some-correct&from_value=0.5", []),
    ],
)
def test_trees_are_found_by_their_value_and_their_vote(reader, valued, query, trees):
    assert listed(text_of(reader, f"{FOREST}?{query}")) == trees
    data = reader.get(f"{FOREST}?{query}&format=json").json()
    assert [row["index"] for row in data["trees"]] == trees


def test_trees_of_an_older_version_do_not_know_their_vote(reader, valued):
    missing = dict.fromkeys(("majority_value", "disagreement", "retries"), "")
    collection(Tree).update_many({}, {"$unset": missing})
    outcome = "outcome=majority-wrong-but-some-correct"
    assert listed(text_of(reader, f"{FOREST}?{outcome}")) == []
    html = text_of(reader, f"{FOREST}?show=majority&show=retries")
    assert html.count('<td class="of-majority">-</td>') == 4
    assert html.count('<td class="of-retries number">-</td>') == 4
    assert '<td class="of-disagreement number">-</td>' in text_of(reader, FOREST)


def test_only_trees_in_which_sources_disagree(reader, valued):
    Tree.objects.filter(index=2).update(disagreement=0.3)
    assert listed(text_of(reader, f"{FOREST}?disputed=1")) == [2]
    assert "1 match among trees 0 to 3" in text_of(reader, f"{FOREST}?disputed=1")


def test_columns_are_in_the_address_and_stay_on_the_next_page(reader, monkeypatch):
    monkeypatch.setattr(listing, "TREES_PER_PAGE", 1)
    add_trees(make_forest(), [duck_tree(), duck_tree()])
    html = text_of(reader, f"{FOREST}?show=majority&show=value")
    heads = [part.partition("<")[0] for part in html.split('<th scope="col"')[-4:]]
    assert [head.rpartition(">")[2] for head in heads] == ["Tree", "Item", "Value", "Majority vote"]
    assert 'href="?show=majority&amp;show=value&amp;page=2#trees"' in html
    assert '<input type="checkbox" name="show" value="majority" checked>' in html
    assert '<input type="checkbox" name="show" value="nodes">' in html


@pytest.mark.parametrize(
    ("query", "known"),
    [
        ("show=colour", "completion-tokens"),
        ("from_value=2", "a number from 0 to 1"),
        ("to_value=nan", "a number from 0 to 1"),
        ("disputed=yes", "give 1"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(reader, valued, query, known):
    response = reader.get(f"{FOREST}?{query}")
    assert response.status_code == 404
    assert known in response.content.decode()
