"""Which answers of a tree vote together, and what it costs to find out."""

from collections.abc import Callable, Sequence
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forests.core import voting
from forests.core.tree import Grade, TreeNode
from forests.core.voting import AnswerGroups, counted_answer, num_ungrouped
from tests.forests.factories import tree_of

RIGHT, WRONG, UNCOMPARED = Grade.CORRECT, Grade.INCORRECT, Grade.UNCOMPARED
Given = tuple[str | None, Grade]


class Comparisons:
    """Says that answers with the same first letter are equal, and records each comparison."""

    def __init__(self, fails: Callable[[str, str], bool] = lambda *_: False) -> None:
        self.asked: list[tuple[str, str]] = []
        self.fails = fails

    def __call__(self, answer: str, other: str) -> bool | None:
        self.asked.append((answer, other))
        return None if self.fails(answer, other) else answer[0] == other[0]


def leaves_of(given: Sequence[Given]) -> list[TreeNode]:
    return [
        TreeNode((number,), terminal=True, answer=answer, grade=grade)
        for number, (answer, grade) in enumerate(given)
    ]


def grouped(given: Sequence[Given], is_same: Comparisons) -> list[str | None]:
    """Return the voted answers of leaves that are graded one after the other."""
    groups, leaves = AnswerGroups(is_same), leaves_of(given)
    for leaf in leaves:
        groups.add(leaf)
    return [leaf.voted_answer for leaf in leaves]


def wrong(*answers: str) -> list[Given]:
    return [(answer, WRONG) for answer in answers]


def test_all_right_answers_vote_for_the_first_of_them_without_a_comparison():
    asked = Comparisons()
    assert grouped([("a", RIGHT), ("b", RIGHT), ("c", RIGHT)], asked) == ["a", "a", "a"]
    assert asked.asked == []


def test_a_wrong_answer_votes_for_the_first_wrong_answer_that_means_the_same():
    given = wrong("b1", "c1", "b2", "c2", "c3", "d1")
    assert grouped(given, Comparisons()) == ["b1", "c1", "b1", "c1", "c1", "d1"]


def test_a_wrong_answer_is_not_even_compared_with_a_right_one():
    asked = Comparisons()
    assert grouped([("a1", RIGHT), ("a2", WRONG), ("a3", RIGHT)], asked) == ["a1", "a2", "a1"]
    assert asked.asked == []


def test_equal_texts_need_no_comparison():
    asked = Comparisons()
    assert grouped(wrong("a1", "a2", "a2", "a1", "a2"), asked) == ["a1"] * 5
    assert asked.asked == [("a2", "a1")]


def test_leaves_without_an_answer_vote_for_none_and_an_empty_answer_is_one():
    given: list[Given] = [(None, Grade.UNANSWERED), (None, RIGHT), ("", RIGHT), ("a", RIGHT)]
    assert grouped(given, Comparisons()) == [None, None, "", ""]


def test_an_answer_that_could_not_be_compared_with_the_label_is_compared_with_none():
    asked = Comparisons()
    given = [("a1", WRONG), ("a2", UNCOMPARED), ("a3", UNCOMPARED), ("a4", WRONG)]
    assert grouped(given, asked) == ["a1", "a2", "a3", "a1"]
    assert asked.asked == [("a4", "a1")]


class TestCost:
    """Comparisons may take seconds: there are few of them, and fewer that fail."""

    def hostile(self, answer: str, other: str) -> bool:
        return "hostile" in (answer, other)

    @pytest.mark.parametrize("place", range(5))
    def test_an_answer_on_which_comparisons_fail_costs_two_of_them_wherever_it_comes(self, place):
        answers = ["a1", "b1", "a2", "b2", "a3", "b3", "c1", "c2", "c3", "c4"]
        answers.insert(place, "hostile")
        asked = Comparisons(self.hostile)
        voted = grouped(wrong(*answers), asked)
        assert sum("hostile" in pair for pair in asked.asked) <= 2
        assert voted.count("hostile") == 1
        assert voted[-3:] == ["c1"] * 3

    def test_it_does_not_part_the_others_once_they_have_a_group(self):
        asked = Comparisons(self.hostile)
        voted = grouped(wrong("a1", "hostile", "a2", "b1", "hostile", "a3"), asked)
        assert voted == ["a1", "hostile", "a1", "b1", "hostile", "a1"]
        assert sum("hostile" in pair for pair in asked.asked) == 1

    def test_where_every_comparison_fails_there_is_at_most_one_for_each_answer(self):
        answers = [f"{number}" for number in range(50)]
        asked = Comparisons(lambda *_: True)
        assert grouped(wrong(*answers), asked) == answers
        assert len(asked.asked) < len(answers)

    def test_an_answer_is_compared_with_a_bounded_number_of_groups(self, monkeypatch):
        monkeypatch.setattr(voting, "MAX_COMPARED", 3)
        asked = Comparisons()
        voted = grouped(wrong("a", "b", "c", "d", "e", "c2", "d2"), asked)
        assert voted == ["a", "b", "c", "d", "e", "c", "d2"]
        assert max(sum(one == answer for one, _ in asked.asked) for answer in "abcde") == 3


ANSWERS = st.sampled_from(["a1", "a2", "b1", "b2", "c1"])
GIVEN = st.lists(st.tuples(ANSWERS, st.sampled_from([WRONG, UNCOMPARED])), max_size=8)


@given(GIVEN, st.integers(0, 8))
def test_a_tree_that_is_stored_and_read_again_goes_on_with_the_same_groups(given, stop):
    whole = grouped(given, Comparisons())

    leaves = leaves_of(given)
    first = AnswerGroups(Comparisons())
    for leaf in leaves[:stop]:
        first.add(leaf)
    second = AnswerGroups(Comparisons(), leaves[:stop])
    for leaf in leaves[stop:]:
        second.add(leaf)

    assert [leaf.voted_answer for leaf in leaves] == whole


def test_groups_are_tried_in_the_order_of_paths_whichever_was_graded_first():
    def likes_all(answer: str, _: str) -> bool:
        return answer == "x"

    for order in permutations(range(3)):
        groups, leaves = AnswerGroups(likes_all), leaves_of(wrong("a", "b", "c", "x"))
        for number in order:
            groups.add(leaves[number])
        groups.add(leaves[3])
        assert leaves[3].voted_answer == "a"


def test_leaves_of_an_older_version_vote_for_their_own_text_and_are_counted():
    old = TreeNode((0,), terminal=True, answer="a1", grade=WRONG, count=3)
    silent = TreeNode((1,), terminal=True, grade=Grade.UNANSWERED)
    new = TreeNode((2,), terminal=True, answer="a2", grade=WRONG)
    tree = tree_of(old, silent, new)
    groups = AnswerGroups(Comparisons(), [old, silent])
    groups.add(new)

    assert [counted_answer(leaf) for leaf in (old, silent, new)] == ["a1", None, "a1"]
    assert num_ungrouped(tree) == 3
