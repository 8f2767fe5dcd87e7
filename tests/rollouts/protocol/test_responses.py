import re
from dataclasses import replace
from typing import Any

import pytest

from rollouts.protocol.responses import (
    NoSampleError,
    ResponseError,
    StopRules,
    cut_at_stop,
    read_completions,
)
from rollouts.steps.completions import Completion, Ending
from rollouts.steps.rules import StepRule

STEP = StopRules(prefix="", stop=(), step_rule=StepRule("\n"))
WHOLE = StopRules(prefix="", stop=(), step_rule=None)


def read(choice: dict[str, Any], rules: StopRules) -> Completion:
    completions, _ = read_completions({"choices": [choice]}, rules)
    return completions[0]


def stopped(text: str, **fields: Any) -> dict[str, Any]:
    return {"text": text, "finish_reason": "stop", **fields}


def end_of(completion: Completion) -> tuple[str, Ending]:
    return completion.text, completion.ending


def test_llama_cpp_lists_an_empty_token_where_the_model_ended():
    tokens = {"content": [{"token": "a", "logprob": -1.0}, {"token": "", "logprob": -0.1}]}

    assert end_of(read(stopped("a", logprobs=tokens), STEP)) == ("a", Ending.SOLUTION)


def test_llama_cpp_lists_no_empty_token_at_a_stop_text():
    tokens = {"content": [{"token": "a", "logprob": -1.0}]}
    rules = replace(STEP, lists_end=True)

    assert end_of(read(stopped("a", logprobs=tokens), rules)) == ("a\n", Ending.STEP)


def test_nobody_guesses_what_stopped_a_step_where_nothing_tells():
    tokens = {"content": [{"token": "a", "logprob": -1.0}]}

    assert end_of(read(stopped("a"), STEP)) == ("a", Ending.UNTOLD)
    assert end_of(read(stopped("a", logprobs=tokens), STEP)) == ("a", Ending.UNTOLD)


def test_a_server_that_was_not_asked_to_stop_can_only_have_met_the_end():
    rules = replace(STEP, is_asked=False)

    assert end_of(read(stopped("a"), rules)) == ("a", Ending.SOLUTION)
    assert end_of(read(stopped("a\nb"), rules)) == ("a\n", Ending.STEP)
    assert end_of(read(stopped("a\n"), rules)) == ("a\n", Ending.SOLUTION)
    assert end_of(read({"text": "a\n", "finish_reason": "length"}, rules)) == ("a\n", Ending.STEP)


def test_a_delimiter_left_in_the_text_ends_the_step_there():
    assert end_of(read(stopped("a\nb"), STEP)) == ("a\n", Ending.STEP)
    assert end_of(read(stopped("\n\na\nb"), STEP)) == ("\n\na\n", Ending.STEP)


def test_a_delimiter_with_the_line_breaks_of_windows_keeps_its_spelling():
    rules = StopRules(prefix="", stop=(), step_rule=StepRule("\n\n"))

    assert end_of(read(stopped("a\r\nb\r\n\r\nc"), rules)) == ("a\r\nb\r\n\r\n", Ending.STEP)
    assert end_of(read(stopped("a\r\n\r\n"), rules)) == ("a\r\n\r\n", Ending.STEP)
    assert end_of(read(stopped("a", stop_reason="\n\n"), rules)) == ("a\n\n", Ending.STEP)


def test_a_whole_solution_keeps_its_delimiters():
    assert end_of(read(stopped("a\nb"), WHOLE)) == ("a\nb", Ending.SOLUTION)


@pytest.mark.parametrize("prefix", ["Sum: #", "One longer than the stop text: #"])
def test_a_stop_text_may_begin_in_the_prefix_however_short_that_is(prefix: str):
    rules = StopRules(prefix=prefix, stop=("\n## Question", "## Question"), step_rule=None)

    assert cut_at_stop("# Question 2", rules) == ("", True)
    assert cut_at_stop(" 5\n## Question 2", rules) == (" 5", True)
    assert cut_at_stop(" 5", rules) == (" 5", False)


@pytest.mark.parametrize("sign", [
    {"matched_stop": "\n"}, {"stop_reason": "\n"}, {"stop_reason": "stop_sequence"},
    {"stop_reason": "stop_sequence", "stop_sequence": "\n"}, {"finish_reason": "stop_sequence"},
    {"finish_reason": {"type": "stop", "matched": "\n"}},
    {"logprobs": {"tokens": ["a", "\n"], "token_logprobs": [-1, -1]}},
])  # fmt: skip
def test_a_sign_of_the_delimiter(sign: dict[str, Any]):
    assert end_of(read(stopped("a", **sign), STEP)) == ("a\n", Ending.STEP)


@pytest.mark.parametrize("sign", [
    {"matched_stop": 151645}, {"matched_stop": "<|im_end|>"}, {"stop_reason": 128009},
    {"stop_reason": None}, {"stop_reason": "end_turn"}, {"finish_reason": "eos_token"},
    {"finish_reason": "eos"}, {"finish_reason": "END_TURN"},
    {"finish_reason": {"type": "stop", "matched": 2}},
    {"logprobs": {"content": [{"token": "a", "logprob": -1}, {"token": "<|eot|>"}]}},
])  # fmt: skip
def test_a_sign_of_the_models_end(sign: dict[str, Any]):
    assert end_of(read(stopped("a", **sign), STEP)) == ("a", Ending.SOLUTION)


@pytest.mark.parametrize("reason", [
    "stop", "eos", "eos_token", "end", "end_turn", "STOP", "stop_sequence", "COMPLETE", "finished",
    "FINISH_REASON_STOP", "FinishReason.STOP", {"type": "stop"},
])  # fmt: skip
def test_the_end_of_a_solution_has_many_names(reason: Any):
    choice = {"text": "a", "finish_reason": reason}

    assert end_of(read(choice, replace(WHOLE, max_tokens=1))) == ("a", Ending.SOLUTION)


@pytest.mark.parametrize("reason", [
    "length", "max_tokens", "MAX_TOKENS", "FINISH_REASON_MAX_TOKENS", "model_length",
    "content_filter", "SAFETY", "tool_calls", {"type": "length"},
])  # fmt: skip
def test_a_limit_and_a_filter_have_many_names(reason: Any):
    assert end_of(read({"text": "a", "finish_reason": reason}, STEP)) == ("a", Ending.LIMIT)


@pytest.mark.parametrize("reason", [None, "", "unknown", 7])
def test_without_a_reason_the_number_of_tokens_tells_a_limit(reason: Any):
    rules = replace(WHOLE, max_tokens=5)

    def ending(tokens: int) -> Ending:
        response = {
            "choices": [{"text": "a", "finish_reason": reason}],
            "usage": {"completion_tokens": tokens},
        }
        return read_completions(response, rules)[0][0].ending

    assert (ending(4), ending(5)) == (Ending.SOLUTION, Ending.LIMIT)


BAD: dict[str, dict[str, Any]] = {
    "filter": {"message": {"content": None}, "finish_reason": "content_filter"},
    "refused": {"message": {"content": None, "refusal": "I will not."}, "finish_reason": "stop"},
    "tool": {"message": {"content": None, "tool_calls": [{}]}, "finish_reason": "tool_calls"},
    "no text": {"message": {"content": None}, "finish_reason": "stop"},
    "abort": {"text": "", "finish_reason": "abort"},
    "cancelled": {"text": "half", "finish_reason": "cancelled"},
    "busy": {"text": "half", "finish_reason": "error", "error": {"code": 502, "message": "busy"}},
}


@pytest.mark.parametrize("cause", BAD)
def test_a_choice_that_is_no_sample_does_not_take_the_others_with_it(cause: str):
    good = {"message": {"content": "a"}, "finish_reason": "stop"}
    response = {"choices": [good, BAD[cause], good], "usage": {"completion_tokens": 30}}

    completions, usage = read_completions(response, WHOLE)

    assert [end_of(one) for one in completions] == [("a", Ending.SOLUTION)] * 2
    assert usage.completion_tokens == 30


@pytest.mark.parametrize("cause", BAD)
def test_an_answer_without_any_sample_says_why(cause: str):
    with pytest.raises(NoSampleError, match=cause):
        read(BAD[cause], WHOLE)


def test_an_error_inside_an_answer_is_told():
    with pytest.raises(ResponseError, match="no choices: upstream is gone"):
        read_completions({"error": {"message": "upstream is gone"}}, WHOLE)


@pytest.mark.parametrize(
    ("lost", "answer", "kept"),
    [
        ("\n\n", "\n\nb", "b"),
        ("\n\n", "b", "b"),
        ("\n\n", "\nb", "b"),
        ("\n", "\n\nb", "\nb"),
        ("\n\n", "\n\n\n\nb", "\n\nb"),
        ("\n\n", " \n\n b", " b"),
        ("\r\n", "\nb", "b"),
        (" ", " b", "b"),
        (" ", "\nb", "\nb"),
        ("", "\nb", "\nb"),
    ],
)
def test_white_space_that_the_server_did_not_get_is_not_doubled(lost: str, answer: str, kept: str):
    assert read(stopped(answer), replace(WHOLE, lost=lost)).text == kept


def test_tokens_behind_the_step_and_of_doubled_white_space_are_not_the_steps():
    pieces = ["\n", "b", " c", "\n", "d", " e"]
    tokens = {"content": [{"token": piece, "logprob": -1.0} for piece in pieces]}
    rules = replace(STEP, is_asked=False, prefix="a\n", lost="\n")

    step = read(stopped("\nb c\nd e", logprobs=tokens), rules)

    assert (step.text, step.tokens) == ("b c\n", 3)
    assert step.token_logprobs == (("b", -1.0), (" c", -1.0), ("\n", -1.0))


def test_a_stop_text_left_in_the_sample_is_cut():
    rules = StopRules(prefix="", stop=("Question:", "END"), step_rule=None)

    assert end_of(read(stopped("a END b Question: c"), rules)) == ("a ", Ending.SOLUTION)


def test_a_stop_text_that_begins_in_the_prefix_leaves_nothing():
    rules = StopRules(prefix="a\n", stop=("\nQuestion:",), step_rule=StepRule("\n"))

    assert end_of(read(stopped("Question: next"), rules)) == ("", Ending.SOLUTION)


def test_the_echo_of_a_continued_chat_message_is_taken_off():
    rules = StopRules(prefix="a\n", stop=(), step_rule=None, echo="a", lost="\n")
    choice = {"message": {"content": "a\nb"}, "finish_reason": "stop"}

    assert end_of(read(choice, rules)) == ("b", Ending.SOLUTION)
    assert end_of(read(choice, replace(rules, echo=""))) == ("a\nb", Ending.SOLUTION)


def test_tokens_are_counted_where_the_server_counts_only_the_first_choice():
    tokens = {"content": [{"token": "a", "logprob": -1.0}, {"token": "b", "logprob": -1.0}]}
    choices = [stopped("ab", logprobs=tokens)] * 3

    _, usage = read_completions(
        {"choices": choices, "usage": {"prompt_tokens": 5, "completion_tokens": 2}}, WHOLE
    )

    assert (usage.prompt_tokens, usage.completion_tokens) == (5, 6)


def test_the_legacy_form_of_logprobs_is_read():
    logprobs = {"tokens": ["a", "b"], "token_logprobs": [None, -2.0]}

    assert read(stopped("ab", logprobs=logprobs), WHOLE).token_logprobs == (("a", 0.0), ("b", -2.0))


@pytest.mark.parametrize(
    "response", [None, [], {}, {"choices": []}, {"choices": [{}]}, {"choices": [{"text": None}]}]
)
def test_a_response_without_text_is_an_error(response: Any):
    with pytest.raises(ResponseError):
        read_completions(response, WHOLE)


def tokens_of(*texts: str) -> dict[str, Any]:
    return {"content": [{"token": text, "logprob": -1.0} for text in texts]}


def test_of_several_delimiters_the_server_says_which_it_met():
    rules = StopRules(prefix="", stop=(), step_rule=StepRule(("\n\n", "###")))

    assert end_of(read(stopped("a", stop_reason="###"), rules)) == ("a###", Ending.STEP)
    assert end_of(read(stopped("a", matched_stop="\n\n"), rules)) == ("a\n\n", Ending.STEP)
    listed = tokens_of("a", "###")
    assert end_of(read(stopped("a", logprobs=listed), rules)) == ("a###", Ending.STEP)
    assert end_of(read(stopped("a", stop_reason=None), rules)) == ("a", Ending.SOLUTION)
    assert end_of(read(stopped("a\n\nb"), rules)) == ("a\n\n", Ending.STEP)


def test_a_delimiter_that_nobody_knows_to_be_written_is_not_stored():
    rules = StopRules(prefix="", stop=(), step_rule=StepRule(("\n\n", "###")))

    for sign in ({}, {"stop_reason": "stop_sequence"}, {"stop_sequence": ["\n\n", "###"]}):
        assert end_of(read(stopped("a", **sign), rules)) == ("a", Ending.UNTOLD)
    llama = replace(rules, lists_end=True)
    assert end_of(read(stopped("a", logprobs=tokens_of("a")), llama)) == ("a", Ending.UNTOLD)
    assert end_of(read(stopped("a", logprobs=tokens_of("a", "")), llama)) == ("a", Ending.SOLUTION)


def test_blank_lines_at_the_end_of_a_solution_that_the_client_cuts_stay_with_its_last_step():
    rules = StopRules(prefix="", stop=(), step_rule=StepRule(re.compile(r"\n")))
    cut = {"text": "a\n\n", "finish_reason": "length"}

    assert end_of(read(stopped("a\n\n"), rules)) == ("a\n\n", Ending.SOLUTION)
    assert end_of(read(cut, rules)) == ("a\n", Ending.STEP)
    assert end_of(read(stopped("\n\n"), rules)) == ("\n\n", Ending.SOLUTION)


@pytest.mark.parametrize("delimiter", [re.compile(r"\n+(?=Step)"), "\n\n"])
def test_a_server_that_cannot_stop_at_a_step_is_cut_in_the_client(delimiter: Any):
    rule = StepRule(delimiter, keep_blocks=True)
    rules = StopRules(prefix="", stop=(), step_rule=rule)
    text = "Step 1: a\n\nStep 2: b"

    assert end_of(read(stopped(text), rules)) == ("Step 1: a\n\n", Ending.STEP)
    assert end_of(read(stopped("Step 2: b"), rules)) == ("Step 2: b", Ending.SOLUTION)
    cut = {"text": "Step 2: b", "finish_reason": "length"}
    assert end_of(read(cut, rules)) == ("Step 2: b", Ending.LIMIT)


def test_tokens_of_what_was_cut_off_are_spent_and_are_not_the_steps():
    rules = StopRules(prefix="", stop=(), step_rule=StepRule(re.compile(r"\n")))
    listed = stopped("a\nb c", logprobs=tokens_of("a", "\n", "b", " c"))
    plain = stopped("a\nb c")

    for choice, tokens in ((listed, 2), (plain, 2)):
        response = {"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 4}}
        (completion,), usage = read_completions(response, rules)
        assert (completion.text, completion.tokens) == ("a\n", tokens)
        assert usage.completion_tokens == 4
    assert read(listed, rules).token_logprobs == (("a", -1.0), ("\n", -1.0))
