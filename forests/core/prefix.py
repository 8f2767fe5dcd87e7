"""A prefix as the model sees it: the root prompt and all steps down to a node."""

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

Message: TypeAlias = Mapping[str, str]


def is_prompt(prompt: Any) -> bool:
    """Return whether a value is a text, or chat messages with a role and a content each."""
    return isinstance(prompt, str) or (
        isinstance(prompt, list)
        and bool(prompt)
        and all(
            isinstance(message, Mapping)
            and all(isinstance(message.get(key), str) for key in ("role", "content"))
            for message in prompt
        )
    )


def prefix_of(prompt: Any, steps: str, api: str) -> str | list[Message]:
    """Return one text for the completions API, a list of messages for the chat API.

    For chat, a root prompt that is a text becomes a user message, and the steps are the beginning
    of the assistant's answer. A prompt that is a list only works with the chat API.
    """
    if isinstance(prompt, str):
        if api != "chat":
            return prompt + steps
        prompt = [{"role": "user", "content": prompt}]
    messages: list[Message] = list(prompt)
    return [*messages, {"role": "assistant", "content": steps}] if steps else messages


def as_text(prompt: Any) -> str:
    """Return a root prompt as one text.

    A single user message becomes its content. Several messages become `<role>: <content>` each,
    with blank lines between them. Reward models of steps have no chat form; for them the prompt is
    only the question.
    """
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1 and prompt[0]["role"] == "user":
        return str(prompt[0]["content"])
    return "\n\n".join(f"{part['role']}: {part['content']}" for part in prompt)


def as_plain_text(prefix: str | list[Message]) -> str:
    """Return a text unchanged, and messages as the JSON of a request's `messages`."""
    if isinstance(prefix, str):
        return prefix
    return json.dumps(prefix, ensure_ascii=False, indent=2) + "\n"
