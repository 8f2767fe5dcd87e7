"""The pages of a tree and of a step as a browser requests them, with a real database."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from forests.core.tree import ReasoningTree, TreeNode
from forests.models import Forest, Node, Tree, TreeStatus
from forests.pages.tree.rows import MAX_OPEN_NODES, ROWS_AT_FIRST
from forests.pages.tree.step_texts import MAX_STEP_LENGTH
from forests.pages.tree.unfolding import CHUNK
from tests.forests.addresses import FOREST, FRAGMENT, NODE, PARTS, PROMPT, TREE, Steps, text_of
from tests.forests.factories import (
    QUESTION,
    RIGHT,
    UNCOMPARED,
    WRONG,
    add_tree,
    add_trees,
    duck_tree,
    grow_tree,
    leaf,
    make_forest,
    open_tree,
    step,
    tree_of,
)
from tests.forests.markup.test_markup import HOSTILE, Reading
from tests.forests.pages.tree.test_rows import wide_tree

pytestmark = pytest.mark.django_db


def test_a_tree_shows_every_step_with_its_value_and_grade(reader, forest):
    html = text_of(reader, TREE)
    for node in duck_tree():
        if node.path:
            anchor = "node-" + "-".join(map(str, (0, *node.path)))
            assert f'<li id="{anchor}"' in html
    assert "0.40" in html
    assert "(4 of 10 correct)" in html
    assert "<dt>Estimator</dt><dd>leaf_mean</dd>" in html
    assert "4 of 5 correct" in html
    assert '<span class="badge grade-incorrect">incorrect</span>' in html
    assert '<span class="badge grade-truncated">truncated</span>' in html
    assert "<strong>9 eggs</strong>" in html
    assert "<mfrac><mn>36</mn><mn>2</mn></mfrac>" in html
    assert "9*2=18&gt;&gt;18" in html
    assert 'class="label"><bdi>18</bdi>' in html


def test_a_tree_begins_with_its_question_and_folds_the_item_with_its_solution(reader, forest):
    Tree.objects.update(question="How many **eggs**?")
    html = text_of(reader, TREE)
    assert "How many <strong>eggs</strong>?" in html
    parts = ('aria-label="Question"', "<summary>Root prompt", "<summary>Item", 'id="steps"')
    places = [html.index(part) for part in parts]
    assert places == sorted(places)
    assert '<details class="source" open' not in html
    assert "How many **eggs**?" in text_of(reader, f"{TREE}?raw=1")


def test_a_tree_at_the_node_limit_says_that_it_lacks_samples(reader, forest):
    assert "max_nodes" not in text_of(reader, TREE)
    Tree.objects.update(hit_max_nodes=True)
    Forest.objects.update(num_hit_max_nodes=1)
    assert "reached <code>max_nodes</code>" in text_of(reader, TREE)
    assert "<dt>Trees at the node limit</dt><dd>1</dd>" in text_of(reader, FOREST)


def test_the_best_and_the_worst_path_are_marked(reader, forest):
    html = text_of(reader, TREE)
    marked = {
        kind: [part.split('"')[0] for part in html.split('<li id="')[1:]
               if f'<span class="mark {kind}">' in part]
        for kind in ("best", "worst")
    }  # fmt: skip
    assert marked["best"] == ["node-0-0", "node-0-0-0", "node-0-0-0-0"]
    assert marked["worst"] == ["node-0-1", "node-0-1-0", "node-0-1-0-0"]
    assert 'href="#node-0-0-0-0"' in html


def test_a_folded_step_says_what_is_inside_and_a_leaf_how_often_it_was_drawn(reader, forest):
    html = text_of(reader, TREE)
    assert "6 steps inside, 4 ends" in html
    assert "2 steps inside, 2 ends" in html
    assert '<span class="samples">3 samples</span>' in html
    assert "steps inside" not in text_of(reader, f"{TREE}?q=eggs")


def test_a_chain_of_single_steps_says_its_samples_once(reader):
    add_trees(
        make_forest(),
        [
            tree_of(
                step("0.0", "One.\n"),
                step("0.0.0", "Two.\n"),
                leaf("0.0.0.0", "#### 18", RIGHT, count=2),  # noqa: S104
                step("0.1", "One again.\n"),
                leaf("0.1.0", "#### 18", RIGHT),
                leaf("0.1.1", "#### 19", WRONG),
            )
        ],
    )
    steps = Steps(text_of(reader, TREE))
    assert steps.of_class("only") == {"node-0-0-0", "node-0-0-0-0"}
    assert steps.of_class("continues") == {"node-0-0-0", "node-0-0-0-0"}


def test_steps_are_nested_as_the_tree_is(reader, forest):
    steps = Steps(text_of(reader, TREE))
    assert len(steps.rows) == len(duck_tree()) - 1
    for anchor, parent in steps.parents.items():
        assert parent == ("" if anchor.count("-") == 2 else anchor.rpartition("-")[0])
    assert steps.opened == steps.rows


def test_raw_text_is_shown_as_written(reader, forest):
    html = text_of(reader, f"{TREE}?raw")
    assert "She uses $3 + 4 = 7$ eggs, so **9 eggs** are left." in html
    assert "<math" not in html


def test_a_tree_leads_to_its_neighbours(reader, forest):
    add_trees(forest, [duck_tree(), duck_tree()])
    assert 'rel="prev"' not in text_of(reader, TREE)
    middle = text_of(reader, f"{FOREST}trees/1/")
    assert f'rel="prev" href="{FOREST}trees/0/"' in middle
    assert f'rel="next" href="{FOREST}trees/2/"' in middle
    assert 'rel="next"' not in text_of(reader, f"{FOREST}trees/2/")


def test_a_tree_without_steps_says_why(reader):
    forest = add_trees(make_forest(), [tree_of()], status=TreeStatus.PENDING)
    add_tree(forest, 1, tree_of(), status=TreeStatus.FAILED, error="the model said <no>")
    assert "rollout_worker --num_processes 4 --forest_name" in text_of(reader, TREE)
    failed = text_of(reader, f"{FOREST}trees/1/")
    assert "the model said &lt;no&gt;" in failed
    assert "This tree failed before a step was stored." in failed


def test_a_growing_tree_shows_no_result_as_no_result(reader):
    add_trees(make_forest(), [open_tree()], status=TreeStatus.GROWING)
    html = text_of(reader, TREE)
    assert html.count("not expanded yet") == 2
    assert "0.00" not in html
    assert "best path" not in html


def test_chat_prompts_show_their_roles(reader):
    messages = [{"role": "system", "content": "*Check*."}, {"role": "user", "content": "$x$?"}]
    add_trees(make_forest(), [duck_tree()], prompt=messages)
    html = text_of(reader, TREE)
    assert '<p class="role"><bdi>system</bdi></p>' in html
    assert "<em>Check</em>" in html


def thirty_by_three() -> ReasoningTree:
    firsts = [step(f"0.{i}", "a\n") for i in range(30)]
    seconds = [step(f"0.{i}.{j}", "b\n") for i in range(30) for j in range(3)]
    thirds = [
        leaf(f"0.{i}.{j}.0", "#### 1", RIGHT if i == 7 else WRONG)
        for i in range(30)
        for j in range(3)
    ]
    return tree_of(*firsts, *seconds, *thirds)


def test_a_large_tree_opens_its_first_levels_and_all_on_request(reader):
    tree = thirty_by_three()
    assert len(tree) > MAX_OPEN_NODES
    add_trees(make_forest(), [tree])
    steps = Steps(text_of(reader, TREE))
    assert len(steps.rows) == 210
    ends = {"node-0-7-0-0", "node-0-0-0-0"}  # of the best and the worst path
    assert steps.opened == {anchor for anchor in steps.rows if anchor.count("-") < 4} | ends
    assert not steps.unloaded
    assert len(Steps(text_of(reader, f"{TREE}?all=1")).opened) == 210


def test_a_node_links_to_its_place_in_the_page(reader, forest):
    node = Node.objects.get(pk="ducks-test-first/0000000/0.0.1.0")
    address, _, anchor = node.get_absolute_url().partition("#")
    assert (address, anchor) == (f"{TREE}?open=0.0.1.0", "node-0-0-1-0")
    assert anchor in Steps(text_of(reader, address)).opened


@pytest.mark.parametrize("raw", ["", "?raw=1", "?q=script", "?q=%3Cimg"])
def test_hostile_text_in_every_field_is_inert(reader, raw):
    text = "\n\n".join(one for one in HOSTILE if "\ud800" not in one)
    tree = tree_of(
        step("0.0", text, model=text, finish_reason="stop"),
        leaf("0.0.0", text, WRONG, answer=text),
    )
    forest = add_trees(
        make_forest(config_source=text, config_git_branch=text, dataset_source=text,
                    dataset_licence=text, backend_message=text, failures={"kind": 1},
                    worker_config={text.replace("\x00", ""): text}),
        [tree], item=text, label=text, prompt=text, error=text, status=TreeStatus.GROWING,
    )  # fmt: skip
    add_tree(forest, 1, tree, prompt=[{"role": text, "content": text}], item=text, label=text)
    calm = make_forest("calm-test-first")
    add_trees(calm, [tree_of(step("0.0", "calm"), leaf("0.0.0", "calm", WRONG, answer="calm"))])
    tags = {
        kind: set(Reading(text_of(reader, f"/calm-test-first/{part}")).tags)
        for kind, part in (("forest", ""), ("tree", "trees/0/"), ("node", "trees/0/nodes/0.0/"))
    }
    pages = [(FOREST, "forest"), (TREE, "tree"), (f"{FOREST}trees/1/", "tree")]
    pages += [(f"{TREE}nodes/0.0.0/", "node"), (f"{FOREST}trees/1/nodes/0.0/", "node")]
    for address, kind in pages:
        html = text_of(reader, address + raw)
        reading = Reading(html)
        assert html.count("<script") == html.count('<script src="/static/')
        assert not {"img", "iframe", "style", "object", "embed", "base"} & (
            set(reading.tags) - tags[kind]
        )
        assert not [name for name, _ in reading.attributes if name.startswith("on")]
        addresses = [value or "" for name, value in reading.attributes if name in ("href", "src")]
        own = ("/", "#", "?", "nodes/")
        assert [one for one in addresses if not one.startswith(own) or one[:2] == "//"] == []
        assert "evil.example" in reading.text


# Growth


def seen_of(html: str) -> str:
    return html.partition('{"seen": "')[2].partition('"')[0]


def test_a_growing_tree_asks_for_what_is_new_and_gets_nothing_until_there_is(reader, reads):
    soon = datetime.now(UTC) + timedelta(minutes=1)
    growing = {"status": TreeStatus.GROWING, "lease_expires_at": soon}
    forest = add_trees(make_forest(), [open_tree()], **growing)
    html = text_of(reader, f"{TREE}?raw=1")
    assert 'hx-trigger="every 2s"' in html
    asked = {"raw": "1", "seen": seen_of(html)}
    assert Node._meta.db_table in reads
    reads.clear()
    response = reader.get(TREE, asked, headers=PARTS["growth"])
    assert (response.status_code, response.content) == (204, b"")
    assert Node._meta.db_table not in reads

    grow_tree(forest, 0, leaf("0.0.0", "#### 18", RIGHT))
    response = reader.get(TREE, asked, headers=PARTS["growth"])
    part = response.content.decode()
    assert "<html" not in part
    assert {"node-0-0", "node-0-1", "node-0-0-0"} == Steps(part).rows
    assert seen_of(part) != asked["seen"]


def test_a_tree_that_a_worker_left_asks_less_often_and_an_ended_one_never(reader):
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    growing = {"status": TreeStatus.GROWING, "lease_expires_at": hour_ago}
    forest = add_trees(make_forest(), [open_tree()], **growing)
    assert 'hx-trigger="every 15s"' in text_of(reader, TREE)
    add_trees(forest, [duck_tree()])
    add_tree(forest, 2, open_tree(), status=TreeStatus.FAILED, error="it broke")
    for index in (1, 2):
        html = text_of(reader, f"{FOREST}trees/{index}/")
        assert "every 2s" not in html
        assert "every 15s" not in html
        assert "growing.js" not in html


# Search and filter


def test_a_filter_keeps_the_steps_on_the_way_in_view(reader, forest):
    html = text_of(reader, f"{TREE}?ends=truncated")
    steps = Steps(html)
    assert steps.rows == {"node-0-1", "node-0-1-1"}
    assert steps.of_class("hit") == {"node-0-1-1"}
    assert "1 end is truncated. 2 of 12 steps are shown." in html
    assert "<option selected>truncated" in html


def test_a_search_marks_what_it_found_and_opens_the_way_there(reader, forest):
    html = text_of(reader, f"{TREE}?q=per+EGG")
    steps = Steps(html)
    assert steps.of_class("hit") == {"node-0-0-1"}
    assert steps.rows == {"node-0-0", "node-0-0-1", "node-0-0-1-0", "node-0-0-1-1"}
    assert steps.opened >= {"node-0-0", "node-0-0-1"}
    assert "At $2 <mark>per egg</mark> and 9 eggs" in html
    assert "1 step with “<bdi>per EGG</bdi>”, leading to 2 ends. 4 of 12 steps are shown" in html


def test_a_search_with_a_filter_in_raw_text(reader, forest):
    html = text_of(reader, f"{TREE}?q=eggs**&ends=incorrect&raw=1")
    assert Steps(html).rows == {"node-0-0", "node-0-0-1", "node-0-0-1-1"}
    assert "so **9 <mark>eggs**</mark> are left" in html
    assert '<input type="hidden" name="raw" value="1">' in html


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ("q=platypus", "No step contains “<bdi>platypus</bdi>”."),
        ("q=%3Cb%3E&ends=correct", "No step contains “<bdi>&lt;b&gt;</bdi>” and leads to a "
         "solution that is correct."),
    ],
)  # fmt: skip
def test_a_search_that_finds_nothing_says_so(reader, forest, parameters, words):
    html = text_of(reader, f"{TREE}?{parameters}")
    assert words in html
    assert "Show all steps" in html
    assert not Steps(html).rows


def test_htmx_gets_the_steps_alone(reader, forest):
    html = text_of(reader, f"{TREE}?ends=correct", **PARTS["steps"])
    assert html.startswith('<section id="steps"')
    assert "<html" not in html
    assert Steps(html).of_class("hit") == {"node-0-0-0-0", "node-0-0-0-1", "node-0-0-1-0"}


def test_an_answer_depends_on_what_htmx_asks_for(reader, forest):
    assert {"HX-Request", "HX-Target"} <= set(reader.get(TREE)["Vary"].split(", "))


# The picture


def test_the_picture_draws_the_tree_and_its_paths(reader, forest):
    html = text_of(reader, TREE)
    svg = html[html.index("<svg viewBox") : html.index("</svg>", html.index("<svg viewBox"))]
    assert svg.count("<circle") == 12
    assert '<path class="way best"' in svg
    assert '<path class="way worst"' in svg
    assert 'aria-hidden="true"' in svg
    assert svg.count('tabindex="-1"') == 12
    assert "<title>0.1.1: value 0.00, 0 of 1 correct</title>" in svg


def test_a_tree_that_grows_has_a_picture_without_paths(reader):
    add_trees(make_forest(), [open_tree()], status=TreeStatus.GROWING)
    html = text_of(reader, TREE)
    assert "<title>0.0: no result yet</title>" in html
    assert 'class="way' not in html


# Large trees


@pytest.fixture
def wide_forest() -> Forest:
    return add_trees(make_forest(), [wide_tree(450, below=2)])


def test_a_tree_of_thousands_loads_what_is_closed_on_demand(reader, wide_forest):
    html = text_of(reader, TREE)
    steps = Steps(html)
    assert len(steps.rows) <= ROWS_AT_FIRST + 2 * CHUNK
    assert steps.unloaded == steps.rows - steps.opened
    assert "nodes/0.5.0/inside/?" in html
    assert 'href="?open=0.5.0#node-0-5-0"' in html
    assert "Show 300 more steps here" in html
    assert "This tree is large" in html


def test_what_is_loaded_on_demand_fits_where_it_is_put(reader, wide_forest):
    inside = text_of(reader, f"{TREE}nodes/0.5/inside/", **FRAGMENT)
    assert inside.startswith('<div class="body">')
    assert "Step 5." in inside
    steps = Steps(inside)
    assert steps.rows == steps.unloaded == {"node-0-5-0", "node-0-5-1"}
    more = text_of(reader, f"{TREE}nodes/0/steps/?from=100&to=400", **FRAGMENT)
    rows = Steps(f"<ol>{more}</ol>").rows
    assert {anchor for anchor in rows if anchor.count("-") == 2} == {
        f"node-0-{index}" for index in range(100, 200)
    }
    assert "Show 200 more steps here" in more
    assert "from=200&amp;to=400" in more


def test_parts_loaded_on_demand_keep_to_the_search(reader, wide_forest):
    query = "?ends=correct&raw=1"
    inside = text_of(reader, f"{TREE}nodes/0.449/inside/{query}", **FRAGMENT)
    assert Steps(inside).rows == {"node-0-449-0", "node-0-449-1"}
    assert "nodes/0.449.0/inside/?ends=correct&amp;raw=1" in inside
    assert not Steps(text_of(reader, f"{TREE}nodes/0.5/inside/{query}", **FRAGMENT)).rows


def test_without_a_script_a_closed_step_is_opened_by_a_link(reader, wide_forest):
    assert "node-0-333-1" not in Steps(text_of(reader, TREE)).rows
    steps = Steps(text_of(reader, f"{TREE}?open=0.333.1"))
    assert {"node-0-333", "node-0-333-1"} <= steps.opened


def test_a_long_step_loads_its_rest_on_demand(reader):
    text = "A **long** step. " * MAX_STEP_LENGTH
    add_trees(make_forest(), [tree_of(step("0.0", text), leaf("0.0.0", "#### 1", RIGHT))])
    html = text_of(reader, TREE)
    assert len(html) < 3 * MAX_STEP_LENGTH + 20_000
    assert f"Show {16 * MAX_STEP_LENGTH:,} more characters" in html
    assert 'hx-get="nodes/0.0/text/?"' in html
    rest = text_of(reader, f"{TREE}nodes/0.0/text/", **FRAGMENT)
    assert rest.startswith('<div class="text">')
    assert "<strong>long</strong>" in rest
    assert Reading(rest).text.count("long") == MAX_STEP_LENGTH
    raw = text_of(reader, f"{TREE}nodes/0.0/text/?raw=1", **FRAGMENT)
    assert raw.count("**long**") == MAX_STEP_LENGTH


def test_how_a_step_was_sampled_is_loaded_on_demand(reader):
    node = TreeNode((0,), text="so\n", count=3, drawn={0: 2, 1: 1}, tokens=4, logprob=-6.0,
                    finish_reason="length", model="small <b>", seed=7)  # fmt: skip
    add_trees(make_forest(), [tree_of(node)])
    html = text_of(reader, f"{TREE}nodes/0.0/details/", **FRAGMENT)
    for name, value in (
        ("Samples", "3"), ("Drawn from depth 0", "2"), ("Drawn from depth 1", "1"),
        ("Tokens", "4"), ("Log-probability", "-6.0000"), ("Mean per token", "-1.5000"),
        ("Finish reason", "<bdi>length</bdi>"), ("Seed", "7"),
        ("Model", "<bdi>small &lt;b&gt;</bdi>"),
    ):  # fmt: skip
        assert f"<dt>{name}</dt><dd>{value}</dd>" in html
    assert f'href="{TREE}nodes/0.0/prefix.txt" data-copy="text"' in html


@pytest.mark.parametrize("part", ["inside/", "steps/?from=0&to=5", "text/", "details/"])
def test_a_part_by_itself_leads_to_the_page_of_its_step(reader, forest, part):
    response = reader.get(NODE + part)
    assert (response.status_code, response["Location"]) == (302, NODE)


# A step


def test_a_step_has_a_page_with_its_prefix_value_siblings_and_children(reader, forest):
    html = text_of(reader, NODE)
    text = Reading(html).text
    prefix = f"Question: {QUESTION}\nAnswer:" + duck_tree().steps_text((0, 1))
    assert prefix in text
    assert "At $2 per egg and 9 eggs, that is <code>9 * 2</code>." in html
    assert "0.50" in text
    assert "(1 of 2 correct)" in text
    for name in ("0.0", "0.0.0", "0.0.1.0", "0.0.1.1"):
        assert f'<a href="{TREE}nodes/{name}/">{name}</a>' in html
    assert f'href="{TREE}?open=0.0.1#node-0-0-1"' in html
    assert 'rel="prev" href="/ducks-test-first/trees/0/nodes/0.0.0/"' in html
    assert 'rel="next"' not in html
    for control in (
        f'href="{NODE}prefix.txt" data-copy="text"',
        f'href="{PROMPT}" data-copy="text"',
        f'href="{NODE}" data-copy="link"',
    ):
        assert control in html


def test_the_root_has_a_page_too(reader, forest):
    html = text_of(reader, f"{TREE}nodes/0/")
    assert f'<a href="{TREE}nodes/0.1/">0.1</a>' in html
    assert "The root prompt, exactly as the model gets it." in html
    assert "Siblings" not in html


def test_a_step_of_a_chat_shows_the_messages_that_the_model_saw(reader):
    messages = [{"role": "system", "content": "Check."}, {"role": "user", "content": "$x$?"}]
    worker_config = {"api": "chat"}
    add_trees(make_forest(worker_config=worker_config), [duck_tree()], prompt=messages)
    html = text_of(reader, f"{TREE}nodes/0.1/")
    assert html.count('class="chat"') == 3
    assert '<p class="role"><bdi>assistant</bdi></p>' in html
    seen = json.loads(text_of(reader, f"{TREE}nodes/0.1/prefix.txt"))
    assert seen == [*messages, {"role": "assistant", "content": duck_tree().steps_text((1,))}]
    assert json.loads(text_of(reader, PROMPT)) == messages


def test_of_very_many_siblings_those_around_are_listed(reader, wide_forest):
    html = text_of(reader, f"{TREE}nodes/0.300/")
    assert html.count('<th scope="row"><a') == 200 + 2
    assert 'nodes/0.300/">0.300</a>' in html
    assert "Only the 200 around this one are listed." in html
    root = text_of(reader, f"{TREE}nodes/0/")
    assert "Only the first 200" in root


# Plain text


@pytest.mark.parametrize(
    ("address", "path"),
    [(PROMPT, ()), (f"{TREE}nodes/0/prefix.txt", ()), (f"{NODE}prefix.txt", (0, 1))],
)
def test_prompt_and_prefix_are_given_as_the_model_saw_them(reader, forest, address, path):
    response = reader.get(address)
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert response["X-Content-Type-Options"] == "nosniff"
    written = duck_tree().steps_text(path)
    assert response.content.decode() == f"Question: {QUESTION}\nAnswer:{written}"


def test_hostile_plain_text_stays_plain(reader):
    text = "<script>alert(1)</script>\r\n\u202e\x00é"
    add_trees(make_forest(), [tree_of(step("0.0", text))], prompt=text)
    response = reader.get(f"{TREE}nodes/0.0/prefix.txt")
    assert response.content == (text + text).encode()
    assert response["Content-Type"].startswith("text/plain")
    assert "default-src 'none'" in response["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (f"{TREE}nodes/0.9/", "The tree has no step 0.9"),
        (f"{TREE}nodes/0.9/prefix.txt", "The tree has no step 0.9"),
        (f"{TREE}nodes/1.0/", "There is no page at this address."),
        (f"{TREE}nodes/0.{'9' * 40}/", "There is no page at this address."),
        (f"{TREE}nodes/0{'.0' * 2000}/prefix.txt", "The tree has no step 0.0"),
        (f"{TREE}nodes/0{'.0' * 2001}/prefix.txt", "There is no page at this address."),
        (f"{TREE}?open=0{'.0' * 2001}", "No step is named &#x27;0.0"),
        (f"{FOREST}trees/7/prompt.txt", "has 1 tree and no tree 7"),
        (f"{FOREST}trees/7/nodes/0.0/", "has 1 tree and no tree 7"),
        (f"{TREE}?ends=well", "No solution ends as &#x27;well&#x27;"),
        (f"{TREE}?open=x", "No step is named &#x27;x&#x27;"),
    ],
)
def test_a_step_that_is_not_there_is_a_404_that_says_so(reader, forest, address, reason):
    response = reader.get(address)
    assert response.status_code == 404
    assert reason in response.content.decode()


@pytest.mark.parametrize("part", ["inside/", "steps/?from=0&to=2", "text/", "details/"])
def test_a_part_of_a_step_that_is_not_there_is_a_404(reader, forest, part):
    assert reader.get(f"{TREE}nodes/0.9/{part}", headers=FRAGMENT).status_code == 404


@pytest.mark.parametrize("place", ["", "?from=5", "?from=5&to=5", "?from=-1&to=4", "?from=x&to=y"])
def test_a_place_among_steps_that_cannot_be_is_a_404(reader, forest, place):
    assert reader.get(f"{NODE}steps/{place}", headers=FRAGMENT).status_code == 404


# Keys


def test_the_keys_are_explained(reader, forest):
    html = text_of(reader, TREE)
    dialog = html[html.index('<dialog id="keys"') : html.index("</dialog>")]
    for key in "↓↑→←bwnpec/[]?":
        assert f"<kbd>{key}</kbd>" in dialog


def test_a_step_that_could_not_be_compared_has_a_badge_and_no_value(reader):
    tree = tree_of(
        leaf("0.0", "#### 18", RIGHT, answer="18", voted_answer="18"),
        leaf("0.1", "#### odd", UNCOMPARED, answer="odd", voted_answer="odd", count=3),
        leaf("0.2", "#### 7.0", WRONG, answer="7.0", voted_answer="7"),
    )
    add_trees(make_forest(), [tree])

    html = text_of(reader, TREE)

    assert html.count('<span class="badge grade-uncompared">uncompared</span>') == 1
    assert "0.50" in html
    assert "(1 of 2 correct)" in html
    assert "3 samples have no result, as nobody could compare their answers" in html
    assert "regrade_forest --forest_name ducks-test-first" in html
    assert "1 end is uncompared" in text_of(reader, f"{TREE}?ends=uncompared")
    assert 'class="value">-<' in text_of(reader, f"{TREE}nodes/0.1/")
    assert "<dt>Votes with</dt><dd><bdi>7</bdi>" in text_of(reader, f"{TREE}nodes/0.2/")
    assert "Votes with" not in text_of(reader, f"{TREE}nodes/0.0/")
