"""Pages of trees show the thoughts of reasoning models folded, apart from the answer."""

import time

import pytest

from forests.core.thoughts import ThoughtCount, count_thoughts
from forests.core.tree import ReasoningTree, TreeNode, parse_path
from forests.markup.rendering import MAX_SHOWN_LENGTH
from forests.models import Tree
from forests.pages.tree.step_texts import MAX_STEP_LENGTH
from forests.progress.reading import read_thoughts
from forests.storage.trees import read_tree
from tests.forests.addresses import FOREST, FRAGMENT, TREE, Steps, text_of
from tests.forests.factories import (
    RIGHT,
    WRONG,
    add_trees,
    duck_tree,
    leaf,
    make_forest,
    step,
    tree_of,
)

pytestmark = pytest.mark.django_db

LONG = "Let me see, 3 + 4 is 7. **Wait.** <b>No</b>\n\n" * 2500
FOLDED = '<details class="thought"><summary>thought, 1,234 tokens</summary>'


def thought(path: str, text: str, *, tokens: int = 0, **fields) -> TreeNode:
    return TreeNode(parse_path(path), text=text, tokens=tokens, is_thought=True, **fields)


def thinking_tree(text: str = LONG) -> ReasoningTree:
    """Return a tree of two thoughts: one is a single node, the other has two steps and is cut."""
    return tree_of(
        thought("0.0", text, tokens=1234, count=2),
        step("0.0.0", "She has 9 eggs.\n\n"),
        leaf("0.0.0.0", "\\boxed{18}", RIGHT, answer="18"),  # noqa: S104
        leaf("0.0.1", "\\boxed{26}", WRONG, answer="26"),
        thought("0.1", "<think>\nHm.\n\n", tokens=5),
        thought("0.1.0", "I am lost", tokens=3, truncated=True, finish_reason="length"),
    )


def test_different_thoughts_are_counted_with_the_tokens_of_all_samples():
    assert count_thoughts(thinking_tree()) == ThoughtCount(thoughts=2, tokens=2 * 1234 + 8)
    assert count_thoughts(duck_tree()) == ThoughtCount(thoughts=0, tokens=0)


def test_a_thought_that_some_samples_end_and_others_go_on_with_is_two():
    tree = tree_of(
        thought("0.0", "a\n\n"),
        step("0.0.0", "answer"),
        thought("0.0.1", "b"),
        leaf("0.0.1.0", "answer", RIGHT),
    )
    assert count_thoughts(tree).thoughts == 2


def test_a_stored_node_remembers_that_it_is_thought():
    forest = add_trees(make_forest(), [thinking_tree()])
    stored = read_tree(forest, 0)
    assert stored is not None
    assert stored.tree == thinking_tree()


def test_a_thought_is_folded_and_the_answer_below_it_is_open(reader):
    add_trees(make_forest(), [thinking_tree()])
    html = text_of(reader, TREE)
    assert FOLDED in html
    assert 'hx-get="nodes/0.0/text/?"' in html
    assert '<a href="nodes/0.0/">Read this thought</a>' in html
    steps = Steps(html)
    assert steps.of_class("thinking") == {"node-0-0", "node-0-1", "node-0-1-0"}
    assert steps.opened == steps.rows
    assert "She has 9 eggs." in html
    assert "<dt>Thoughts</dt><dd>2 <small>(2,476 tokens)</small>" in html
    assert "<title>0.0: thought, value 0.50, 1 of 2 correct</title>" in html


def test_a_tree_without_thoughts_says_nothing_of_them(reader):
    add_trees(make_forest(), [duck_tree()])
    page = text_of(reader, TREE)
    html = page[: page.index('<dialog id="keys"')] + page[page.index("</dialog>") :]
    assert "hought" not in html


def test_a_thought_without_tokens_tells_its_length(reader):
    add_trees(make_forest(), [tree_of(thought("0.0", "x" * 1500), leaf("0.0.0", "4", RIGHT))])
    html = text_of(reader, TREE)
    assert "<summary>thought, 1,500 characters</summary>" in html
    assert "<dt>Thoughts</dt><dd>1</dd>" in html


def test_an_end_without_text_in_a_thought_is_no_thought_to_open(reader):
    add_trees(make_forest(), [tree_of(thought("0.0", "hm"), thought("0.0.0", "", terminal=True))])
    html = text_of(reader, TREE)
    assert html.count('<details class="thought">') == 1
    assert "The solution ends here without another step." in html


def test_a_thought_is_loaded_when_it_is_opened(reader):
    add_trees(make_forest(), [thinking_tree()])
    whole = text_of(reader, f"{TREE}nodes/0.0/text/", **FRAGMENT)
    assert whole.count("Wait.") == LONG[:MAX_SHOWN_LENGTH].count("Wait.")
    assert f"{len(LONG) - MAX_SHOWN_LENGTH:,} more characters are not shown" in whole
    assert "<b>" not in whole
    raw = text_of(reader, f"{TREE}nodes/0.0/text/?raw=1", **FRAGMENT)
    assert "**Wait.** &lt;b&gt;No&lt;/b&gt;" in raw


def test_all_thoughts_are_shown_on_request(reader):
    add_trees(make_forest(), [thinking_tree()])
    html = text_of(reader, f"{TREE}?thoughts=1&raw=1")
    assert '<details class="thought">' not in html
    assert "I am lost" in html
    assert f"Show {len(LONG) - MAX_STEP_LENGTH:,} more characters" in html
    assert 'hx-get="nodes/0.0/text/?raw=1&amp;thoughts=1"' in html
    assert '<input type="hidden" name="thoughts" value="1">' in html
    assert ">Fold thoughts</a>" in html


def test_a_search_opens_the_thought_in_which_it_found_something(reader):
    add_trees(make_forest(), [thinking_tree("First, the **ducks**.")])
    html = text_of(reader, f"{TREE}?q=ducks")
    assert "<mark>ducks</mark>" in html[html.index('<div class="body">') :]
    assert '<details class="thought">' not in html


def test_a_thought_has_a_page_of_its_own(reader):
    add_trees(make_forest(), [thinking_tree()])
    html = text_of(reader, f"{TREE}nodes/0.0/")
    assert '<span class="badge thought">thought</span>' in html
    assert "<h2>Thought</h2>" in html
    below = text_of(reader, f"{TREE}nodes/0.0.0/")
    assert "<h2>Text</h2>" in below
    way = below[below.index("Path</h2>") :]
    assert '<span class="badge thought">thought</span> <bdi>Let me see' in way


def test_a_prefix_holds_the_thought_to_the_character(reader):
    add_trees(make_forest(), [thinking_tree("Hm, 7.\n\n")], prompt="2?<think>\n")
    assert text_of(reader, f"{TREE}nodes/0.0.0/prefix.txt") == (
        "2?<think>\nHm, 7.\n\nShe has 9 eggs.\n\n"
    )


def test_many_large_thoughts_do_not_slow_a_page(reader):
    nodes = []
    for number in range(60):
        nodes.append(thought(f"0.{number}", f"{number} {LONG}", tokens=30_000))
        nodes.append(leaf(f"0.{number}.0", f"\\boxed{{{number}}}", WRONG, answer=str(number)))
    add_trees(make_forest(), [tree_of(*nodes)])
    began = time.thread_time()
    html = text_of(reader, TREE)
    assert time.thread_time() - began < 5
    assert len(html) < 300_000
    assert html.count('<details class="thought">') == 60
    assert "Rendering all these steps as Markdown" not in html


def test_the_page_of_a_forest_tells_how_much_is_thought(reader):
    add_trees(make_forest(), [thinking_tree("Hm.")])
    Tree.objects.update(status="complete")

    html = text_of(reader, FOREST)

    assert "<dt>Thoughts</dt><dd>1.00 of the tokens, 3 of 6 steps <small>counted in 1 tree" in html


def test_a_forest_without_thoughts_tells_nothing_of_them(reader):
    add_trees(make_forest(), [duck_tree()])
    Tree.objects.update(status="complete")

    assert "<dt>Thoughts" not in text_of(reader, FOREST)


def test_a_thought_that_only_some_samples_have_is_told_too(reader):
    tree = tree_of(
        leaf("0.0", "\\boxed{26}", WRONG, answer="26"),
        thought("0.1", "Hm.\n\n", tokens=5),
        leaf("0.1.0", "\\boxed{18}", RIGHT, answer="18"),
    )
    add_trees(make_forest(), [tree])
    Tree.objects.update(status="complete")

    assert "1 of 3 steps <small>counted in 1 tree" in text_of(reader, FOREST)


def test_a_forest_of_any_size_is_looked_at_in_a_few_steps(reader, monkeypatch):
    monkeypatch.setattr("forests.progress.reading.STEPS_LOOKED_AT", 2)
    forest = add_trees(make_forest(), [thinking_tree("Hm.") for _ in range(7)])
    Tree.objects.update(status="complete")
    forest.refresh_from_db()

    found = read_thoughts(forest)

    assert found is not None
    assert (found.trees, found.steps) == (4, 8)
