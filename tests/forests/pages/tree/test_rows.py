"""The rows of a tree's page: their order, what is open, what is left to be loaded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forests.core.tree import ReasoningTree, TreeNode
from forests.pages.tree import rows as tree_rows
from forests.pages.tree import step_texts
from forests.pages.tree.picture import MAX_POINTS, picture_of
from forests.pages.tree.query import QueryError, TreeQuery
from forests.pages.tree.rows import GapRow, Row, TreeReading, TreeRow
from forests.pages.tree.selection import LeafKind
from forests.pages.tree.unfolding import CHUNK
from tests.forests.core.strategies import trees
from tests.forests.factories import RIGHT, WRONG, duck_tree, leaf, step, tree_of

PLAIN = TreeQuery()
ALL = TreeQuery(is_all_open=True)
QUERIES = st.builds(
    TreeQuery,
    phrase=st.sampled_from(["", "eggs", "nowhere"]),
    kind=st.sampled_from([None, *LeafKind]),
    is_all_open=st.booleans(),
)


def wide_tree(number: int, *, below: int = 1) -> ReasoningTree:
    """Return a tree with `number` first steps of `below` leaves each, correct below the last."""
    nodes = [step(f"0.{i}", f"Step {i}.\n") for i in range(number)]
    nodes += [
        leaf(f"0.{i}.{j}", f"#### {i}", RIGHT if i == number - 1 else WRONG, answer=str(i))
        for i in range(number)
        for j in range(below)
    ]
    return tree_of(*nodes)


def rows_of(tree: ReasoningTree, query: TreeQuery = PLAIN) -> list[Row]:
    return TreeReading(tree, query, "leaf_mean").rows()


def tree_rows_of(tree: ReasoningTree, query: TreeQuery = PLAIN) -> list[TreeRow]:
    return [row for row in rows_of(tree, query) if isinstance(row, TreeRow)]


def assert_nested(rows: list[Row], depth: int) -> None:
    """Assert that each row has the depth that the rows before it left open."""
    here = depth
    for row in rows:
        if isinstance(row, TreeRow):
            assert row.node.depth == here
            here += 1 if row.has_rows_below else -len(row.closes)
        else:
            assert len(row.gap.first) == here
            here -= len(row.closes)
    assert here == depth or not rows


@given(trees())
def test_rows_come_in_reading_order_and_close_what_they_opened(tree):
    rows = rows_of(tree, ALL)
    assert [row.node.path for row in rows if isinstance(row, TreeRow)] == sorted(
        path for path in tree.nodes if path
    )
    assert_nested(rows, 1)


@given(trees(60), QUERIES, st.integers(0, 30), st.integers(0, 60))
def test_rows_are_nested_whatever_is_searched_opened_and_left_out(tree, query, few, place):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree_rows, "MAX_LOADED_NODES", few)
        patch.setattr(tree_rows, "ROWS_AT_FIRST", 5)
        patch.setattr(tree_rows, "ROWS_BELOW", 4)
        assert_nested(rows_of(tree, query), 1)
        path = sorted(tree.nodes)[place % len(tree)]
        assert_nested(TreeReading(tree, query, "leaf_mean").rows_below(path), len(path) + 1)


def test_paths_are_marked_only_where_they_differ():
    equal = tree_of(step("0.0", "a\n"), leaf("0.0.0", "5", RIGHT), leaf("0.0.1", "5", RIGHT))
    assert not any(row.is_on_best or row.is_on_worst for row in tree_rows_of(equal))
    reading = TreeReading(duck_tree(), TreeQuery(), "leaf_mean")
    assert (reading.best[-1], reading.worst[-1]) == ((0, 0, 0), (1, 0, 0))


def test_the_tone_tells_none_some_and_all_correct_apart():
    def tone(correct: int, leaves: int) -> str:
        nodes = [leaf(f"0.0.{i}", "x", RIGHT if i < correct else WRONG) for i in range(leaves)]
        return tree_rows_of(tree_of(step("0.0", "a\n"), *nodes))[0].tone

    assert [tone(n, 6) for n in range(7)] == [
        "tone-0", "tone-1", "tone-2", "tone-2", "tone-3", "tone-3", "tone-4",
    ]  # fmt: skip
    assert tone(0, 0) == "tone-none"


def test_the_mean_log_probability_needs_both_numbers():
    rows = tree_rows_of(
        tree_of(
            TreeNode((0,), text="a", logprob=-6.0, tokens=4),
            TreeNode((1,), text="b", logprob=-6.0),
            TreeNode((2,), text="c", tokens=4),
        )
    )
    assert [row.logprob_per_token for row in rows] == [-1.5, None, None]


def test_a_large_tree_loads_as_many_rows_as_are_read_at_one_sitting():
    tree = wide_tree(3000)
    rows = rows_of(tree)
    assert len(rows) <= tree_rows.ROWS_AT_FIRST + 2 * CHUNK
    assert any(isinstance(row, GapRow) for row in rows)
    assert (2999, 0) in {row.node.path for row in rows if isinstance(row, TreeRow)}  # the best
    many = rows_of(tree, ALL)
    assert len(rows) <= len(many) <= tree_rows.ROWS_AT_MOST + 2 * CHUNK


def test_only_rows_that_are_open_are_rendered_in_a_large_tree():
    rows = tree_rows_of(wide_tree(60, below=30))
    assert {row.is_loaded for row in rows} == {True, False}
    for row in rows:
        assert row.is_loaded is row.is_unfolded
        assert bool(row.body) is row.is_loaded


def test_a_step_in_view_is_opened_however_deep_it_is():
    tree = wide_tree(60, below=30)
    assert (47, 11) not in {row.node.path for row in tree_rows_of(tree)}
    rows = {row.node.path: row for row in tree_rows_of(tree, TreeQuery(opened=(47, 11)))}
    assert rows[(47,)].is_unfolded
    assert rows[(47, 11)].is_unfolded
    rows_of(tree, TreeQuery(opened=(99, 99)))  # a step that the tree lacks is ignored


def test_markdown_stops_when_a_page_has_spent_its_time(monkeypatch):
    monkeypatch.setattr(step_texts, "MAX_SECONDS", 0)
    reading = TreeReading(duck_tree(), TreeQuery(), "leaf_mean")
    html = "".join(row.body for row in reading.rows() if isinstance(row, TreeRow))
    assert reading.texts.is_spent
    assert "**9 eggs**" in html
    assert "<strong>" not in html


def test_a_long_step_shows_its_beginning():
    tree = tree_of(TreeNode((0,), text="ab " * step_texts.MAX_STEP_LENGTH, terminal=True))
    (row,) = tree_rows_of(tree)
    assert row.num_missing == 2 * step_texts.MAX_STEP_LENGTH
    assert len(row.body) < step_texts.MAX_STEP_LENGTH + 200


def test_what_is_searched_is_marked_in_steps_found_and_nowhere_else():
    rows = {row.name: row for row in tree_rows_of(duck_tree(), TreeQuery(phrase="EGGS are"))}
    assert rows["0.0"].is_hit
    assert "<mark>eggs** are</mark>" in rows["0.0"].preview
    rows = {row.name: row for row in tree_rows_of(duck_tree(), TreeQuery(phrase="egg"))}
    assert "<strong>9 <mark>egg</mark>s</strong>" in rows["0.0"].body
    assert "<mark>" not in rows["0.0.0"].body


# The address


def test_a_query_is_read_from_an_address_and_carried_on():
    query = TreeQuery.read({"q": "  a \n b ", "ends": "correct", "raw": "", "open": "0.2.1"})
    assert query == TreeQuery("a b", LeafKind.CORRECT, is_raw=True, opened=(2, 1))
    assert query.carried == "?q=a+b&ends=correct&raw=1"
    assert query.leads_to((3,)) == "?open=0.3&raw=1"
    assert TreeQuery.read({"q": "x" * 10_000}).phrase == "x" * 200


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"ends": "well"}, "no solution ends as 'well': use correct, incorrect, unanswered"),
        ({"open": "0.x"}, "no step is named '0.x': paths look like 0.2.1"),
        ({"open": ""}, "no step is named ''"),
        ({"open": "0.01"}, "no step is named '0.01'"),
        ({"open": "0." + "9" * 5000}, "no step is named '0.99999"),
    ],
)
def test_an_address_that_asks_for_what_cannot_be_is_refused(parameters, reason):
    with pytest.raises(QueryError, match=reason):
        TreeQuery.read(parameters)


# The picture


def picture(tree: ReasoningTree, query: TreeQuery = PLAIN):
    reading = TreeReading(tree, query, "leaf_mean")
    anchors = {row.anchor for row in reading.rows() if isinstance(row, TreeRow)}
    return picture_of(reading, anchors)


@given(trees(), QUERIES)
def test_the_picture_has_a_point_for_each_step_within_its_frame(tree, query):
    drawn = picture(tree, query)
    assert len(drawn.points) == drawn.num_nodes == len(tree) - 1
    assert not drawn.is_thinned
    places = [(point.x, point.y) for point in drawn.points]
    assert len(set(places)) == len(places)
    for x, y in places:
        assert 0 <= x <= drawn.width
        assert 0 <= y <= drawn.height


def test_points_tell_their_value_and_lead_to_their_rows():
    drawn = picture(duck_tree())
    first = drawn.points[0]
    assert first.title == "0.0: value 0.80, 4 of 5 correct"
    assert first.address == "#node-0-0"
    assert first.css == "tone-3"
    assert drawn.best.count("M") == drawn.worst.count("M") == 3


def test_what_a_search_leaves_out_is_dimmed_and_leads_out_of_the_search():
    drawn = picture(duck_tree(), TreeQuery(kind=LeafKind.TRUNCATED))
    dim = {point.title.partition(":")[0]: point for point in drawn.points if "off" in point.css}
    assert len(dim) == 10
    assert dim["0.0"].address == "?open=0.0#node-0-0"


def test_the_picture_of_a_large_tree_is_thinned_and_says_what_is_left_out():
    drawn = picture(wide_tree(700, below=4))
    assert drawn.is_thinned
    assert drawn.num_nodes == 3500
    assert MAX_POINTS <= drawn.num_points + 1 <= MAX_POINTS + 10
    bundles = [point for point in drawn.points if point.is_bundle]
    assert any(point.title.endswith("4 steps below") for point in bundles)
    assert any(point.address.startswith("?open=") for point in drawn.points)
