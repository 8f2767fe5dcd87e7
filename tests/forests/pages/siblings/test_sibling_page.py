"""The page that compares a step with its siblings."""

import pytest

from forests.core.naming import tree_id
from forests.core.opinions.judged import JudgedTree
from forests.core.opinions.verdicts import JUDGE
from forests.pages.siblings.columns import MAX_TEXT_LENGTH
from forests.storage.scores import start_scorer, write_judged
from tests.forests.addresses import TREE, text_of
from tests.forests.factories import add_trees, make_forest, step, tree_of
from tests.forests.markup.test_markup import HOSTILE, Reading

pytestmark = pytest.mark.django_db

PAGE = f"{TREE}nodes/0.0/siblings/"


def test_siblings_are_beside_each_other_with_values_evidence_and_differences(reader, forest):
    critic = start_scorer(forest, "critic", {}, JUDGE)
    said = JudgedTree({(1,): 0.0}, {(1,): "It *sells* first."}, {})
    write_judged(critic, {tree_id(forest.name, 0): said})

    html = text_of(reader, PAGE)

    assert html.index("Step 0.0</a>") < html.index("Step 0.1</a>")
    assert "4 of 5" in html
    assert "0 of 5" in html
    assert html.count('<span class="interval">') == 2
    assert "6 steps inside, 4 ends" in html
    assert "critic <small>(judge)</small>: wrong" in html.replace("<bdi>", "").replace("</bdi>", "")
    assert "It <em>sells</em> first." in html
    assert "She uses $3 + 4 = 7$ eggs" in html
    assert "She <del>uses </del><ins>sells </ins>" in html


def test_other_siblings_are_chosen_by_the_address(reader):
    add_trees(make_forest(), [tree_of(*(step(f"0.{n}", f"Way {n}.\n") for n in range(30)))])

    html = text_of(reader, f"{TREE}nodes/0.9/siblings/?with=0.20&with=0.3")

    heads = [part.split("<")[0] for part in html.split('">Step ')[1:]]
    assert heads == ["0.9", "0.9", "0.3", "0.20"]  # the first is in the breadcrumb
    assert html.count(" checked>") == 2
    assert 'value="0.29"' in html


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (f"{TREE}nodes/0/siblings/", "the root has no siblings"),
        (f"{TREE}nodes/0.7/siblings/", "no step 0.7"),
        (f"{PAGE}?with=0.7", "step 0.0 has no sibling 0.7"),
        (f"{PAGE}?with=0.1.0", "step 0.0 has no sibling 0.1.0"),
        (f"{PAGE}?with=nothing", "no step is named &#x27;nothing&#x27;"),
    ],
)
def test_other_steps_are_refused(reader, forest, address, words):
    response = reader.get(address)
    assert response.status_code == 404
    assert words in response.content.decode().lower()


def test_long_texts_are_cut_with_a_note_and_the_page_says_when_it_does_not_compare(reader):
    long = "word and " * MAX_TEXT_LENGTH
    add_trees(make_forest(), [tree_of(step("0.0", long), step("0.1", f"A {long}"))])

    html = text_of(reader, PAGE)

    assert len(html) < 4 * MAX_TEXT_LENGTH
    assert f"{len(long) - MAX_TEXT_LENGTH:,} more characters are on" in html
    assert "Too long to compare word by word." in html


def test_a_step_alone_says_so(reader):
    add_trees(make_forest(), [tree_of(step("0.0", "Only this.\n"))])
    assert "No other step continues this prefix." in text_of(reader, PAGE)


def test_hostile_texts_are_inert(reader):
    text = "\n\n".join(one for one in HOSTILE if "\ud800" not in one)
    add_trees(make_forest(), [tree_of(step("0.0", text), step("0.1", f"{text} too", answer=text))])
    html = text_of(reader, PAGE)
    reading = Reading(html)
    assert html.count("<script") == html.count('<script src="/static/')
    assert not {"iframe", "style", "object", "embed", "base"} & set(reading.tags)
    assert not [name for name, _ in reading.attributes if name.startswith("on")]
    assert "evil.example" in reading.text


def test_the_page_is_linked_from_the_step_and_has_its_data_as_json(reader, forest):
    assert f'href="{PAGE}"' in text_of(reader, f"{TREE}nodes/0.0/")
    steps = reader.get(PAGE, {"format": "json"}).json()["steps"]
    assert [one["path"] for one in steps] == ["0.0", "0.1"]
    assert steps[0]["num_correct"] == 4
    assert steps[0]["text"].startswith("She uses")
    assert steps[0]["num_characters_missing"] == 0
