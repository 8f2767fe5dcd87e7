"""Grades and groups by a config's own methods."""

import pytest

from experiment_configs.answers import NotComparedError
from experiment_configs.interfaces import ConfigError, Grader
from forests.core.tree import Grade, ReasoningTree, TreeNode
from forests.core.values import estimate_values
from forests.grading import TreeGrader, grade_leaf
from metrics.core.search.accuracy import score_beams
from metrics.core.search.beam_search import Beam
from metrics.core.statistics.baselines import majority_at_k, samples_of
from preferences.core.pairing import PairingOptions, select_pairs


class Unsure(Grader):
    """Cannot compare answers that hold a question mark."""

    def is_correct(self, answer: str, label: str) -> bool:
        if "?" in answer + label:
            raise NotComparedError("no time")
        return super().is_correct(answer, label)


class ByParity(Grader):
    def is_correct(self, answer: str, label: str) -> bool:
        return int(answer) % 2 == int(label) % 2


def solutions(*answers: str) -> ReasoningTree:
    nodes = [
        TreeNode((number,), text=f"So \\boxed{{{answer}}}, solution {number}.", terminal=True)
        for number, answer in enumerate(answers)
    ]
    return ReasoningTree.from_nodes([TreeNode(()), *nodes])


def graded(label: str, *answers: str, grader: Grader | None = None) -> ReasoningTree:
    tree = solutions(*answers)
    TreeGrader(grader or Grader(), label, tree).grade_new(tree.leaves())
    return tree


def test_an_answer_that_cannot_be_compared_is_kept_with_a_grade_of_its_own():
    assert grade_leaf(Unsure(), "5", "So \\boxed{4?}.") == ("4?", Grade.UNCOMPARED)
    assert grade_leaf(Unsure(), "5", "So \\boxed{5}.") == ("5", Grade.CORRECT)


def test_equal_answers_of_a_tree_are_compared_with_the_label_once():
    asked = []

    class Slow(Unsure):
        def is_correct(self, answer: str, label: str) -> bool:
            asked.append((answer, label))
            return super().is_correct(answer, label)

    tree = graded("5", *["4?"] * 8, "4", "4", grader=Slow())
    assert asked == [("4?", "5"), ("4", "5")]
    assert [leaf.grade for leaf in tree.leaves()] == [Grade.UNCOMPARED] * 8 + [Grade.INCORRECT] * 2


def test_only_is_correct_may_say_so():
    class Odd(Grader):
        def extract_answer(self, completion: str) -> str | None:
            raise NotComparedError("no time")

    with pytest.raises(ConfigError, match="extract_answer raised NotComparedError, which is for"):
        grade_leaf(Odd(), "5", "So 5.")


SAME = [(r"\frac{\sqrt2}{2}", r"\frac1{\sqrt2}"), ("x=5", "5"), ("50%", "0.5")]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_votes_go_by_the_relation_that_grades_go_by(one, other):
    right = graded(one, "7", "8", one, other)
    wrong = graded("9", "9", "8", one, other)
    grades = [leaf.grade for leaf in right.leaves()]
    assert grades == [Grade.INCORRECT] * 2 + [Grade.CORRECT] * 2
    for tree, votes_win in ((right, True), (wrong, False)):
        # Two of four samples agree, and no other two do.
        beams = [Beam(leaf, 0.5) for leaf in tree.leaves()]
        assert score_beams(beams, "incorrect")["majority_vote"] is votes_win
        assert score_beams(beams, "incorrect")["weighted_vote"] is votes_win
        assert majority_at_k(samples_of(tree, "incorrect"), 4) == float(votes_win)


@pytest.mark.parametrize(("one", "other"), [*SAME, ("5 km", "5 m")])
def test_pairs_with_the_same_answer_are_those_that_grades_call_the_same(one, other):
    tree = graded("9", one, other)
    is_same = (one, other) in SAME
    first, second = tree.leaves()
    first.grade = Grade.CORRECT  # so that the values differ and a pair can be made
    options = PairingOptions(level="trajectory", drop_same_answer=True)
    found = select_pairs(tree, estimate_values(tree), options)
    assert len(found.pairs) == (not is_same)
    assert found.dropped["pairs_with_the_same_answer"] == is_same
    assert (first.voted_answer == second.voted_answer) is is_same


def test_units_that_differ_have_votes_of_their_own():
    tree = graded("7", "5 km", "5 m", "7", "7")
    assert [leaf.voted_answer for leaf in tree.leaves()] == ["5 km", "5 m", "7", "7"]
    assert majority_at_k(samples_of(tree, "incorrect"), 4) == 1.0


def test_a_config_decides_what_votes_together():
    tree = graded("2", "3", "5", "4", "6", "9", grader=ByParity())
    assert [leaf.voted_answer for leaf in tree.leaves()] == ["3", "3", "4", "4", "3"]
    assert majority_at_k(samples_of(tree, "incorrect"), 5) == 0.0


def test_a_config_that_cannot_compare_two_answers_keeps_them_apart():
    class Picky(Grader):
        def is_correct(self, answer: str, label: str) -> bool:
            return int(answer) == int(label)

    tree = graded("1", "2", "02", grader=Picky())
    assert [leaf.voted_answer for leaf in tree.leaves()] == ["2", "2"]

    class OnlyLabels(Picky):
        def is_correct(self, answer: str, label: str) -> bool:
            return {"1": answer == "1"}[label]

    tree = graded("1", "2", "02", "1", grader=OnlyLabels())
    assert [leaf.voted_answer for leaf in tree.leaves()] == ["2", "02", "1"]


def test_a_grader_that_goes_on_with_a_graded_tree_finds_the_same_groups():
    answers = ("5.0", "7", "5", "x=7", "9", "5?")
    whole = graded("9", *answers, grader=Unsure())
    tree = solutions(*answers)
    for leaf in tree.leaves():
        TreeGrader(Unsure(), "9", tree, tree.leaves()).grade_new([leaf])
    assert tree == whole
    assert [leaf.voted_answer for leaf in tree.leaves()] == ["5.0", "7", "5.0", "7", "9", "5?"]


@pytest.mark.parametrize("answers", [("((", "7", "7.0"), ("7", "((", "7.0"), ("7", "7.0", "((")])
def test_an_answer_that_cannot_be_read_parts_no_others_wherever_it_comes(answers):
    leaves = graded("5", *answers).leaves()
    assert {leaf.grade for leaf in leaves} == {Grade.INCORRECT}
    voted = {leaf.answer: leaf.voted_answer for leaf in leaves}
    assert voted == {"((": "((", "7": "7", "7.0": "7"}
