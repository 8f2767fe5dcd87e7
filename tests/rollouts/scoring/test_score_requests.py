"""What a reward model is asked, and how its answers are read."""

import pytest

from experiment_configs.interfaces import Prompt
from forests.core.tree import parse_path
from rollouts.protocol.responses import ResponseError
from rollouts.scoring.score_requests import (
    Asked,
    ScoreRequest,
    ScorerOptions,
    ScoringError,
    read_scores,
    score_requests,
)
from tests.forests.factories import leaf, step, tree_of

QUESTION = "How much is 2 + 3 + 4?"
PROMPT = f"Question: How much is 1 + 1?\nAnswer: 2\n\nQuestion: {QUESTION}\nAnswer:"
TREE = tree_of(
    step("0.0", "Step 1: 2 + 3 = 5\n"),
    leaf("0.0.0", "5 + 4 = 9\n", None),
    leaf("0.0.1", "", None),
    step("0.1", "3 + 4 = 8 ки\n"),
    leaf("0.1.0", "8 + 2 = 10\n", None),
)
ONE = ScoreRequest("/completions", {}, [(0,)])


def requests(**options) -> list[ScoreRequest]:
    return list(
        score_requests(TREE, Asked(PROMPT, QUESTION), ScorerOptions(model="prm", **options))
    )


def test_a_causal_model_is_asked_after_every_step_in_the_form_of_math_shepherd():
    assert [one.body["prompt"] for one in requests()] == [
        "How much is 2 + 3 + 4? Step 1: 2 + 3 = 5 ки",
        "How much is 2 + 3 + 4? Step 1: 2 + 3 = 5 ки\nStep 2: 5 + 4 = 9 ки",
    ]
    assert [one.nodes for one in requests()] == [[(0,)], [(0, 0)]]
    assert {one.path for one in requests()} == {"/completions"}


def test_blank_steps_and_those_from_a_step_tag_on_are_not_scored():
    scored = [path for one in requests(kind="pooling") for path in one.nodes]
    assert scored == [(0,), (0, 0)]
    everything = requests(kind="pooling", layout="plain", step_tag="\n\n")
    assert {path for one in everything for path in one.nodes} == {(0,), (0, 0), (1,), (1, 0)}


def test_pooling_scores_a_path_in_one_request_outside_of_v1():
    [one] = requests(kind="pooling", layout="chat", step_tag="ки")
    assert one.path == "//pooling"
    assert one.body["messages"] == [
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": "Step 1: 2 + 3 = 5ки5 + 4 = 9ки"},
    ]


def test_in_turns_each_step_before_is_a_good_one():
    [last] = [one for one in requests(layout="turns", step_tag="") if one.nodes == [(0, 0)]]
    assert last.body["messages"] == [
        {"role": "user", "content": "How much is 2 + 3 + 4? Step 1: 2 + 3 = 5"},
        {"role": "assistant", "content": "+"},
        {"role": "user", "content": "5 + 4 = 9"},
    ]
    assert last.path == "/chat/completions"


def test_a_score_endpoint_compares_the_question_with_what_the_model_wrote():
    [last] = [one for one in requests(kind="score", layout="plain") if one.nodes == [(0, 0)]]
    assert last.body["text_1"] == QUESTION
    assert last.body["text_2"] == TREE.steps_text(parse_path("0.0.0"))


def test_the_plain_layout_has_the_prompt_as_the_export_for_its_trainer_has_it():
    [last] = [one for one in requests(layout="plain", step_tag="") if one.nodes == [(0, 0)]]
    assert last.body["prompt"] == PROMPT + TREE.steps_text(parse_path("0.0.0"))


def test_of_a_chat_the_instructions_stay_and_the_examples_go():
    chat: Prompt = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "How much is 1 + 1?"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": QUESTION},
    ]
    options = ScorerOptions(kind="pooling", layout="chat", step_tag="ки")
    [one] = score_requests(TREE, Asked(chat, QUESTION), options)
    assert one.body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": "Step 1: 2 + 3 = 5ки5 + 4 = 9ки"},
    ]


def completion(tops: dict[str, float]) -> dict:
    return {"choices": [{"logprobs": {"top_logprobs": [tops]}}]}


def test_the_score_is_the_share_of_the_good_verdict_however_it_is_spelled():
    options = ScorerOptions()
    assert read_scores(completion({"+": -1.0, "-": -1.0}), ONE, options) == [0.5]
    found = read_scores(completion({"\u2581+": -0.1, " +": -3.0, "-": -2.5}), ONE, options)
    good, bad = 0.904837 + 0.049787, 0.082085
    assert found == [pytest.approx(good / (good + bad), abs=1e-4)]


def test_a_verdict_that_is_not_listed_counts_as_the_least_likely_listed():
    [found] = read_scores(completion({"+": -0.01, "the": -6.0}), ONE, ScorerOptions())
    assert found == pytest.approx(0.9975, abs=1e-4)


def test_no_verdict_is_no_score():
    assert read_scores(completion({"the": -0.1}), ONE, ScorerOptions()) == [None]


def test_an_impossible_verdict_is_nought_and_not_an_error():
    assert read_scores(completion({"+": -9999.0, "-": 0.0}), ONE, ScorerOptions()) == [
        pytest.approx(0, abs=1e-9)
    ]


@pytest.mark.parametrize(
    "response",
    [None, [], {}, {"choices": []}, {"choices": [{}]}, {"choices": [{"logprobs": {}}]},
     {"choices": [{"logprobs": {"top_logprobs": [None]}}]},
     {"choices": [{"logprobs": {"top_logprobs": [{}]}}]},
     {"choices": [None]}, {"choices": {"logprobs": {}}}, {"choices": [{"logprobs": []}]},
     {"choices": [{"logprobs": {"content": ["x"]}}]},
     {"choices": [{"logprobs": {"content": [{}]}}]},
     {"choices": [{"logprobs": {"content": [{"top_logprobs": "+"}]}}]},
     {"choices": [{"logprobs": {"content": [{"top_logprobs": []}]}}]},
     {"choices": [{"logprobs": {"content": [{"top_logprobs": ["+"]}]}}]},
     {"choices": [{"logprobs": {"content": [{"top_logprobs": [{"logprob": -1}]}]}}]}],
)  # fmt: skip
def test_a_response_without_log_probabilities_may_be_asked_for_again(response):
    with pytest.raises(ResponseError):
        read_scores(response, ONE, ScorerOptions())


def pooled(rows: object) -> dict:
    return {"data": [{"data": rows}]}


def test_rows_of_classes_and_rows_of_one_number_are_read():
    options = ScorerOptions(kind="pooling", good_index=0)
    assert read_scores(pooled([[0.75, 0.25]]), ONE, options) == [0.75]
    assert read_scores(pooled([[0.5]]), ONE, options) == [0.5]
    assert read_scores(pooled([0.25]), ONE, options) == [0.25]


@pytest.mark.parametrize("response", [None, {}, {"data": []}, {"data": [1]}, {"data": [{}] * 2}])
def test_a_response_without_numbers_may_be_asked_for_again(response):
    for kind in ("pooling", "score"):
        with pytest.raises(ResponseError):
            read_scores(response, ONE, ScorerOptions(kind=kind))


def test_rows_that_are_none_may_be_asked_for_again():
    with pytest.raises(ResponseError, match="no rows of numbers"):
        read_scores(pooled("0.5"), ONE, ScorerOptions(kind="pooling"))


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([[-0.5, 1.5]], "has -0.5 for a probability"),
        ([[1.5]], "has 1.5 for a probability"),
        ([2], "has 2 for a probability"),
        ([[0.2, float("nan")]], "has nan for a probability"),
        ([[float("inf"), 0.2]], "has inf for a probability"),
        ([[0.2, 10**400]], "has a value of type int for a probability"),
        ([["0.2", 0.8]], "has a value of type str for a probability"),
        ([[True, 0]], "has True for a probability"),
        ([[None, 1]], "has None for a probability"),
        ([[[0.2], 0.8]], "has a value of type list for a probability"),
        ([[]], "a row without numbers"),
        ([[0.3, 0.4]], "do not add up to 1"),
        ([[0.9, 0.9]], "do not add up to 1"),
    ],
)
def test_rows_that_are_no_probabilities_are_refused(rows, complaint):
    """Otherwise raw scores of a model's head would pass for probabilities."""
    with pytest.raises(ResponseError, match=complaint):
        read_scores(pooled(rows), ONE, ScorerOptions(kind="pooling"))


def test_rows_of_16_bits_need_not_add_up_to_the_last_digit():
    found = read_scores(pooled([[0.2490234375, 0.7578125]]), ONE, ScorerOptions(kind="pooling"))
    assert found == [0.7578125]


@pytest.mark.parametrize(
    "logprob", [1e4, 0.5, -1e5, float("nan"), float("inf"), -(10**400), "-1", None, True, [-1.0]]
)
@pytest.mark.parametrize("form", ["completions", "chat"])
def test_what_is_not_a_log_probability_is_refused(logprob, form):
    tops = {"+": -1.0, "the": logprob}
    listed = [{"token": token, "logprob": value} for token, value in tops.items()]
    chat = {"choices": [{"logprobs": {"content": [{"top_logprobs": listed}]}}]}
    with pytest.raises(ResponseError, match="for a log-probability"):
        read_scores(completion(tops) if form == "completions" else chat, ONE, ScorerOptions())


def test_an_answer_to_several_requests_is_refused():
    twice = completion({"+": -1.0})["choices"] * 2
    with pytest.raises(ResponseError, match="has 2 choices for one request"):
        read_scores({"choices": twice}, ONE, ScorerOptions())
    with pytest.raises(ResponseError, match="has 2 data for one request"):
        read_scores({"data": [{"score": 1}] * 2}, ONE, ScorerOptions(kind="score"))


def test_another_number_of_rows_than_steps_names_the_setting():
    options = ScorerOptions(kind="pooling")
    with pytest.raises(ScoringError, match=r"gave 2 scores for 1 steps: .* --step_tag"):
        read_scores(pooled([[0.5, 0.5], [0.5, 0.5]]), ONE, options)
    with pytest.raises(ScoringError, match="--good_index is too large"):
        read_scores(pooled([[0.5, 0.5]]), ONE, ScorerOptions(kind="pooling", good_index=2))


@pytest.mark.parametrize(
    "score", [None, "high", True, float("nan"), float("inf"), 10**400, 1e7, [0.5], {}]
)
def test_a_score_must_be_a_number(score):
    with pytest.raises(ResponseError, match="for a score"):
        read_scores({"data": [{"score": score}]}, ONE, ScorerOptions(kind="score"))
