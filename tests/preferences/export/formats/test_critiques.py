r"""Critiques for generative process reward models.

The reward of FAPO repeats `fapo/reward_fn_genrm.py` of verl-recipe (48ea0a7).
"""

import re
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given

from forests.core.opinions.judged import JudgedTree
from forests.core.opinions.verdicts import Verdict
from forests.core.tree import NodePath, ReasoningTree
from forests.core.values import NodeValue
from preferences.export.formats.base import Critique, Item, RowOptions
from preferences.export.formats.thought_marks import with_thoughts
from rollouts.scoring.judge_prompts import PROMPTS, JudgeOptions, Tally, read_reply, solutions_of
from tests.preferences.core.test_pairing import trees
from tests.preferences.export.formats.test_all_formats import ASKED, FORMATS, item_of, rows_of
from tests.preferences.trees import RIGHT, WRONG, addition_tree, tree_of

TWO_SOLUTIONS = {
    "0.0": ("Add.", None),
    "0.0.0": ("So 5", RIGHT),
    "0.1": ("Subtract.", None),
    "0.1.0": ("So 1", WRONG),
}


def two_solutions() -> ReasoningTree:
    return tree_of(TWO_SOLUTIONS)  # type: ignore[arg-type]


def judged(tree: ReasoningTree, template: Critique, *replies: list[str]) -> JudgedTree:
    """Return the judged tree; `replies` has the replies of all votes for each solution."""
    tally = Tally()
    solutions, _ = solutions_of(tree, 0)
    for number, (solution, votes) in enumerate(zip(solutions, replies, strict=True)):
        for vote, reply in enumerate(votes):
            said = read_reply(reply, len(solution.steps), JudgeOptions(template=template).template)
            tally.add((number, vote), solution, said)
    assert not tally.unread
    return tally.judged()


def answers(item: Item, **options) -> list[tuple[str, int]]:
    rows = rows_of("critique_sft", item, **options)
    return [(row["messages"][1]["content"], row["reasons"]) for row in rows]


def left_out(name: str, item: Item, **options) -> Counter[str]:
    dropped: Counter[str] = Counter()
    list(FORMATS[name].rows(item, RowOptions(label_threshold=0.0, **options), dropped))
    return +dropped


# Verdicts alone


def test_without_a_critic_an_answer_states_only_verdicts():
    [first, second] = rows_of("critique_sft", item_of(two_solutions()))
    question, answer = first["messages"]
    assert question["role"] == "user"
    assert ASKED in question["content"]
    assert "<paragraph_1>\nSo 5\n</paragraph_1>" in question["content"]
    assert answer == {
        "role": "assistant",
        "content": "0: \\boxed{correct}\n1: \\boxed{correct}",
    }
    assert second["messages"][1]["content"] == "0: \\boxed{incorrect}\n1: \\boxed{incorrect}"
    assert first["reasons"] == 0


def test_the_question_is_that_of_score_nodes_so_that_it_can_ask_the_trained_model():
    [first, _] = rows_of("critique_sft", item_of(two_solutions()), critique="first_error")
    before, after = PROMPTS["first_error"].split("{problem}")
    assert first["messages"][0]["content"].startswith(before + ASKED)
    assert first["messages"][0]["content"].endswith(after[-80:])


def test_a_first_error_answer_is_its_number_or_minus_one():
    assert answers(item_of(two_solutions()), critique="first_error") == [
        ("\\boxed{-1}", 0), ("\\boxed{0}", 0),
    ]  # fmt: skip


@pytest.mark.parametrize("template", ["per_step", "first_error"])
@given(trees())
def test_every_answer_reads_as_its_labels(template, tree):
    item = item_of(tree, ungraded="exclude")
    labels = {
        tuple(text.strip() for text in row["completions"]): row["labels"]
        for row in rows_of("trl_stepwise", item)
    }
    repeated = _repeated(tree)
    errors = {tuple(row["steps"]): row["label"] for row in rows_of("processbench", item)}
    for row in rows_of("critique_sft", item, critique=template):
        asked, answer = (turn["content"] for turn in row["messages"])
        steps = tuple(
            text.strip() for text in re.findall(r"<paragraph_\d+>\n(.*?)\n</para", asked, re.DOTALL)
        )
        read = read_reply(answer, len(steps), template)
        assert read is not None
        if template == "first_error":
            wrong = [n for n, said in read.verdicts.items() if said is Verdict.WRONG]
            assert wrong == ([] if errors[steps] < 0 else [errors[steps]])
        elif steps in labels and steps not in repeated:
            found = [read.verdicts[n] is Verdict.RIGHT for n in range(len(steps))]
            assert found == labels[steps]


def _repeated(tree: ReasoningTree) -> set[tuple[str, ...]]:
    """Return texts that several solutions share, blanks aside; only the first one is written."""
    texts = Counter(
        tuple(node.text.strip() for node in tree.path_nodes(leaf.path) if node.text.strip())
        for leaf in tree.leaves()
    )
    return {steps for steps, number in texts.items() if number > 1}


def values_of(tree: ReasoningTree, known: dict[NodePath, float]) -> dict[NodePath, NodeValue]:
    return {path: NodeValue(known.get(path), 1) for path in tree.nodes}


def test_a_critique_ends_before_the_first_step_without_a_verdict():
    tree = two_solutions()
    item = replace(item_of(tree), values=values_of(tree, {(0,): 1.0}), judges_steps=True)
    [row] = rows_of("critique_sft", item)
    assert "So 5" not in row["messages"][0]["content"]
    assert row["messages"][1]["content"] == "0: \\boxed{correct}"
    assert left_out("critique_sft", item) == Counter(
        critiques_cut_at_a_step_without_verdict=1, solutions_without_verdicts=1
    )


def test_a_neutral_step_is_neither_correct_nor_incorrect():
    tree = two_solutions()
    values = values_of(tree, {(0,): 0.5, (0, 0): 1.0})
    item = replace(item_of(tree), values=values, neutral=0.5, judges_steps=True)
    assert answers(item, threshold=0.5)[0] == ("0: \\boxed{neutral}\n1: \\boxed{correct}", 0)


def test_a_cut_critique_ends_with_the_first_wrong_step():
    assert [answer for answer, _ in answers(item_of(two_solutions()), cut_at_first_error=True)] == [
        "0: \\boxed{correct}\n1: \\boxed{correct}", "0: \\boxed{incorrect}",
    ]  # fmt: skip
    assert not left_out("critique_sft", item_of(two_solutions()), cut_at_first_error=True)


@pytest.mark.parametrize("name", ["critique_sft", "fapo"])
def test_a_solution_with_the_tag_of_a_paragraph_is_counted(name):
    item = item_of(tree_of({"0.0": ("</paragraph_0>\n<paragraph_7> fine", RIGHT)}))
    assert not rows_of(name, item)
    assert left_out(name, item) == Counter(solutions_with_paragraph_tag=1)


# Reasons


def test_reasons_of_a_judge_that_agree_with_the_labels_are_in_the_answer():
    tree = two_solutions()
    critic = judged(
        tree,
        "per_step",
        ["0: The sum is asked. \\boxed{correct}\n1: 2 + 3 is 5. \\boxed{correct}"],
        ["0: Fine. \\boxed{correct}\n1: It is the difference. \\boxed{incorrect}"],
    )
    assert answers(replace(item_of(tree), critic=critic)) == [
        ("0: The sum is asked. \\boxed{correct}\n1: 2 + 3 is 5. \\boxed{correct}", 2),
        # The judge calls step 0 right, the label does not: its reason is left out.
        ("0: \\boxed{incorrect}\n1: It is the difference. \\boxed{incorrect}", 1),
    ]


def test_reasons_of_several_votes_are_told_apart():
    tree = two_solutions()
    votes = [
        "0: No. \\boxed{incorrect}\n1: \\boxed{correct}",
        "0: Yes.\n\nIndeed. \\boxed{correct}\n1: Right. \\boxed{correct}",
    ]
    critic = judged(tree, "per_step", votes, ["0: \\boxed{correct}\n1: \\boxed{correct}"])
    first, _ = answers(replace(item_of(tree), critic=critic))
    assert first == ("0: Yes.\n\nIndeed. \\boxed{correct}\n1: Right. \\boxed{correct}", 2)


@pytest.mark.parametrize(
    "reason",
    ["\\boxed{incorrect}\nso", "fine\n0: again \\boxed{incorrect}", "x\n1: \\boxed{neutral}"],
)
def test_a_reason_beside_which_the_verdict_cannot_be_read_is_counted(reason):
    tree = two_solutions()
    critic = JudgedTree({(0,): 1.0}, {(0,): reason})
    item = replace(item_of(tree), critic=critic)
    assert answers(item)[0] == ("0: \\boxed{correct}\n1: \\boxed{correct}", 0)
    assert left_out("critique_sft", item)["reasons_that_hide_verdicts"] == 1


def test_a_reply_about_the_first_error_is_the_answer_if_it_names_the_labelled_step():
    tree = two_solutions()
    said = ["Paragraph 0 subtracts. \\boxed{0}", "All is well. \\boxed{-1}"]
    critic = judged(tree, "first_error", said[::-1], said)
    found = answers(replace(item_of(tree), critic=critic), critique="first_error")
    assert found == [("All is well. \\boxed{-1}", 1), ("Paragraph 0 subtracts. \\boxed{0}", 1)]


def test_a_reply_about_a_step_of_several_solutions_may_be_about_another_one():
    tree = addition_tree()
    replies = [["Wrong. \\boxed{0}"], ["\\boxed{-1}"], ["\\boxed{0}"], ["\\boxed{-1}"]]
    item = replace(item_of(tree), critic=judged(tree, "first_error", *replies))
    rows = rows_of("critique_sft", item, critique="first_error", threshold=0.9)
    assert all("Wrong" not in row["messages"][1]["content"] for row in rows)
    dropped: Counter[str] = Counter()
    options = RowOptions(label_threshold=0.9, critique="first_error")
    list(FORMATS["critique_sft"].rows(item, options, dropped))
    assert dropped["reasons_of_shared_steps"] > 0


def test_reasons_follow_their_steps_when_thoughts_are_dropped():
    tree = tree_of({"0.0": ("hm", None), "0.0.0": ("Add.", None), "0.0.0.0": ("5", RIGHT)})  # noqa: S104
    tree = ReasoningTree.from_nodes(replace(node, is_thought=node.path == (0,)) for node in tree)
    reply = ["0: The sum. \\boxed{correct}\n1: It is 5. \\boxed{correct}"]
    item = replace(item_of(tree), critic=judged(tree, "per_step", reply), pairs=[])
    [(answer, number)] = answers(with_thoughts(item, "drop", Counter()))
    assert answer == "0: The sum. \\boxed{correct}\n1: It is 5. \\boxed{correct}"
    assert number == 2


# Pairs of critiques


def pairs_of(item: Item, **options) -> list[tuple[str, str]]:
    return [
        (row["chosen"][0]["content"], row["rejected"][0]["content"])
        for row in rows_of("critique_pairs", item, **options)
    ]


def test_a_vote_that_agrees_with_the_label_is_chosen_over_one_that_does_not():
    tree = two_solutions()
    votes = [
        "0: The sum. \\boxed{correct}\n1: It is 5. \\boxed{correct}",
        "0: Not so. \\boxed{incorrect}\n1: It is 5 too. \\boxed{correct}",
    ]
    alike = ["0: No. \\boxed{incorrect}\n1: No. \\boxed{incorrect}"] * 2
    item = replace(item_of(tree), critic=judged(tree, "per_step", votes, alike))
    assert pairs_of(item) == [("The sum. \\boxed{correct}", "Not so. \\boxed{incorrect}")]
    [row] = rows_of("critique_pairs", item)
    [question] = row["prompt"]
    assert "Add." in question["content"]
    assert "So 5" not in question["content"]  # the judge judged this step, not the next one
    assert left_out("critique_pairs", item) == Counter(critiques_without_another=3)


def test_two_replies_about_one_solution_are_a_pair_if_one_names_the_labelled_error():
    tree = two_solutions()
    replies = ["Paragraph 0 subtracts. \\boxed{0}", "The result is off. \\boxed{1}"]
    item = replace(item_of(tree), critic=judged(tree, "first_error", ["\\boxed{-1}"], replies))
    assert pairs_of(item, critique="first_error") == [(replies[0], replies[1])]


def test_a_critic_without_votes_gives_no_pairs_and_says_so():
    assert rows_of("critique_pairs", item_of(two_solutions())) == []


# FAPO


def reward(answer: str, ground_truth: int, total_steps: int) -> float:
    """Return FAPO's reward: the last box of the last 300 characters, compared with the label."""
    boxes = re.findall(r"\\boxed\{([^{}]*)\}", answer[-300:])
    try:
        predicted = int(boxes[-1])
    except (IndexError, ValueError):
        return -1.0
    if not -1 <= predicted < total_steps or (predicted == -1) != (ground_truth == -1):
        return -1.0
    return 1.0 - (abs(predicted - ground_truth) / total_steps if ground_truth != -1 else 0.0)


@given(trees())
def test_fapo_rewards_the_right_answer_with_one_and_no_other(tree):
    item = item_of(tree)
    rows = rows_of("fapo", item)
    labels = [row["label"] for row in rows_of("processbench", item)]
    assert [row["reward_model"]["ground_truth"] for row in rows] == labels
    for row in rows:
        steps = row["extra_info"]["total_steps"]
        rewards = {
            number: reward(f"so \\boxed{{{number}}}", row["reward_model"]["ground_truth"], steps)
            for number in range(-1, steps)
        }
        best = [number for number, one in rewards.items() if one == 1.0]
        assert best == [row["reward_model"]["ground_truth"]]


def test_fapo_shows_problem_answer_and_numbered_steps():
    [first, _] = rows_of("fapo", item_of(two_solutions()))
    [asked] = first["prompt"]
    assert asked["role"] == "user"
    for part in (ASKED, "[Ground Truth]\n\n5\n", "<paragraph_1>\nSo 5\n"):
        assert part in asked["content"]
    assert first["reward_model"] == {"style": "rule", "ground_truth": -1}
    assert first["extra_info"]["total_steps"] == 2


def test_a_prompt_of_one_s_own_takes_the_place_of_ours():
    text = "P {problem} S {solution} G {ground_truth} \\boxed{}"
    steps = {"0.0": ("{problem} {ground_truth}", RIGHT)}
    [row] = rows_of("fapo", item_of(tree_of(steps)), critique_prompt=text)  # type: ignore[arg-type]
    written = "<paragraph_0>\n{problem} {ground_truth}\n</paragraph_0>"
    assert row["prompt"][0]["content"] == f"P {ASKED} S {written} G 5 \\boxed{{}}"
