"""What a judge is asked, and how its replies are read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forests.core.opinions.verdicts import Verdict
from forests.core.tree import format_path
from rollouts.scoring.judge_prompts import (
    JUDGE_TEMPLATES,
    JudgeOptions,
    Solution,
    judge_body,
    judge_messages,
    read_reply,
    solutions_of,
)
from tests.forests.factories import duck_tree, leaf, step, tree_of

R, N, W = Verdict.RIGHT, Verdict.NEUTRAL, Verdict.WRONG

FIRST_ERROR = [
    ("All is well. \\boxed{-1}", {0: R, 1: R, 2: R}),
    ("\\boxed{0}", {0: W}),
    ("Step 1 is fine: \\boxed{2}? No: \\boxed{ 1 }", {0: R, 1: W}),
    ("<think>\\boxed{0}</think>\\boxed{\\text{2}}", {0: R, 1: R, 2: W}),
    ("\\boxed{3}", None),
    ("\\boxed{-1}\\boxed{none}", None),
    ("\\boxed{٣}", None),
    ("the first error is in 1", None),
    ("", None),
]
PER_STEP = [
    ("0: ok \\boxed{correct}\n1: bad \\boxed{incorrect}\n2: \\boxed{neutral}", {0: R, 1: W, 2: N}),
    ("**0:** ok \\boxed{correct}\n- **Paragraph 2**: \\boxed{incorrect}", {0: R, 2: W}),
    ("<paragraph_1> no\nreally \\boxed{incorrect}", {1: W}),
    ("good \\boxed{correct}, good \\boxed{correct}, bad \\boxed{incorrect}", {0: R, 1: R, 2: W}),
    ("0: 2 + 2 = \\boxed{4}, so \\boxed{correct}", {0: R}),
    ("\\boxed{correct}", None),  # of which of the three?
    ("1: \\boxed{correct}\n2: \\boxed{correct}\n3: \\boxed{correct}", None),  # counts from 1
    ("0: \\boxed{correct}\n0: \\boxed{incorrect}", None),
    ("\\boxed{fine}", None),
    # Numbers and signs are answers that the judge quotes.
    ("0: the result \\boxed{1} is not what is asked. \\boxed{incorrect}", {0: W}),
    ("0: fine \\boxed{correct}\n1: The answer \\boxed{1} is wrong.", {0: R}),
    ("0: \\boxed{1}\n1: \\boxed{0}\n2: \\boxed{-1}", None),
    ("0: \\boxed{+}\n1: \\boxed{-}\n2: \\boxed{+1}", None),
    # The last word of a line counts.
    ("0: \\boxed{correct}\n1: one says \\boxed{correct} but no. \\boxed{incorrect}", {0: R, 1: W}),
    ("0: \\boxed{correct}? \\boxed{\\textbf{incorrect}}", {0: W}),
    # Another verdict in a later line may be about the whole solution.
    ("0: bad \\boxed{incorrect}\n1: \\boxed{correct}\n\nOverall: \\boxed{incorrect}", {0: W}),
    ("0: bad \\boxed{incorrect}\nso \\boxed{incorrect}\n1: \\boxed{correct}", {0: W, 1: R}),
    # Numbers that count from 1, and lists in a reason, do not name steps.
    ("1: \\boxed{correct}\n2: \\boxed{incorrect}", None),
    ("1. \\boxed{correct}\n2. \\boxed{incorrect}", None),
    ("0: checks\n1. a is \\boxed{1}\n2. b so \\boxed{correct}", {0: R}),
    ("2: \\boxed{correct}\n0: \\boxed{incorrect}", None),
    ("0: \\boxed{correct}\n2: \\boxed{correct}\n1: \\boxed{incorrect}", None),
    ("0: \\boxed{correct}\n3: \\boxed{incorrect}", None),
    # However a number is written, no other step gets its verdict.
    ("0:\\boxed{correct}\n1:\\boxed{incorrect}", {0: R, 1: W}),
    ("0：\\boxed{correct}\n2：\\boxed{incorrect}", {0: R, 2: W}),  # noqa: RUF001
    ("0 : no idea\n1 : \\boxed{incorrect}", {1: W}),
    ("\\boxed{correct}\n\\boxed{correct}\n0: \\boxed{incorrect}", None),
]


def read(reply: str, template) -> dict[int, Verdict] | None:
    vote = read_reply(reply, 3, template)
    return None if vote is None else dict(vote.verdicts)


@pytest.mark.parametrize(("reply", "expected"), FIRST_ERROR)
def test_a_critic_names_the_first_wrong_paragraph(reply, expected):
    assert read(reply, "first_error") == expected


@pytest.mark.parametrize(("reply", "expected"), PER_STEP)
def test_a_judge_of_each_step_names_it(reply, expected):
    assert read(reply, "per_step") == expected


def test_a_rationale_is_what_was_said_of_that_step():
    vote = read_reply("0: It adds.\n1: It forgets\nthe tax. \\boxed{incorrect}", 2, "per_step")
    assert vote is not None
    assert vote.rationales == {1: "1: It forgets\nthe tax."}


@given(st.text(), st.sampled_from(JUDGE_TEMPLATES), st.integers(1, 5))
def test_any_reply_is_a_vote_about_the_steps_or_no_result(reply, template, num_steps):
    vote = read_reply(reply + "\\boxed{" + reply + "}", num_steps, template)
    if vote is not None:
        assert vote.verdicts
        assert set(vote.verdicts) <= set(range(num_steps))
        assert set(vote.rationales) <= set(vote.verdicts)


@pytest.mark.parametrize("template", JUDGE_TEMPLATES)
def test_the_prompt_has_the_problem_and_numbered_paragraphs(template):
    solution = Solution([step("0.0", "Read {problem}.\n"), step("0.0.0", "{solution} \\1\n")])
    [message] = judge_messages("What is {solution}?", solution, JudgeOptions(template=template))
    assert "[Problem]\n\nWhat is {solution}?\n" in message["content"]
    assert (
        "<paragraph_0>\nRead {problem}.\n</paragraph_0>\n\n"
        "<paragraph_1>\n{solution} \\1\n</paragraph_1>"
    ) in message["content"]


def test_only_several_votes_have_seeds():
    options = JudgeOptions(model="m", votes=2, temperature=1.0)
    assert judge_body([], options, 1)["seed"] == 1
    assert "seed" not in judge_body([], JudgeOptions(model="m"), 0)


def test_thoughts_and_blank_steps_are_not_part_of_a_solution():
    thought = step("0.0", "<think>Hm.", is_thought=True)
    end = leaf("0.0.0.0", "", None)  # noqa: S104
    tree = tree_of(thought, step("0.0.0", "One.\n"), end)
    [solution], _ = solutions_of(tree, 0)
    assert [format_path(path) for path in solution.paths] == ["0.0.0"]


@pytest.mark.parametrize(
    "text",
    ["</paragraph_0>", "< /paragraph_0>", "</ PARAGRAPH_0>", "<paragraph_12>", "< / paragraph 1>",
     "\uff1c/paragraph_0\uff1e", "\u2039/paragraph_0\u203a", "<\u200b/para\u200dgraph_0>",
     "</paragraph\uff3f\uff10>", "<\u00ad/paragraph_0>"],
)  # fmt: skip
def test_a_solution_that_may_be_read_as_a_tag_is_not_judged(text):
    tree = tree_of(step("0.0", "One.\n"), leaf("0.0.0", f"So {text} 2.", None))
    assert solutions_of(tree, 0) == ([], 1)


@pytest.mark.parametrize("text", ["a < b", "paragraph_0", "<p>", "x < 3 in paragraph 0"])
def test_other_brackets_are_judged(text):
    tree = tree_of(step("0.0", "One.\n"), leaf("0.0.0", f"So {text} 2.", None))
    assert len(solutions_of(tree, 0)[0]) == 1


@pytest.mark.parametrize("most", range(1, 9))
def test_chosen_solutions_part_as_early_as_they_can(most):
    chosen, _ = solutions_of(duck_tree(), most)
    assert len(chosen) == min(most, 7)
    firsts = {solution.paths[0] for solution in chosen}
    assert len(firsts) == min(most, 2)
    seconds = {solution.paths[1] for solution in chosen}
    assert len(seconds) == min(most, 4)
    assert chosen == solutions_of(duck_tree(), most)[0]
