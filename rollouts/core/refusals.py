"""Read what the error of an OpenAI-compatible server means.

Servers differ in status, form and words; all of it is gathered here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# vLLM, FastChat and OpenAI; llama.cpp.
_TOO_LONG = re.compile(r"maximum context length is|exceeds the available context size")
# llama.cpp gives as many samples as it has slots, vLLM one at temperature 0.
_MOST_SAMPLES = re.compile(
    r"'n': Value must be between 1 <= value <= (\d+)|n must be (1) when using greedy sampling"
)

_FASTCHAT_UNKNOWN_MODEL = 40301
_FASTCHAT_NO_MODEL = "Only  allowed now"  # between the blanks it names the models that it has
_FASTCHAT_PASSING = (429, 500)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error, as the protocol would say it."""

    status: int
    is_too_long: bool
    """Whether the prompt does not fit the model's context."""
    most_samples: int | None
    """The most samples of one request, where that is why it was refused."""


def read_refusal(status: int, body: Any) -> Refusal:
    """Return what a status and the parsed body (or its `error`) mean."""
    error = body if isinstance(body, Mapping) else {}
    message = str(error.get("message") or "")
    most = _MOST_SAMPLES.search(message)
    return Refusal(
        status=_status(status, error.get("code"), message),
        is_too_long=_TOO_LONG.search(message) is not None,
        most_samples=int(most[most.lastindex or 0]) if most else None,
    )


def _status(status: int, code: Any, message: str) -> int:
    """FastChat answers 400 to everything; its own code begins with what it means."""
    if not isinstance(code, int):
        return status
    if code == _FASTCHAT_UNKNOWN_MODEL:
        return 503 if message.startswith(_FASTCHAT_NO_MODEL) else 404
    return code // 100 if code // 100 in _FASTCHAT_PASSING else status
