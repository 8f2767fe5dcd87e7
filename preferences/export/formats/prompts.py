"""Prompts as the model saw them, and as text for formats without chats."""

from typing import Any

from common.errors import UserError
from experiment_configs.interfaces import Prompt
from forests.core.prefix import prefix_of

Message = dict[str, str]


class FormatError(UserError):
    """A forest does not fit the format. The message names another format."""


def as_seen(prompt: Any, api: str) -> Prompt:
    """Return a prompt as the model saw it: over the chat API, a text is a user message."""
    seen = prefix_of(prompt, "", api)
    if isinstance(seen, str):
        return seen
    return [message(str(part["role"]), str(part["content"])) for part in seen]


def message(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def as_messages(prompt: Prompt) -> list[Message]:
    """Return a prompt as messages; a text becomes a user message."""
    if isinstance(prompt, str):
        return [message("user", prompt)]
    return [dict(part) for part in prompt]


def turns_and_opening(prompt: Prompt) -> tuple[list[Message], str]:
    """Return a prompt as messages, and the beginning of the answer if the prompt contains it.

    A prompt may end with a message of the assistant that the model continues. Trainers put an end
    of turn after each message, so this beginning must become a part of the answer.
    """
    turns = as_messages(prompt)
    if len(turns) > 1 and turns[-1]["role"] == "assistant":
        return turns[:-1], turns[-1]["content"]
    return turns, ""


def exact_text(prompt: Prompt) -> str:
    """Return a prompt that is a text.

    Raises:
        FormatError: the prompt is a chat; only the model's chat template knows its text.
    """
    if isinstance(prompt, str):
        return prompt
    raise FormatError(
        "format trl needs prompts that are texts, and those of this forest are chats: "
        "use --format trl_conversational"
    )
