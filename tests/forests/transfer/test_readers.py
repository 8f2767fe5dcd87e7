"""What a row of each format becomes: steps, values, grades, and what is left out and counted."""

from collections import Counter
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forests.core.tree import ROOT
from forests.transfer import foreign_trees
from forests.transfer.foreign_trees import ForeignTree, ForeignTreeError
from forests.transfer.readers.registry import READERS, hint_at_format
from forests.transfer.solution_trees import chains
from tests.forests.transfer.foreign_rows import (
    BIRM,
    MATH_APS,
    MATH_APS_PROCESS,
    MATH_SHEPHERD,
    MM_PRM,
    PRM800K,
    PROCESSBENCH,
    ROWS,
    RSTAR,
    STEP_DPO,
    format_of,
)


def read(format_name: str, row: Any, **changes: Any) -> ForeignTree:
    return READERS[format_name](row | changes)


def steps(found: ForeignTree) -> dict[str, float | None]:
    """Return the value of each step by its stripped text; the texts must differ."""
    nodes = [node for node in found.tree if node.path]
    texts = {node.text.strip(): found.values.get(node.path) for node in nodes}
    assert len(texts) == len(nodes)
    return texts


def test_prm800k_keeps_all_alternatives_and_continues_the_chosen_ones():
    found = read("prm800k", PRM800K)

    assert steps(found) == {
        "We add from left to right.": 1,
        "Sums are fun.": 0.5,
        "2 + 3 = 6.": 0,
        "Hm.": None,
        "2 + 3 = 7.": 0,
        "2 + 3 = 5.": None,  # a person wrote it, without a rating
        "5 + 4 = 9.\n\n# Answer\n\n9": 1,
    }
    [end] = [node for node in found.tree if node.terminal]
    assert found.tree.steps_text(end.path).split("\n")[:2] == [
        "We add from left to right.", "2 + 3 = 5.",
    ]  # fmt: skip
    assert (end.answer, found.label) == ("9", "9")
    assert found.left_out == Counter({"steps without a rating": 2})


def test_a_prm800k_session_that_gives_up_has_no_solution():
    row = deepcopy(PRM800K)
    row["label"]["steps"][1] |= {"human_completion": None}
    row["label"] |= {"finish_reason": "give_up"}
    row["label"]["steps"][0]["completions"][1]["rating"] = 2

    found = READERS["prm800k"](row)

    assert not any(node.is_finished for node in found.tree)
    assert found.left_out == Counter(
        {
            "steps without a rating": 1,
            "ratings other than -1, 0 and 1": 1,
            "steps after one without a chosen completion": 1,
        }
    )


def test_the_last_label_of_math_shepherd_says_whether_the_answer_is_correct():
    found = read("math_shepherd", MATH_SHEPHERD)

    assert steps(found) == {"Step 1: 2 + 3 = 5.": 1, "Step 2: The answer is: 10": 0}
    assert found.question == "How much is 2 + 3 + 4?"
    assert (found.label, found.correct) == ("", {(0, 0): False})


@pytest.mark.parametrize(
    ("changes", "values", "left_out"),
    [
        ({"label": ["+", "-"]}, [1, 0], {}),
        ({"label": None, "value": [0.25, 1]}, [0.25, 1], {}),
        ({"label": [True]}, [1, None], {"steps without a label": 1}),
        (
            {"label": ["?", 1.5]},
            [None, None],
            {"labels other than +, - and numbers from 0 to 1": 2},
        ),
        ({"label": "Another text +"}, [], {"rows whose `label` does not repeat `input`": 1}),
        (
            {"input": MATH_SHEPHERD["input"] + " Step 1: again ки"},
            [],
            {"rows with several `Step 1:`": 1},
        ),
    ],
)
def test_other_labels_of_math_shepherd(changes, values, left_out):
    found = read("math_shepherd", MATH_SHEPHERD, **changes)
    assert (list(steps(found).values()), found.left_out) == (values, Counter(left_out))


def test_a_math_shepherd_solution_without_an_answer_has_no_result():
    cut = {"input": "2 + 3? Step 1: 2 + 3 = 6 ки", "label": "2 + 3? Step 1: 2 + 3 = 6 -"}
    [_, step] = READERS["math_shepherd"](cut).tree
    assert not step.is_finished


def test_processbench_says_nothing_of_steps_after_the_first_wrong_one():
    found = read("processbench", PROCESSBENCH)
    assert list(steps(found).values()) == [1, 0, None]
    assert found.correct == {(0, 0, 0): False}
    assert {node.model for node in found.tree if node.path} == {"a-model"}

    right = read("processbench", PROCESSBENCH, label=-1, final_answer_correct=None)
    assert (list(steps(right).values()), right.correct) == ([1, 1, 1], {})


def test_a_pair_of_step_dpo_becomes_siblings_with_the_values_1_and_0():
    other = STEP_DPO | {
        "initial_reason_steps": STEP_DPO["initial_reason_steps"] + STEP_DPO["chosen"] + "\nStep 3:",
        "chosen": " So 9.", "rejected": " So 8.", "full_chosen": "Another.", "full_rejected": None,
    }  # fmt: skip

    found = READERS["step_dpo"].read([STEP_DPO, other])  # type: ignore[attr-defined]

    assert steps(found) == {
        STEP_DPO["initial_reason_steps"]: None,
        "5 + 4 = 9.": 1,
        "5 + 4 = 10.": 0,
        "Step 3: The answer is 9.": None,
        "Step 3: The answer is 10.": None,
        "Step 3:": None,
        "So 9.": 1,
        "So 8.": 0,
    }
    assert found.tree.steps_text((0, 0, 1, 0)) == f"{other['initial_reason_steps']} So 9."
    assert found.left_out == Counter({"whole continuations that do not begin with their step": 1})


def test_flat_math_aps_nests_prefixes_and_takes_the_mean_of_equal_ones():
    found = read("math_aps", MATH_APS)
    assert found.values[ROOT] == 0.5
    assert steps(found) == {"2 + 3 = 5": 0.5, "The answer is 9": 1, "2 + 3 = 50": 0}
    assert found.presumed == {(0, 0): True, (1,): False}


def test_a_process_of_openr_may_begin_with_the_question():
    question = MATH_APS_PROCESS["question"]
    whole = {
        "process": f"{question} \n\n\n\n\n {MATH_APS_PROCESS['process']}",
        "label": ["+", "+", "-"],
    }
    for found in (read("math_aps", MATH_APS_PROCESS), read("math_aps", MATH_APS_PROCESS, **whole)):
        assert steps(found) == {"2 + 3 = 5": 1, "The answer is 10": 0}
        assert not any(node.is_finished for node in found.tree)
    assert found.values[ROOT] == 1


def test_birm_has_values_and_beside_them_the_verdicts_of_its_judge():
    found = read("birm", BIRM)
    assert list(steps(found).values()) == [0.75, 1, 0]
    assert found.tree.nodes[0,].count == 2
    assert found.verdicts == {(0,): 1, (0, 0): 1}
    assert found.correct == {(0, 0): True}  # the grader decides about the other answer
    assert found.left_out == Counter({"verdicts that are not true or false": 1})


def test_mm_prm_keeps_its_rollouts_and_says_that_the_image_is_left_out():
    found = read("mm_prm", MM_PRM)
    assert found.item.endswith("The image is left out: /images/7.png")
    assert found.left_out == Counter(images=1)
    assert found.values == {ROOT: 0.5, (0, 0): 1, (1, 0): 0}
    assert {
        found.tree.nodes[path].text: is_correct for path, is_correct in found.correct.items()
    } == {
        "Answer: The final answer is 9": True,
        "Answer: The final answer is 8": False,
        "Answer: The final answer is 7": False,
    }


def test_a_blank_step_of_mm_prm_is_left_out_and_counted_with_what_is_below_it():
    first, second = MM_PRM["children"]
    blank = second | {"partial_solution": [" "]}
    found = read("mm_prm", MM_PRM | {"children": [first, blank]})
    assert found.left_out == Counter(
        {"images": 1, "blank steps": 1, "blank steps, with all below them": 1}
    )


def test_q_values_of_rstar_become_shares_and_unvisited_nodes_have_none():
    found = read("rstar", RSTAR)
    assert found.values == {
        ROOT: 0.5, (0,): 1, (1,): 0, (0, 0): 1, (1, 0): 0, (1, 1): 0,
    }  # fmt: skip
    assert found.tree.nodes[0, 0].answer == "9"
    assert found.correct == {(1, 1): False}  # the search gave this node up
    assert found.left_out == Counter({"nodes without a Q value or a visit": 1})


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("prm800k", {"label": {"steps": [{"chosen_completion": 1}]}}, "step 0 is 1, and the step"),
        ("math_shepherd", {"input": "2 + 3? 5 ки"}, "no `Step 1:`, which begins the steps"),
        ("math_shepherd", {"label": ["+"] * 3}, "3 labels for 2 tags"),
        ("processbench", {"label": 3}, "`label` is 3: give the number of a step from 0 to 2"),
        ("step_dpo", {"rejected": STEP_DPO["chosen"]}, "are the same text"),
        ("math_aps", {"reasoning_steps": {}}, "`reasoning_steps` must be a list"),
        ("birm", {"outputs": [{"response": "aки", "step_s_label": []}]}, "has 0 labels for 1 tags"),
        ("mm_prm", {"children": [{}]}, "`partial_solution` must be a list"),
        ("rstar", {"rstar": {"0": {"text": ""}, "0.1.1": {}}}, "'0.1.1' of `rstar` is not below"),
    ],
)
def test_a_row_that_contradicts_itself_is_refused(name: str, changes: Any, message: str):
    with pytest.raises(ForeignTreeError, match=message):
        read(name, ROWS[name], **changes)


@pytest.mark.parametrize("schema", ROWS)
def test_each_format_is_recognised_by_its_rows(schema: str):
    wrong = "jsonl" if schema != "step_dpo" else "openr"
    assert hint_at_format(ROWS[schema], format_of(schema)) == ""
    assert hint_at_format(ROWS[schema], wrong).endswith(f"use --format {format_of(schema)}")
    with pytest.raises(ForeignTreeError):
        READERS[wrong](ROWS[schema])


@pytest.mark.parametrize("schema", sorted(set(ROWS) - {"math_aps_process", "mm_prm_process"}))
def test_a_tree_that_is_too_large_is_refused(schema: str, monkeypatch):
    monkeypatch.setattr(foreign_trees, "MAX_NODES", 2)
    with pytest.raises(ForeignTreeError, match="more than 2 nodes"):
        READERS[schema](ROWS[schema])


@given(st.lists(st.text(alphabet="ab \n", min_size=1, max_size=6).filter(str.strip)))
def test_pieces_put_together_are_the_text_again_and_no_piece_is_blank(texts: list[str]):
    for text, pieces in chains(texts).items():
        assert "".join(pieces) == text
        assert all(piece.strip() for piece in pieces)
