import re
from typing import Any

import pytest

from rollouts.core.completions import Completion, Ending
from rollouts.core.responses import ResponseError, StopRules, read_completions
from rollouts.core.steps import StepRule

STEP = StopRules(prefix="", stop=(), step_rule=StepRule("\n"))
WHOLE = StopRules(prefix="", stop=(), step_rule=None)


def read(choice: dict[str, Any], rules: StopRules) -> Completion:
    completions, _ = read_completions({"choices": [choice]}, rules)
    return completions[0]


def stopped(text: str, **fields: Any) -> dict[str, Any]:
    return {"text": text, "finish_reason": "stop", **fields}


def end_of(completion: Completion) -> tuple[str, Ending]:
    return completion.text, completion.ending


def test_vllm_names_the_delimiter_as_the_reason_to_stop():
    assert end_of(read(stopped("a", stop_reason="\n"), STEP)) == ("a\n", Ending.STEP)


def test_vllm_names_no_reason_where_the_model_ended():
    assert end_of(read(stopped("a", stop_reason=None), STEP)) == ("a", Ending.SOLUTION)


def test_llama_cpp_lists_an_empty_token_where_the_model_ended():
    tokens = {"content": [{"token": "a", "logprob": -1.0}, {"token": "", "logprob": -0.1}]}

    assert end_of(read(stopped("a", logprobs=tokens), STEP)) == ("a", Ending.SOLUTION)


def test_llama_cpp_lists_no_empty_token_at_a_stop_text():
    tokens = {"content": [{"token": "a", "logprob": -1.0}]}

    assert end_of(read(stopped("a", logprobs=tokens), STEP)) == ("a\n", Ending.STEP)


def test_a_server_that_tells_nothing_is_taken_to_have_met_the_delimiter():
    assert end_of(read(stopped("a"), STEP)) == ("a\n", Ending.STEP)


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


@pytest.mark.parametrize("reason", ["length", "content_filter", None])
def test_any_other_reason_is_a_limit(reason: str | None):
    assert end_of(read({"text": "a", "finish_reason": reason}, STEP)) == ("a", Ending.LIMIT)


def test_a_stop_text_left_in_the_sample_is_cut():
    rules = StopRules(prefix="", stop=("Question:", "END"), step_rule=None)

    assert end_of(read(stopped("a END b Question: c"), rules)) == ("a ", Ending.SOLUTION)


def test_a_stop_text_that_begins_in_the_prefix_leaves_nothing():
    rules = StopRules(prefix="a\n", stop=("\nQuestion:",), step_rule=StepRule("\n"))

    assert end_of(read(stopped("Question: next"), rules)) == ("", Ending.SOLUTION)


def test_the_echo_of_a_continued_chat_message_is_taken_off():
    rules = StopRules(prefix="a\n", stop=(), step_rule=StepRule("\n"), echo="a\n")
    choice = {"message": {"content": "a\nb"}, "finish_reason": "stop"}

    assert end_of(read(choice, rules)) == ("b\n", Ending.STEP)


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

    with pytest.raises(ResponseError, match="does not say which of the step delimiters"):
        read(stopped("a"), rules)


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
