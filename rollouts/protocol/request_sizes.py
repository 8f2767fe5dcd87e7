"""The most that a request to a model server may use."""

import json
from collections.abc import Mapping
from typing import Any

from forests.costs.budgets import Usage

_FURTHER_TOKENS = 16
"""What a chat template puts around the messages, or a tokenizer before a text."""
_UNLIMITED_SAMPLE = 16_384
"""Completion tokens of a sample whose request names no limit."""


def prompt_bytes(body: Mapping[str, Any]) -> int:
    """Return the length of what the model reads, as UTF-8."""
    prompt = body.get("messages", body.get("prompt", ""))
    text = prompt if isinstance(prompt, str) else json.dumps(prompt, ensure_ascii=False)
    return len(text.encode("utf-8", "replace"))


def most_of(body: Mapping[str, Any], tokens_per_byte: float) -> Usage:
    """Return the most that a request uses, with the prompt's tokens estimated from its bytes.

    A token stands for at least one byte with all tokenizers in use, so 1 is the worst case.
    """
    num_samples = body.get("n")
    num_samples = num_samples if isinstance(num_samples, int) and num_samples > 0 else 1
    limits = [
        value
        for name, value in body.items()
        if "max" in name and "token" in name and isinstance(value, int) and value > 0
    ]
    return Usage(
        requests=1,
        prompt_tokens=round(prompt_bytes(body) * tokens_per_byte) + _FURTHER_TOKENS,
        completion_tokens=num_samples * max(limits, default=_UNLIMITED_SAMPLE),
    )
