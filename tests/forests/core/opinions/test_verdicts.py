"""Verdicts and the scores that stand for them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forests.core.opinions.verdicts import (
    MAX_RATIONALE,
    SCORES,
    Verdict,
    bounded_rationale,
    first_wrong,
    mean_score,
    signed_score,
    verdict_in,
    verdict_of,
)

RIGHT, NEUTRAL, WRONG = Verdict.RIGHT, Verdict.NEUTRAL, Verdict.WRONG
votes = st.lists(st.sampled_from(Verdict), min_size=1, max_size=30)


@pytest.mark.parametrize("verdict", Verdict)
def test_the_score_of_one_vote_reads_as_that_vote(verdict):
    assert verdict_of(SCORES[verdict]) is verdict
    assert mean_score([verdict]) == SCORES[verdict]


@given(votes)
def test_the_mean_of_votes_reads_as_what_more_of_them_say_and_a_tie_is_neutral(given_votes):
    lead = given_votes.count(RIGHT) - given_votes.count(WRONG)
    expected = RIGHT if lead > 0 else WRONG if lead < 0 else NEUTRAL
    score = mean_score(given_votes)
    assert score is not None
    assert verdict_of(score) is expected


def test_no_vote_is_no_score():
    assert mean_score([]) is None


@pytest.mark.parametrize(("label", "verdict"), [(-1, WRONG), (0, NEUTRAL), (1, RIGHT)])
def test_signed_labels_are_those_of_agent_process_bench(label, verdict):
    assert signed_score(label) == SCORES[verdict]


@pytest.mark.parametrize(
    ("word", "verdict"),
    [(" Correct ", RIGHT), ("+", RIGHT), ("NEUTRAL", NEUTRAL), ("incorrect", WRONG), ("-", WRONG),
     ("", None), ("correct?", None), ("2", None), ("0", None), ("1", None), ("-1", None)],
)  # fmt: skip
def test_words_that_name_a_verdict(word, verdict):
    assert verdict_in(word) is verdict


@pytest.mark.parametrize(
    ("scores", "expected"),
    [([1, 0.5, 0], 2), ([None, 0.4, 0], 1), ([1, None, 0.5], None), ([None], None), ([], None)],
)
def test_the_first_wrong_step_and_steps_without_a_score_are_not_wrong(scores, expected):
    assert first_wrong(scores) == expected


@given(st.text(max_size=2 * MAX_RATIONALE))
def test_a_rationale_is_bounded_and_can_be_stored(text):
    found = bounded_rationale(text + "\ud800\0")
    assert len(found) <= MAX_RATIONALE
    found.encode("utf-8")
    assert "\0" not in found
