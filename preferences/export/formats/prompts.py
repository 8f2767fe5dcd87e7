"""A prompt as the model saw it, and as text for formats that know only text."""

from typing import Any

from common.errors import UserError
from experiment_configs.interfaces import Prompt
from forests.core.prefix import prefix_of

Message = dict[str, str]


class FormatError(UserError):
    """What is in a forest cannot be written in the wanted format; the message names another."""


def as_seen(prompt: Any, api: str) -> Prompt:
    """Return what the model was given: over the chat API a text is the message of a user."""
    seen = prefix_of(prompt, "", api)
    if isinstance(seen, str):
        return seen
    return [message(str(part["role"]), str(part["content"])) for part in seen]


def message(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def as_messages(prompt: Prompt) -> list[Message]:
    """Return a prompt as messages; a text is the message of a user."""
    if isinstance(prompt, str):
        return [message("user", prompt)]
    return [dict(part) for part in prompt]


def exact_text(prompt: Prompt) -> str:
    """Return a prompt that was a text.

    Raises:
        FormatError: it was a chat, whose text only the model's chat template knows.
    """
    if isinstance(prompt, str):
        return prompt
    raise FormatError(
        "format trl holds texts, and the prompts of this forest are chats: "
        "use --format trl_conversational"
    )
