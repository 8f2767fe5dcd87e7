"""The tokens of a step on its page: text (escaped), probability, divergence."""

from math import log

import pytest

from forests.core.tokens.kept import KeptTokens, given, rounded
from forests.core.tree import TreeNode
from forests.pages.tree.token_view import TokenView
from tests.forests.factories import RIGHT, add_tree, leaf, make_forest, step, tree_of


def kept(ids: tuple[int, ...], probabilities: tuple[float, ...], lengths: tuple[int, ...]):
    return KeptTokens(ids, rounded([log(one) for one in probabilities]), lengths)


def test_tokens_have_their_text_their_probability_and_mark_where_siblings_diverge():
    node = TreeNode((0,), text="a<b", kept=kept((1, 2, 3), (1.0, 0.5, 0.05), (1, 2, 0)))
    other = TreeNode((1,), text="ac", kept=kept((1, 4), (1.0, 0.2), (1, 1)))
    view = TokenView.of(node, [node, other])
    assert view is not None
    assert [token.text for token in view.tokens] == ["a", "<b", ""]
    assert [token.tone for token in view.tokens] == ["p0", "p3", "p5"]
    assert [token.diverges for token in view.tokens] == [False, True, False]
    assert TokenView.of(TreeNode((0,), text="a"), []) is None


def test_the_start_of_a_step_may_belong_to_the_token_before_it():
    node = TreeNode((0,), text="\nab", kept=KeptTokens((5,), (None,), (2,), start=1))
    view = TokenView.of(node, [])
    assert view is not None
    assert (view.before, view.tokens[0].text, view.tokens[0].tone) == ("\n", "ab", "given")


@pytest.mark.django_db
def test_the_page_loads_them_on_demand_and_escapes_them(admin_client):
    forest = make_forest("ducks-test-first")
    hostile = "<script>x</script>"
    first = step("0.0", hostile, kept=kept((1,), (0.5,), (len(hostile),)))
    tree = tree_of(first, leaf("0.0.0", "18", RIGHT))
    tree.root.kept = given((7,))
    add_tree(forest, 0, tree)
    address = "/ducks-test-first/trees/0/nodes/0.0/"
    page = admin_client.get(f"{address}tokens/", headers={"HX-Request": "true"}).text
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert "style=" not in page
    assert 'title="id 1, probability 0.500"' in page
    assert admin_client.get(f"{address}tokens/").status_code == 302
    details = admin_client.get(f"{address}details/", headers={"HX-Request": "true"}).text
    assert f"{address}tokens/" in details
    without = admin_client.get(
        "/ducks-test-first/trees/0/nodes/0.0.0/tokens/", headers={"HX-Request": "true"}
    )
    assert "No tokens are kept" in without.text
