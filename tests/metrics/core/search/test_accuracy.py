from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forests.core.tree import Grade, TreeNode
from forests.core.values import UNGRADED, leaf_result
from metrics.core.search.accuracy import ACCURACIES, score_beams
from metrics.core.search.beam_search import Beam, beam_search
from tests.metrics.trees import leaf, trees

RIGHT, WRONG, SILENT = Grade.CORRECT, Grade.INCORRECT, Grade.UNANSWERED


def beams_of(*answers):
    """Return beams of (answer, grade, value); right answers vote together."""
    right = next((answer for answer, grade, _ in answers if grade is RIGHT), "")
    return [
        Beam(
            leaf((number,), grade, answer=answer, voted_answer=right if grade is RIGHT else answer),
            value,
        )
        for number, (answer, grade, value) in enumerate(answers)
    ]


def test_each_way_to_choose_looks_at_the_beams_in_its_own_way():
    beams = beams_of(
        ("7", WRONG, 0.9), ("8", RIGHT, 0.5), ("8.0", RIGHT, 0.3), ("9", WRONG, 0.0)
    )  # fmt: skip
    assert score_beams(beams, "incorrect") == {
        "accuracy": False,
        "majority_vote": True,
        "weighted_vote": False,
        "coverage": True,
    }


def test_answers_that_were_found_to_mean_the_same_vote_together():
    beams = beams_of(("3", WRONG, 0.9), ("18", RIGHT, 0.5), ("18.0 dollars", RIGHT, 0.5))
    assert score_beams(beams, "incorrect")["majority_vote"] is True


def test_answers_that_an_older_version_graded_vote_by_their_texts():
    beams = beams_of(("3", WRONG, 0.9), ("18", RIGHT, 0.5), ("18.0", RIGHT, 0.5))
    old = [Beam(replace(beam.leaf, voted_answer=None), beam.value) for beam in beams]
    assert score_beams(old, "incorrect")["majority_vote"] is False  # a tie of three
    assert score_beams([*old, old[1]], "incorrect")["majority_vote"] is True


def test_a_beam_that_could_not_be_compared_has_no_result_and_no_vote():
    odd = Beam(leaf((9,), Grade.UNCOMPARED, answer="odd"), 0.9)
    beams = [odd, *beams_of(("18", RIGHT, 0.5), ("3", WRONG, 0.1))]
    for ungraded in UNGRADED:
        assert score_beams([odd], ungraded) == dict.fromkeys(ACCURACIES)
        assert score_beams(beams, ungraded) == {
            "accuracy": None,
            "majority_vote": True,
            "weighted_vote": True,
            "coverage": True,
        }


def test_a_tie_goes_to_the_answer_of_the_better_beam():
    right_first = beams_of(("1", RIGHT, 0.5), ("2", WRONG, 0.5))
    assert score_beams(right_first, "incorrect")["majority_vote"] is True
    wrong_first = beams_of(("2", WRONG, 0.5), ("1", RIGHT, 0.5))
    assert score_beams(wrong_first, "incorrect")["weighted_vote"] is False


def test_beams_without_an_answer_have_no_vote():
    cut = Beam(leaf((0,), WRONG, truncated=True, answer="2"), 0.9)
    silent = Beam(leaf((1,), SILENT), 0.8)
    right = Beam(leaf((2,), RIGHT), 0.1)
    scores = score_beams([cut, silent, right], "incorrect")
    assert scores == {
        "accuracy": False,
        "majority_vote": True,
        "weighted_vote": True,
        "coverage": True,
    }
    assert not any(score_beams([cut, silent], "incorrect").values())


@pytest.mark.parametrize(
    ("beams", "ungraded"),
    [
        ([], "incorrect"),
        ([Beam(TreeNode((0,), text="Open."), 0.5)], "incorrect"),
        ([Beam(leaf((0,), SILENT), 0.5)], "exclude"),
    ],
)
def test_no_result_is_none_and_not_wrong(beams, ungraded):
    assert set(score_beams(beams, ungraded).values()) == {None}


@given(trees(), st.integers(1, 5), st.sampled_from(UNGRADED))
def test_all_beams_cover_what_fewer_beams_cover(tree, num_beams, ungraded):
    overall = {path: float(len(path)) for path in tree.nodes}
    some = score_beams(beam_search(tree, overall, num_beams).beams, ungraded)
    every = score_beams(beam_search(tree, overall, len(tree.leaves())).beams, ungraded)
    results = [leaf_result(node, ungraded) for node in tree.leaves()]
    assert every["coverage"] is (True if True in results else False if False in results else None)
    assert not some["coverage"] or every["coverage"]
    assert not any(some[name] and not some["coverage"] for name in some)
