"""A prefix as the model was given it: the root prompt and all steps up to a node."""

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

Message: TypeAlias = Mapping[str, str]


def is_prompt(prompt: Any) -> bool:
    """Return whether something is a text, or chat messages with a role and a content each."""
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
    """Return one text over the completions API, over the chat API a list of messages.

    There a root prompt that is a text is the message of a user, and the steps are the beginning
    of the assistant's answer. A prompt that is a list was meant for the chat API.
    """
    if isinstance(prompt, str):
        if api != "chat":
            return prompt + steps
        prompt = [{"role": "user", "content": prompt}]
    messages: list[Message] = list(prompt)
    return [*messages, {"role": "assistant", "content": steps}] if steps else messages


def as_text(prompt: Any) -> str:
    """Return a root prompt as one text.

    A single user message is its content; of more messages each is `<role>: <content>`, with blank
    lines between them. Reward models of steps have no chat form, and there the prompt only poses
    the question.
    """
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1 and prompt[0]["role"] == "user":
        return str(prompt[0]["content"])
    return "\n\n".join(f"{part['role']}: {part['content']}" for part in prompt)


def as_plain_text(prefix: str | list[Message]) -> str:
    """Return a text as it is, messages as the JSON that a request's `messages` holds."""
    if isinstance(prefix, str):
        return prefix
    return json.dumps(prefix, ensure_ascii=False, indent=2) + "\n"
