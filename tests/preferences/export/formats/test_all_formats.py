import re
from collections import Counter
from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given

from experiment_configs.interfaces import Prompt
from forests.core.certainty.evidence import evidence_of, with_evidence
from forests.core.prefix import as_text
from forests.core.step_tags import STEP_TAG
from forests.core.tree import ReasoningTree
from forests.core.values import NodeValue, Ungraded, estimate_values
from preferences.core.pairing import PairingOptions, select_pairs
from preferences.export.formats.base import Format, Item, Row, RowOptions
from preferences.export.formats.pairs import EVIDENCE
from preferences.export.formats.prompts import FormatError, as_seen
from preferences.export.writing import OUR_FORMATS
from tests.preferences.core.test_pairing import options, trees
from tests.preferences.trees import RIGHT, UNCOMPARED, WRONG, Step, addition_tree, tree_of

FORMATS = {one.name: one for one in OUR_FORMATS}
QUESTION = "What is 2 + 3? "
ASKED = "What is 2 + 3?"
FEW_SHOT = f"Question: What is 1 + 1?\nAnswer: 2\n\nQuestion: {ASKED}\nAnswer:"
CHAT: Prompt = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 3?"}]


def item_of(
    tree: ReasoningTree, prompt=QUESTION, ungraded: Ungraded = "incorrect", **wanted
) -> Item:
    values = estimate_values(tree, "leaf_mean", ungraded)
    pairs = select_pairs(tree, values, PairingOptions(**{"level": "step"} | wanted)).pairs
    return Item(prompt=prompt, label="5", dataset="sums", pairs=pairs, tree=tree, values=values)


def rows_of(name: str, item: Item, threshold: float = 0.0, **given_options) -> list[Row]:
    """Return the rows, after a check that the schema of the format fits each of them."""
    wanted = RowOptions(label_threshold=threshold, **given_options)
    rows = list(FORMATS[name].rows(item, wanted, Counter()))
    schema = FORMATS[name].schema(not isinstance(item.prompt, str), wanted)
    assert all(list(row) == schema.names for row in rows)
    assert pa.Table.from_pylist(rows, schema=schema).to_pylist() == rows or name == "prm800k"
    return rows


def test_trl_rows_divide_at_the_step_and_not_inside_it():
    assert rows_of("trl", item_of(addition_tree())) == [
        {
            "prompt": QUESTION,
            "chosen": " Add: 2 + 3 = 5 — naïve, 足す.\n",
            "rejected": "\tSubtract: 3 - 2 = 1 \n",
        },
        {
            "prompt": QUESTION + " Add: 2 + 3 = 5 — naïve, 足す.\n",
            "chosen": "The answer is 5",
            "rejected": "The answer is 6",
        },
        {
            "prompt": QUESTION + "\tSubtract: 3 - 2 = 1 \n",
            "chosen": "  The answer is 5",
            "rejected": "The answer is 1",
        },
    ]


@given(trees(), options())
def test_prompt_and_side_are_exactly_what_the_model_saw_and_wrote(tree, wanted):
    values = estimate_values(tree, "leaf_mean", "incorrect")
    pairs = select_pairs(tree, values, wanted).pairs
    written = [
        (QUESTION + tree.steps_text(p.chosen.path), QUESTION + tree.steps_text(p.rejected.path))
        for p in pairs
    ]
    item = Item(prompt=QUESTION, label="", dataset="", pairs=pairs)
    in_text = [
        (r["prompt"] + r["chosen"], r["prompt"] + r["rejected"]) for r in rows_of("trl", item)
    ]
    in_chat = [
        tuple(r["prompt"][0]["content"] + r[side][0]["content"] for side in ("chosen", "rejected"))
        for r in rows_of("trl_conversational", item)
    ]
    in_steps = [
        tuple(QUESTION + r["prefix"] + r[side] for side in ("chosen", "rejected"))
        for r in rows_of("step_dpo", item)
    ]
    assert in_text == in_chat == in_steps == written


def test_a_chat_is_refused_by_the_format_of_texts_which_names_the_other():
    with pytest.raises(FormatError, match="use --format trl_conversational"):
        rows_of("trl", item_of(addition_tree(), prompt=CHAT))


def test_conversational_rows_have_one_assistant_turn_that_begins_with_the_prefix():
    row = rows_of("trl_conversational", item_of(addition_tree(), prompt=CHAT))[1]
    prefix = " Add: 2 + 3 = 5 — naïve, 足す.\n"
    assert row == {
        "prompt": CHAT,
        "chosen": [{"role": "assistant", "content": prefix + "The answer is 5"}],
        "rejected": [{"role": "assistant", "content": prefix + "The answer is 6"}],
    }


def test_unpaired_rows_have_each_side_once_labelled_by_its_value():
    tree = tree_of({f"0.{i}": (f"step {i}", RIGHT if i else WRONG) for i in range(3)})
    rows = rows_of("trl_unpaired", item_of(tree, pairing="all_pairs"), threshold=0.5)
    assert sorted((row["completion"], row["label"]) for row in rows) == [
        ("step 0", False), ("step 1", True), ("step 2", True),
    ]  # fmt: skip
    chat = rows_of("trl_unpaired", item_of(tree, prompt=CHAT), threshold=0.5)
    assert chat[0]["completion"] == [{"role": "assistant", "content": "step 1"}]


def test_a_continued_step_is_labelled_by_its_end_and_not_by_its_own_value():
    """The first step has the value 0.25, below the threshold, but its chosen end is right."""
    steps: dict[str, Step] = {
        "0.0": ("Add.", None), "0.0.0": ("5", RIGHT), "0.0.1": ("6", WRONG, 3),
        "0.1": ("Guess.", WRONG),
    }  # fmt: skip
    item = item_of(tree_of(steps), level="step_to_end")
    rows = rows_of("trl_unpaired", item, threshold=0.5, level="step_to_end", with_values=True)
    first = {row["completion"]: (row["label"], row["value"]) for row in rows[:2]}
    assert first == {"Add.5": (True, 0.25), "Guess.": (False, 0.0)}
    odd = tree_of({**steps, "0.1": ("Guess.", UNCOMPARED)})
    dropped: Counter[str] = Counter()
    wanted = RowOptions(label_threshold=0.5, level="step_to_end")
    list(FORMATS["trl_unpaired"].rows(replace(item, tree=odd), wanted, dropped))
    assert dropped == Counter(sides_without_result=1)


def test_stepwise_rows_label_every_step_of_every_solution():
    rows = rows_of("trl_stepwise", item_of(addition_tree()), threshold=0.5, with_values=True)
    assert [row["labels"] for row in rows] == [
        [True, True], [True, False], [False, False], [False, True],
    ]  # fmt: skip
    assert [row["values"] for row in rows] == [[0.75, 1.0], [0.75, 0.0], [0.25, 0.0], [0.25, 1.0]]
    assert rows[0]["completions"] == [" Add: 2 + 3 = 5 — naïve, 足す.\n", "The answer is 5"]


def test_stepwise_values_carry_their_samples_and_intervals():
    tree = addition_tree()
    item = item_of(tree)
    known = with_evidence(item.values, evidence_of(tree, item.values, "leaf_mean"))

    [first, *_] = rows_of("trl_stepwise", replace(item, values=known), with_values=True)

    assert first["n"] == [4, 3]
    assert first["low"][0] < 0.75 < first["high"][0]
    assert (first["low"][1], first["high"][1]) == (1.0, 1.0)  # the end of a solution is certain


def test_scores_have_no_interval():
    [first, *_] = rows_of("trl_stepwise", item_of(addition_tree()), with_values=True)
    assert (first["low"], first["high"]) == ([None, None], [None, None])


@pytest.mark.parametrize("name", ["trl", "trl_conversational", "step_dpo"])
def test_pairs_carry_their_evidence_if_it_is_asked_for(name):
    item = item_of(addition_tree())
    item = replace(item, pairs=[replace(item.pairs[0], confidence=0.83), *item.pairs[1:]])

    plain, rows = rows_of(name, item), rows_of(name, item, with_values=True)

    evidence = {name: rows[0][name] for name in EVIDENCE}
    assert evidence == {
        "chosen_value": 0.75, "rejected_value": 0.25, "chosen_leaves": 4, "rejected_leaves": 4,
        "margin": 0.5, "confidence": 0.83,
    }  # fmt: skip
    assert rows[1]["confidence"] is None
    assert rows[0] == plain[0] | evidence


@pytest.mark.parametrize(
    ("threshold", "labels"), [(0.0, [True, True]), (0.5, [False, True]), (0.999, [False, True])]
)
def test_the_threshold_decides_what_hard_means(threshold, labels):
    rows = rows_of("trl_stepwise", item_of(addition_tree()), threshold=threshold)
    assert rows[3]["labels"] == labels


@given(trees())
def test_stepwise_rows_are_the_solutions_of_the_tree_each_once(tree):
    item = item_of(tree, ungraded="exclude")
    solutions = set()
    for leaf in tree.leaves():
        steps = [node for node in tree.path_nodes(leaf.path) if node.text.strip()]
        if steps and item.values[leaf.path].value is not None:
            solutions.add(tuple(node.text for node in steps))
    rows = rows_of("trl_stepwise", item)
    assert sorted(tuple(row["completions"]) for row in rows) == sorted(solutions)
    assert all(len(row["completions"]) == len(row["labels"]) for row in rows)


def test_a_solution_without_result_is_left_out_and_counted():
    tree = tree_of({"0.0": ("a", None), "0.0.0": ("b", RIGHT), "0.0.1": ("c", None)})
    dropped: Counter[str] = Counter()
    item = item_of(tree, ungraded="exclude")
    rows = list(FORMATS["trl_stepwise"].rows(item, RowOptions(label_threshold=0), dropped))
    assert [row["completions"] for row in rows] == [["a", "b"]]
    assert dropped == Counter(solutions_without_result=1)


def read_math_shepherd(row: Row) -> tuple[str, list[str], list[bool]]:
    """Return prompt, steps and labels as TRL's reader of Math-Shepherd finds them."""
    text = row["input"].replace(STEP_TAG, "ⶻ")
    places = [found.start() for found in re.finditer("ⶻ", text)]
    assert len(text) == len(row["label"])
    assert {row["label"][place] for place in places} <= {"+", "-"}
    labels = [row["label"][place] == "+" for place in places]
    first, *rest = [part.removeprefix("ⶻ").strip() for part in re.split("(?=ⶻ)", text)][:-1]
    prompt, first_step = first.split("Step 1:")
    return prompt.strip(), ["Step 1:" + first_step, *rest], labels


def test_math_shepherd_rows_are_read_by_the_reader_of_the_paper_s_dataset():
    rows = rows_of("math_shepherd", item_of(addition_tree()))
    assert read_math_shepherd(rows[1]) == (
        "What is 2 + 3?",
        ["Step 1: Add: 2 + 3 = 5 — naïve, 足す.", "Step 2: The answer is 6"],
        [True, False],
    )
    assert rows[0]["task"] == "sums"


def test_steps_that_are_numbered_already_are_not_numbered_twice():
    tree = tree_of(
        {"0.0": ("Step 1: add\n", None), "0.0.0": ("step 2 : it is 5, not Step 3:", RIGHT)}
    )
    [row] = rows_of("math_shepherd", item_of(tree))
    assert row["input"] == (
        f"What is 2 + 3? Step 1: add {STEP_TAG}\nStep 2: it is 5, not Step 3: {STEP_TAG}"
    )


@pytest.mark.parametrize("text", ["сутки", "Step 1: so. Step 1: again"])
def test_a_text_that_holds_the_marks_of_math_shepherd_is_left_out_and_counted(text):
    dropped: Counter[str] = Counter()
    item = item_of(tree_of({"0.0": (text, RIGHT)}))
    assert not list(FORMATS["math_shepherd"].rows(item, RowOptions(label_threshold=0), dropped))
    assert dropped == Counter(solutions_with_step_tag=1)


def test_prm800k_rates_every_alternative_beside_the_best_path():
    [row] = rows_of(
        "prm800k", item_of(addition_tree()), threshold=0.5, labeler="prm_site/leaf_mean"
    )
    first, second = row["label"]["steps"]
    assert [c["rating"] for c in first["completions"]] == [1, 0]
    assert [c["rating"] for c in second["completions"]] == [1, -1]
    assert first["chosen_completion"] == second["chosen_completion"] == 0
    assert row["label"]["finish_reason"] == "solution"
    assert row["question"] == {"problem": ASKED, "ground_truth_answer": "5"}


def test_prm800k_ends_at_the_step_where_nothing_is_right():
    tree = tree_of({"0.0": ("a", None), "0.0.0": ("b", WRONG), "0.1": ("c", WRONG)})
    [row] = rows_of("prm800k", item_of(tree))
    [step] = row["label"]["steps"]
    assert step["chosen_completion"] is None
    assert row["label"]["finish_reason"] == "found_error"


def test_no_result_is_a_rating_of_none_and_not_minus_one():
    tree = tree_of({"0.0": ("a", None), "0.1": ("b", WRONG)})
    values = {(): NodeValue(0.0, 1), (0,): NodeValue(None, 0), (1,): NodeValue(0.0, 1)}
    item = Item(prompt=QUESTION, label="5", dataset="sums", tree=tree, values=values)
    [row] = rows_of("prm800k", item)
    assert [c["rating"] for c in row["label"]["steps"][0]["completions"]] == [None, -1]


@pytest.mark.parametrize("one", FORMATS.values(), ids=FORMATS)
def test_a_chat_can_be_written_in_every_format_but_that_of_texts(one: Format):
    if one.name not in ("trl", "critique_pairs", "verifiers"):  # the last two need votes and tokens
        assert rows_of(one.name, item_of(addition_tree(), prompt=CHAT))


def test_a_text_sent_to_the_chat_api_was_the_message_of_a_user():
    assert as_seen("2 + 3?", "chat") == [{"role": "user", "content": "2 + 3?"}]
    assert as_seen("2 + 3?", "completions") == "2 + 3?"


def test_a_chat_as_text_names_the_roles_unless_it_is_one_question():
    assert as_text([{"role": "user", "content": "2 + 3?"}]) == "2 + 3?"
    assert as_text(CHAT) == "system: Be brief.\n\nuser: 2 + 3?"


def test_a_cut_solution_ends_at_its_first_step_that_is_not_good():
    tree = tree_of(
        {
            "0.1": ("x", WRONG),
            "0.0": ("a\n", None),
            "0.0.1": ("b\n", None),
            "0.0.1.0": ("c", WRONG),
            "0.0.1.1": ("d", WRONG),
            "0.0.0": ("e", RIGHT),
        }
    )
    rows = rows_of("trl_stepwise", item_of(tree), cut_at_first_error=True)
    assert sorted((row["completions"], row["labels"]) for row in rows) == [
        (["a\n", "b\n"], [True, False]),
        (["a\n", "e"], [True, True]),
        (["x"], [False]),
    ]
    rows = rows_of("math_shepherd", item_of(tree), cut_at_first_error=True)
    assert sorted(row["label"].count("-") for row in rows) == [0, 1, 1]


def test_processbench_rows_name_the_first_wrong_step():
    rows = rows_of("processbench", item_of(addition_tree()))
    found = {(row["steps"][0].strip()[:3], row["steps"][1].strip()): row for row in rows}
    right = found["Add", "The answer is 5"]
    assert (right["label"], right["final_answer_correct"]) == (-1, True)
    assert (right["problem"], right["generator"]) == (ASKED, "test-model")
    assert found["Add", "The answer is 6"]["label"] == 1
    assert found["Sub", "The answer is 1"]["label"] == 1
    assert len({row["id"] for row in rows}) == len(rows)
    strict = rows_of("processbench", item_of(addition_tree()), threshold=0.5)
    assert sorted(row["label"] for row in strict) == [-1, -1, 0, 1]


def test_processbench_steps_stand_without_the_blanks_around_them():
    tree = tree_of({"0.0": (" a\n\n", None), "0.0.0": ("b\nc\n", RIGHT), "0.0.1": ("b\nc", WRONG)})
    dropped: Counter[str] = Counter()
    [row] = FORMATS["processbench"].rows(item_of(tree), RowOptions(label_threshold=0), dropped)
    assert row["steps"] == ["a", "b\nc"]
    assert dropped == Counter(solutions_repeated=1)


ASKING = {
    "math_shepherd": lambda row: row["input"].partition(" Step 1:")[0],
    "prm800k": lambda row: row["question"]["problem"],
    "processbench": lambda row: row["problem"],
    "step_dpo": lambda row: row["prompt"],
}


@pytest.mark.parametrize("name", ASKING)
def test_the_question_of_a_row_is_the_item_s_own_and_not_the_few_shot_prompt(name):
    item = replace(item_of(addition_tree(), prompt=FEW_SHOT), question=ASKED)
    rows = rows_of(name, item)
    assert rows
    assert {ASKING[name](row) for row in rows} == {ASKED}


@pytest.mark.parametrize("name", ASKING)
def test_without_a_stored_question_it_is_the_last_one_of_a_chat_s_user(name):
    rows = rows_of(name, item_of(addition_tree(), prompt=CHAT))
    assert {ASKING[name](row) for row in rows} == {"2 + 3?"}


@pytest.mark.parametrize("name", ["trl", "trl_unpaired", "trl_stepwise"])
def test_what_continues_a_prompt_has_it_exactly_as_the_model_saw_it(name):
    item = replace(item_of(addition_tree(), prompt=FEW_SHOT), question=ASKED)
    assert all(row["prompt"].startswith(FEW_SHOT) for row in rows_of(name, item))


@pytest.mark.parametrize("name", ["trl_stepwise", "math_shepherd", "processbench"])
def test_a_leaf_that_wrote_nothing_is_counted_as_a_leaf_and_not_as_a_tree(name):
    tree = tree_of({"0.0": (" \n", WRONG), "0.1": ("a", RIGHT), "0.2": ("", WRONG)})
    dropped: Counter[str] = Counter()
    assert list(FORMATS[name].rows(item_of(tree), RowOptions(label_threshold=0), dropped))
    assert dropped == Counter(solutions_without_steps=2)


@pytest.mark.parametrize("name", ["trl_stepwise", "math_shepherd", "processbench", "prm800k"])
def test_a_tree_in_which_nothing_is_written_is_counted_as_a_tree(name):
    dropped: Counter[str] = Counter()
    for tree in (tree_of({}), tree_of({"0.0": (" \n", WRONG)})):
        assert not list(FORMATS[name].rows(item_of(tree), RowOptions(label_threshold=0), dropped))
    assert dropped["trees_without_steps"] == 2


def test_prm800k_steps_are_bare_and_alternatives_that_read_the_same_are_one():
    tree = tree_of({"0.0": ("a\n", None), "0.0.0": ("b", WRONG), "0.1": ("a", RIGHT)})
    dropped: Counter[str] = Counter()
    [row] = FORMATS["prm800k"].rows(item_of(tree), RowOptions(label_threshold=0), dropped)
    [step] = row["label"]["steps"]
    assert step["completions"] == [{"text": "a", "rating": 1, "flagged": False}]
    assert dropped == Counter(alternatives_repeated=1)


def test_a_solution_that_was_written_twice_is_one_row_of_processbench():
    dropped: Counter[str] = Counter()
    item = item_of(tree_of({"0.0": ("We add", RIGHT), "0.1": ("We add", RIGHT)}))
    rows = list(FORMATS["processbench"].rows(item, RowOptions(label_threshold=0), dropped))
    assert [row["steps"] for row in rows] == [["We add"]]
    assert dropped == Counter(solutions_repeated=1)


@given(trees())
def test_a_cut_changes_no_step_and_no_label_before_the_error(tree):
    item = item_of(tree)
    whole = list(rows_of("trl_stepwise", item))  # several may read the same
    for row in rows_of("trl_stepwise", item, cut_at_first_error=True):
        length = len(row["completions"])
        assert all(row["labels"][:-1])
        assert any(
            one["completions"][:length] == row["completions"]
            and one["labels"][:length] == row["labels"]
            for one in whole
        )


@pytest.mark.parametrize("name", ["trl_stepwise", "math_shepherd", "processbench"])
@pytest.mark.parametrize("ungraded", ["incorrect", "exclude"])
def test_a_solution_that_could_not_be_compared_is_in_no_row_and_changes_no_label(name, ungraded):
    steps: dict[str, Step] = {
        "0.0": ("Add.\n", None),
        "0.0.0": ("So 5", RIGHT),
        "0.0.1": ("So 6", WRONG),
    }
    odd = steps | {"0.0.2": ("So odd", UNCOMPARED, 9), "0.1": ("Odd", UNCOMPARED)}
    with_odd = item_of(tree_of(odd), ungraded=ungraded)
    assert rows_of(name, with_odd) == rows_of(name, item_of(tree_of(steps), ungraded=ungraded))
    dropped: Counter[str] = Counter()
    list(FORMATS[name].rows(with_odd, RowOptions(label_threshold=0.0), dropped))
    assert dropped == {"solutions_without_result": 2}


def test_a_step_that_could_not_be_compared_has_no_rating():
    tree = tree_of({"0.0": ("So 5", RIGHT), "0.1": ("So odd", UNCOMPARED)})
    [row] = rows_of("prm800k", item_of(tree))
    [step] = row["label"]["steps"]
    assert [one["rating"] for one in step["completions"]] == [1, None]
    assert step["chosen_completion"] == 0
