"""A prefix as the model was given it."""

import json

import pytest

from forests.core.prefix import as_plain_text, prefix_of

CHAT = [{"role": "system", "content": "Check."}, {"role": "user", "content": "2+2?"}]


def test_a_text_prompt_goes_on_with_the_steps_over_the_completions_api():
    assert prefix_of("Question: x\nAnswer:", " One.\n Two.\n", "completions") == (
        "Question: x\nAnswer: One.\n Two.\n"
    )


def test_over_the_chat_api_the_steps_begin_the_answer():
    asked = [{"role": "user", "content": "2+2?"}]
    assert prefix_of("2+2?", "", "chat") == asked
    assert prefix_of("2+2?", "4", "chat") == [*asked, {"role": "assistant", "content": "4"}]
    assert prefix_of(CHAT, "4", "chat")[-1] == {"role": "assistant", "content": "4"}


@pytest.mark.parametrize("steps", ["", "é\n"])
def test_as_plain_text_messages_are_json_and_a_text_is_itself(steps):
    assert as_plain_text(prefix_of("2+2? é", steps, "completions")) == f"2+2? é{steps}"
    text = as_plain_text(prefix_of(CHAT, steps, "chat"))
    assert json.loads(text) == prefix_of(CHAT, steps, "chat")
    assert "\\u" not in text


def test_a_prompt_is_not_changed():
    prefix_of(CHAT, "4", "chat")
    assert len(CHAT) == 2
