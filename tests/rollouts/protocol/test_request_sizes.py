"""The most that a request may use."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollouts.protocol.request_sizes import most_of


@given(st.text(), st.integers(1, 64), st.integers(1, 4096))
def test_the_most_is_a_token_a_byte_and_all_tokens_of_all_samples(prompt, number, limit):
    found = most_of({"prompt": prompt, "n": number, "max_tokens": limit}, 1.0)

    assert found.requests == 1
    assert found.prompt_tokens >= len(prompt.encode("utf-8", "replace"))
    assert found.completion_tokens == number * limit


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "max_new_tokens"])
def test_whatever_the_server_calls_the_limit_it_is_found(name: str):
    assert most_of({"prompt": "x", "n": 3, name: 7}, 1.0).completion_tokens == 21


def test_messages_count_with_all_that_they_hold():
    chat = [{"role": "user", "content": "word " * 100, "reasoning_content": "thought " * 10}]
    assert most_of({"messages": chat, "max_tokens": 5}, 1.0).prompt_tokens > 580


@pytest.mark.parametrize("body", [{}, {"n": None, "max_tokens": None}, {"n": 0, "prompt": [1]}])
def test_a_request_that_names_no_limit_is_taken_for_a_long_one(body: dict[str, object]):
    assert most_of(body, 1.0).completion_tokens > 4096
