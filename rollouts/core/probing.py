"""What to ask a chat server to see how it continues a message, and how to read its answer."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

_QUESTION = "Write the first ten words of the NATO alphabet, separated by commas, and nothing else."
# Not as it was asked for: an answer from the start differs from this message, repeated.
_BEGUN = "Alpha; Bravo; Charlie; Delta;"
_NEXT = "echo"
_FIRST = ("alpha", "alfa")
PROBE_TOKENS = 8
"""Tokens of one answer; it may be one for each way."""


class Continuation(StrEnum):
    """How a server is asked to continue the last message of a chat."""

    FLAG = "continue_final_message"
    """By fields of the request: vLLM, SGLang."""
    PREFIX = "prefix"
    """By a field of the message: DeepSeek, Mistral."""
    PREFILL = "prefill"
    """By nothing but a last message of the assistant: llama.cpp, Anthropic's kind."""

    def mark(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return the last message as this way wants it."""
        return {**message, "prefix": True} if self is Continuation.PREFIX else message

    @property
    def fields(self) -> Mapping[str, Any]:
        """Fields of the request."""
        if self is Continuation.FLAG:
            return {"continue_final_message": True, "add_generation_prompt": False}
        return {}


class Reply(StrEnum):
    """What a server made of a message that was to be continued."""

    CONTINUED = "continued"
    RESTARTED = "restarted"
    UNCLEAR = "unclear"
    """Neither, as small models may answer anything."""


def probe_body(model: str, way: Continuation) -> dict[str, Any]:
    """Return the request that shows whether a server continues a message when asked in this way."""
    return {
        "model": model,
        "max_tokens": PROBE_TOKENS,
        "temperature": 0,
        "messages": [
            {"role": "user", "content": _QUESTION},
            way.mark({"role": "assistant", "content": _BEGUN}),
        ],
        **way.fields,
    }


def read_reply(text: str) -> Reply:
    """Return what the text of the answer shows; llama.cpp repeats the message before it."""
    words = text.removeprefix(_BEGUN).strip().lower()
    if words.startswith(_NEXT):
        return Reply.CONTINUED
    return Reply.RESTARTED if words.startswith(_FIRST) else Reply.UNCLEAR
