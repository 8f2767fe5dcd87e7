"""The maximum that a request to a model server can use."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from forests.costs.budgets import Usage

SILENT_SERVER = (
    "the server does not report the tokens of its answers: each counts as the most that it may use"
)
_FURTHER_TOKENS = 16
"""Tokens that a chat template adds to messages, or a tokenizer to a text."""
_UNLIMITED_SAMPLE = 16_384
"""Completion tokens assumed for a sample whose request has no limit."""


def prompt_bytes(body: Mapping[str, Any]) -> int:
    """Return the length of the prompt in bytes of UTF-8."""
    prompt = body.get("messages", body.get("prompt", ""))
    text = prompt if isinstance(prompt, str) else json.dumps(prompt, ensure_ascii=False)
    return len(text.encode("utf-8", "replace"))


def charged(used: Usage, most: Usage) -> Usage:
    """Return the usage that an answered request counts with if tokens are limited.

    Some servers do not report tokens, or not those of the prompt. The most that the request may use
    replaces the missing numbers, so that a limit holds.
    """
    if not used.tokens:
        return most
    return replace(used, prompt_tokens=used.prompt_tokens or most.prompt_tokens)


def most_of(body: Mapping[str, Any], tokens_per_byte: float) -> Usage:
    """Return the maximum that a request uses, with prompt tokens estimated from its bytes.

    `tokens_per_byte`: 1 is the worst case, because every token of common tokenizers covers at least
    one byte.
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
