"""Solutions cut by another rule: the same samples, in other steps."""

import re
from collections import Counter
from dataclasses import replace
from math import fsum, isclose
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiment_configs.interfaces import RolloutWorkerConfig
from forests.core.counting import count_tree
from forests.core.tree import Grade, ReasoningTree, TreeNode
from forests.core.values import estimate_values
from rollouts.steps.completions import Completion, Ending
from rollouts.steps.recutting import ResegmentingError, resegment
from rollouts.steps.rules import StepRule
from rollouts.strategies import STRATEGIES
from rollouts.strategies.base import Expansion

TEXTS = st.lists(st.sampled_from(["a", "b", "\n", "\n\n", ". ", " "]), max_size=9).map("".join)
SAMPLES = st.lists(
    st.builds(
        Completion,
        TEXTS,
        st.sampled_from([Ending.SOLUTION, Ending.LIMIT]),
        tokens=st.integers(0, 50),
    ),
    min_size=1,
    max_size=12,
)
RULES = st.sampled_from(
    [StepRule("\n"), StepRule("\n\n"), StepRule((". ", "b")), StepRule(re.compile(r"\n+"))]
)
STEPS = st.tuples(TEXTS.filter(bool), st.integers(0, 99), st.floats(-9, 0))
CONFIG = RolloutWorkerConfig(strategy="sampled", max_depth=100)


def sampled(samples: list[Completion], rule: StepRule, reasoning: Any = "fold") -> ReasoningTree:
    """Return the tree that growth makes of samples, with grades by their texts."""
    tree = ReasoningTree()
    expansion = Expansion((), len(samples), to_end=True, seed=7)
    config = replace(CONFIG, reasoning=reasoning)
    STRATEGIES["sampled"](config, lambda *_: None, rule).apply(tree, expansion, samples)
    for leaf in tree.leaves():
        if leaf.is_finished:
            text = tree.steps_text(leaf.path)
            leaf.answer = text.strip()[-1:] or None
            leaf.grade = (
                Grade.UNANSWERED if leaf.answer is None
                else Grade.CORRECT if leaf.answer == "a" else Grade.INCORRECT
            )  # fmt: skip
            leaf.voted_answer = leaf.answer
    return tree


def shape(tree: ReasoningTree) -> list[tuple[Any, ...]]:
    return sorted(
        (n.path, n.text, n.count, sorted(n.drawn.items()), n.terminal, n.truncated, n.answer,
         n.grade, n.voted_answer, n.is_thought)
        for n in tree if n.path
    )  # fmt: skip


def solutions(tree: ReasoningTree) -> Counter[tuple[Any, ...]]:
    found: Counter[tuple[Any, ...]] = Counter()
    for leaf in tree.leaves():
        key = (tree.steps_text(leaf.path), leaf.terminal, leaf.grade, leaf.voted_answer)
        found[key] += leaf.count
    return found


@given(SAMPLES, RULES, RULES)
def test_the_same_samples_are_in_the_new_steps(
    samples: list[Completion], old: StepRule, new: StepRule
):
    before = sampled(samples, old)
    after = resegment(before, new, "sampled")

    assert after.left_out == 0
    assert after.samples == len(samples)
    assert solutions(after.tree) == solutions(before)
    kept = {name: value for name, value in count_tree(before).items() if name != "num_nodes"}
    assert kept.items() <= count_tree(after.tree).items()


@given(SAMPLES, RULES, RULES)
def test_it_is_the_tree_that_growth_by_the_new_rule_makes(
    samples: list[Completion], old: StepRule, new: StepRule
):
    """Except for the order of siblings, which follows the order of paths in the old tree."""
    grown = sampled(samples, new)
    cut = resegment(sampled(samples, old), new, "sampled").tree

    def values(tree: ReasoningTree) -> dict[tuple[Any, ...], tuple[Any, ...]]:
        found = {}
        for estimator in ("leaf_mean", "child_mean", "own_rollouts"):
            for path, value in estimate_values(tree, estimator).items():
                steps = tuple(node.text for node in tree.path_nodes(path))
                node = tree.nodes[path]
                found[estimator, steps, node.terminal, node.truncated] = (
                    value.leaves,
                    None if value.value is None else round(value.value, 9),
                    node.count,
                )
        return found

    assert values(cut) == values(grown)


@given(SAMPLES, RULES)
def test_the_same_rule_gives_the_same_tree(samples: list[Completion], rule: StepRule):
    tree = sampled(samples, rule)
    again = resegment(tree, rule, "sampled").tree

    assert shape(resegment(again, rule, "resegmented").tree) == shape(again)
    assert len(again) == len(tree)


def thinking(place: str, thought: str, said: str, ending: Ending) -> Completion:
    """Return a sample with its thought in the text, or split off by the server."""
    if place == "split off":
        return Completion(said, ending, thought=thought)
    return Completion(f"<think>{thought}</think>{said}", ending)


@pytest.mark.parametrize("reasoning", ["fold", "grow"])
@given(
    st.lists(
        st.builds(
            thinking, st.sampled_from(["text", "split off"]), TEXTS, TEXTS, st.just(Ending.SOLUTION)
        ),
        min_size=1,
        max_size=6,
    ),
    RULES,
    RULES,
)
def test_thoughts_stay_apart_and_are_cut_as_growth_cuts_them(
    reasoning: str, samples: list[Completion], old: StepRule, new: StepRule
):
    """Except for the order of siblings, as above."""
    of_thoughts = new if reasoning == "grow" else None

    def nodes(tree: ReasoningTree) -> Counter[tuple[Any, ...]]:
        return Counter(
            (tuple((one.text, one.is_thought) for one in tree.path_nodes(n.path)), n.count,
             n.terminal, n.grade)
            for n in tree
        )  # fmt: skip

    cut = resegment(sampled(samples, old, reasoning), new, "sampled", of_thoughts).tree

    assert nodes(cut) == nodes(sampled(samples, new, reasoning))


@given(st.lists(STEPS, min_size=1, max_size=6), RULES)
def test_tokens_and_log_probabilities_of_a_solution_add_up(
    steps: list[tuple[str, int, float]], rule: StepRule
):
    tree = ReasoningTree()
    for number, (text, tokens, logprob) in enumerate(steps):
        path = (0,) * (number + 1)
        is_last = number == len(steps) - 1
        node = TreeNode(path, text, drawn={0: 1}, terminal=is_last, tokens=tokens, logprob=logprob)
        tree.add(node)
    new = [node for node in resegment(tree, rule, "sampled").tree if node.path]

    assert sum(node.tokens for node in new) == sum(tokens for _, tokens, _ in steps)
    assert min(node.tokens for node in new) >= 0
    total = fsum(logprob for _, _, logprob in steps)
    assert isclose(fsum(node.logprob or 0.0 for node in new), total, abs_tol=1e-9)


def test_shares_go_by_the_characters_of_each_old_step():
    tree = ReasoningTree()
    first = TreeNode((0,), "aa.bb\n", drawn={0: 1}, tokens=6, logprob=-6.0, model="m", seed=1)
    last = TreeNode((0, 0), "c.d", drawn={0: 1}, tokens=30, logprob=-3.0, model="n", seed=2)
    last.terminal = True
    tree.add(first)
    tree.add(last)
    new = [node for node in resegment(tree, StepRule("."), "sampled").tree if node.path]

    assert [node.text for node in new] == ["aa.", "bb\nc.", "d"]
    assert [node.tokens for node in new] == [3, 23, 10]
    assert [node.logprob for node in new] == pytest.approx([-3.0, -5.0, -1.0])
    assert [(node.model, node.seed) for node in new] == [("m", 1), ("m", 1), ("n", 2)]


def test_a_sample_of_which_only_the_beginning_is_stored_stays_open():
    tree = ReasoningTree()
    tree.add(TreeNode((0,), "a\n", count=3, drawn={0: 3}))
    tree.add(TreeNode((0, 0), "b", count=2, drawn={0: 2}, terminal=True, grade=Grade.CORRECT))
    found = resegment(tree, StepRule("\n\n"), "sampled")

    assert found.samples == 2
    assert sorted((n.text, n.count, n.is_finished) for n in found.tree if n.path) == [
        ("a\n", 1, False),
        ("a\nb", 2, True),
    ]


def test_only_what_was_drawn_from_the_root_is_taken_of_annotated_solutions():
    tree = ReasoningTree()
    tree.add(TreeNode((0,), "a\n", count=5, drawn={0: 1, 1: 4}))
    tree.add(TreeNode((0, 0), "b", count=2, drawn={0: 1, 1: 1}, terminal=True, grade=Grade.CORRECT))
    tree.add(TreeNode((0, 1), "c", count=3, drawn={1: 3}, terminal=True, grade=Grade.INCORRECT))
    found = resegment(tree, StepRule("\n\n"), "math_shepherd")

    assert (found.samples, found.left_out) == (1, 4)
    assert [(n.text, n.count, n.drawn) for n in found.tree if n.path] == [("a\nb", 1, {0: 1})]


def test_rollouts_that_a_refinement_added_are_left_out():
    tree = ReasoningTree()
    tree.add(TreeNode((0,), "a\n", count=5, drawn={0: 1, 1: 4}))
    tree.add(TreeNode((0, 0), "b", count=2, drawn={0: 1, 1: 1}, terminal=True, grade=Grade.CORRECT))
    tree.add(TreeNode((0, 1), "c", count=3, drawn={1: 3}, terminal=True, grade=Grade.INCORRECT))

    found = resegment(tree, StepRule("\n\n"), "sampled", is_refined=True)

    assert (found.samples, found.left_out) == (1, 4)
    assert [(n.text, n.count, n.drawn) for n in found.tree if n.path] == [("a\nb", 1, {0: 1})]


@pytest.mark.parametrize(
    ("drawn", "complaint"), [({}, "does not record where"), ({1: 1}, r"from the depths \[1\]")]
)
def test_samples_from_elsewhere_are_refused(drawn: dict[int, int], complaint: str):
    tree = ReasoningTree()
    tree.add(TreeNode((0,), "a\n", drawn={0: 1}))
    tree.add(TreeNode((0, 0), "b", drawn=drawn, terminal=True))
    with pytest.raises(ResegmentingError, match=complaint):
        resegment(tree, StepRule("\n"), "imported")
