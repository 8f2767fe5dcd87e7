import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiment_configs.answers import (
    MAX_ANSWER_LENGTH,
    NotComparedError,
    extract_last_answer,
    has_final_answer,
    is_same_answer,
)
from experiment_configs.answers.extraction.thoughts import without_thoughts

CASES = [
    json.loads(line)
    for name in ("answers.jsonl", "more_answers.jsonl")
    for line in Path(__file__).with_name(name).read_text("utf-8").splitlines()
]


@pytest.mark.parametrize("case", CASES, ids=[f"{n}-{case['kind']}" for n, case in enumerate(CASES)])
def test_answers_that_others_got_wrong_are_graded_right(case):
    answer = extract_last_answer(case["text"]) if "text" in case else case["answer"]
    is_correct = answer is not None and is_same_answer(answer, case["label"])
    assert is_correct is case["correct"]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("2 + 3 = 5\n#### 5", "5"),
        ("#### 1\nNo, again.\n#### 2\nDone.", "2"),
        ("#### $1,200.", "$1,200"),
        ("#### **18** ", "18"),
        (r"So \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"\boxed{x^{2_{3}}} and more", "x^{2_{3}}"),
        (r"\boxed {5}", "5"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\boxed{7}}", "7"),
        (r"{\boxed{7}", "7"),
        ("The answer is 3.5.", "3.5"),
        ("The answer is 3.5. So we are done.", "3.5"),
        ("the final answer is: 12", "12"),
        ("THE ANSWER IS 12", "12"),
        ("The answer is:\n\n$$x = 4$$", "x = 4"),
        ("The answer is $1,200.", "$1,200"),
        ("The answer is **true**.\nThat was easy.", "true"),
        ("The answer is the answer is 9", "9"),
        (r"The answer is $\boxed{5}$.", "5"),
        (r"\boxed{3}. No: the answer is 4.", "3"),
        (r"The answer is 4. As I said, \boxed{3}", "3"),
        (r"#### \(10\)", "10"),
        ("#### 7\n#### Step 8: check", "7"),
        ("#### 7\n#### Conclusion:", "7"),
        ("#### 7\n##### 8", "7"),
        ("#### 5\n\\boxed{6", "5"),
        ("The answer is 6\nThe answer is", "6"),
        ("\\boxed{4}\n\\boxed{}", "4"),
        ("The answer is 72, in total, so the farmer earns that much.", "72"),
        ("**Answer:** 4.", "4"),
        ("Let x = \\boxed{\\frac12} ...\n\n**Answer: D**", "D"),
        ("The calculated answer is 11.\nAnswer: A", "A"),
        ("<think>3*8=24, +48=72</think> The answer is 72.", "72"),
        (r"\boxed{$9{,}500}", "$9{,}500"),
        (r"Thus the answer is \[ \boxed{42} \]", "42"),
        ("#### Evelyn", "Evelyn"),
        (r"\boxed{2}. wait, actually \boxed{3}", "3"),
        ("The answer is m+n = 256+37 = 293.", "m+n = 256+37 = 293"),
        ("#### 5\n\nQuestion: foo\n#### 9", "5"),
        ("So the answer is yes", "yes"),
        ("So the answer is yes because hamsters are prey", "yes"),
        ("The answer is Paris.", "Paris"),
        ("The answer is the Pacific Ocean.", "the Pacific Ocean"),
        ("Answer: 18 dollars", "18 dollars"),
        ("Answer:\n\n$$\\frac{3}{4}$$", r"\frac{3}{4}"),
        ("**Final Answer**\n\n42", "42"),
        ("### Final Answer\n\\boxed{9}", "9"),
        ("The correct option is C.", "C"),
        ("The correct answer is (B) 14.", "(B) 14"),
        ("The answer to the question is 5.", "5"),
        ("The answers are 3 and 5.", "3 and 5"),
        ("<answer>\n12\n</answer>", "12"),
        ("<answer>The answer is 12.</answer>", "12"),
        ("<answer> your answer here </answer> #### 3", "3"),
        (r"\boxed{\text{Sunday}}", r"\text{Sunday}"),
        (r"\boxed{5\,}", "5"),
        (r"\boxed{5\;}", "5"),
        (r"The answer is $5\;$.", "5"),
        (r"#### 5\,", "5"),
        ("Step 2: The answer is: 5 ки", "5"),
        ("The answer is: 5 ки\n", "5"),
        (r"\boxed{3}, \boxed{5}", "3, 5"),
        (r"Either \boxed{3} or \boxed{5}", "3, 5"),
        ("#### x = 5", "x = 5"),
        ("#### Answer: 5", "5"),
        ("foo \\boxed{6}</think>\n\nThe answer is 7.", "7"),
        ("The answer is 5 apples.", "5 apples"),
        ("The answer is 3, 5, and 7.", "3, 5, and 7"),
        ("Final answer: The final answer is $7$. I hope it is correct.", "7"),
        ("The answer is $x = 3$ or $x = 4$.", "$x = 3$ or $x = 4$"),
        ("the answer is C", "C"),
        ("The answer is A because it is", "A"),
        ("The answer is a dog.", "a dog"),
        ("The answer is 6:30 p.m.", "6:30 p.m"),
        ("Answer: True", "True"),
        (r"The answer is \(\frac{1}{2}\).", r"\frac{1}{2}"),
        (r"The answer is $\frac{1}{2}$ of the cake", r"$\frac{1}{2}$ of the cake"),
        ("The final answer is:\n\\boxed{\\text{(C)}}", r"\text{(C)}"),
        ("Therefore, the answer would be 42.", "42"),
        ('The answer is "Paris".', '"Paris"'),
        ("The answer is 5! = 120.", "5! = 120"),
        ("The answer is $5$ because $2+3=5$.", "5"),
        ("The answer is $-3$.", "-3"),
        ("the answer is −3", "−3"),
        ("**The answer is 7**", "7"),
        ("The answer is: **7**.", "7"),
        ("The answer is **7** because", "7"),
        ("The answer is ½.", "½"),
        ("The answer is 10 m/s.", "10 m/s"),
        (r"The answer is $\boxed{x=2 \text{ or } x=3}$", r"x=2 \text{ or } x=3"),
        ("The answer is 12 because 3. x", "12"),
        (r"thus the answer is clear. \boxed{3}", "3"),
        ("The answer is 5, as 2+3=5", "5"),
        ("The answer is 5 - that is all.", "5"),
        ("The answer is 7 – as shown.", "7"),
        (r"Final Answer: (-\infty, 2)", r"(-\infty, 2)"),
        ("Answer: $(1,2)$ and $(3,4)$", "$(1,2)$ and $(3,4)$"),
        ("The answer is f(x) = 2x.", "f(x) = 2x"),
        ("Answer: New York", "New York"),
    ],
)
def test_the_answer_with_the_best_evidence_is_found(text, answer):
    assert extract_last_answer(text) == answer


@pytest.mark.parametrize(
    "text",
    [
        "#### Understanding the problem",
        "#### Understanding the problem\nWe add",
        "text without any marker",
        "so our answer is correct.",
        "Thus the answer is the sum of both numbers.",
        "The answer is not 5.",
        "If the answer is 5, then we check.",
        "whether the answer is reasonable",
        "### Final Answer:\n\nThe total is $20$.",
        r"Put it in \boxed{}",
        r"\boxed{?}",
        "#### 1. Find the cost\nIt is 5.",
        "#### Step 1\nfoo",
        "<think>\nMaybe \\boxed{6}",
        "Answers: 5",
        "The answer is .",
        "答案是5",
        "",
        "5",
        "so we get 5",
        "####",
        r"\boxed{5",
        r"\boxed{}",
        r"Mark your solution with \boxed ",
        "The answer is",
        "#### Step 1: add",
        "#### " + "9" * (MAX_ANSWER_LENGTH + 1),
    ],
)
def test_a_text_that_states_no_answer_has_none(text):
    assert extract_last_answer(text) is None


@pytest.mark.parametrize(
    "text", [r"so \boxed{5}", "2+3=5\n#### 5", "<answer>5</answer>", r"<think>6?</think>\boxed{5}"]
)
def test_a_marked_answer_ends_a_solution(text):
    assert has_final_answer(text)


@pytest.mark.parametrize(
    "text",
    [
        "The answer is 5.",
        "Final answer: 5",
        "so our answer is correct",
        "#### Step 2",
        "#### Understanding the problem",
        "#### 1. Read the question",
        "<think>maybe \\boxed{5}",
        "maybe \\boxed{5}</think>",
        "Put it in \\boxed{}.",
        "Let it be \\boxed{\\phantom{2}}.",
        "",
    ],
)
def test_nothing_else_ends_a_solution(text):
    assert not has_final_answer(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a", "a"),
        ("<think>a</think>b", "b"),
        ("a</think>b", "b"),
        ("b<think>a", "b"),
        ("<THINK>a</THINK>b<think>c</think>d", "d"),
        ("<thinking>a</thinking>b", "b"),
        ("[THINK]a[/THINK]b", "b"),
        ("◁think▷a◁/think▷b", "b"),
        ("<|begin_of_thought|>a<|end_of_thought|>b", "b"),
        ("if 2 < think and 3 > 1", "if 2 < think and 3 > 1"),
    ],
)
def test_what_is_said_after_the_thoughts_counts(text, said):
    assert without_thoughts(text) == said


@pytest.mark.parametrize(
    "piece",
    [
        "\\boxed{", "{", "}", "\\boxed{}", "\\boxed   ", "#", "#### ", "####\n", "answer is ",
        "answer is.", "answer ", "answer is:\n", "$*", "\\", "#### $*$*\n", "<answer>", "< ", "\n",
        " ", "answer is $x", "answer is \\(", "Question:\n", "\\boxed{1}, ", "final answer \n",
        "the answer is if ", "<think>", "</think>", "answer is \\begin{a}", "answer is $$", "**",
    ],
)  # fmt: skip
def test_time_grows_with_the_length_of_hostile_texts_and_not_faster(piece, processor_time):
    def read(length):
        text = piece * (length // len(piece))
        return processor_time(lambda: (extract_last_answer(text), has_final_answer(text)))

    short, long = read(100_000), read(800_000)
    assert long < 30 * short + 0.5  # quadratic time would be 64 times as long


@given(st.text(alphabet="#\\boxed{} answer is:.$*\n5<>/", max_size=60))
def test_whatever_is_found_is_clean(text):
    answer = extract_last_answer(text)
    if answer is not None:
        assert answer
        assert answer == answer.strip()


@given(
    st.text(alphabet="\\text{}[]()|,;=<>^_&~$ and1x.%°\n", max_size=40), st.sampled_from(["5", "x"])
)
def test_any_answer_gets_a_verdict_or_none_and_no_other_error(text, label):
    with contextlib.suppress(NotComparedError):
        assert is_same_answer(text, label) in (True, False)
