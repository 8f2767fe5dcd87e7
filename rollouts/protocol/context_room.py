"""How many tokens a server would still draw, read from the numbers in its refusal.

A server may refuse a prompt that fits, because prompt and requested tokens together do not fit.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

TOKEN_FIELDS = ("max_tokens", "max_completion_tokens", "max_new_tokens", "max_output_tokens")
"""The field names that servers use for the maximum tokens of a sample."""


@dataclass(frozen=True, slots=True)
class Room:
    """The maximum number of tokens to ask for."""

    tokens: int
    is_for_all: bool
    """Whether the limit holds for every request, whatever its prompt."""


_NUMBER = re.compile(r"(?<![\w.-])(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,9})(?![\w-]|\.[0-9])")
_CONTEXT = re.compile(
    r"(?:context|limit|maximum|at most|up to|<=|supports?|model with)\D{0,40}?"
    r"([0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,9})"
    r"|([0-9]{1,9})[ -](?:tokens? )?(?:maximum )?(?:context|limit)",
    re.IGNORECASE,
)
_TOKEN_FIELD = re.compile(
    r"max_(?:completion_|new_|output_)?tokens|(?:output|completion) tokens", re.IGNORECASE
)
_PROMPT = re.compile(r"context|prompt|input|message", re.IGNORECASE)


def tokens_asked(asked: Mapping[str, Any]) -> int | None:
    """Return the maximum tokens per sample of a request; None if it sets no limit."""
    found = (asked[name] for name in TOKEN_FIELDS if isinstance(asked.get(name), int))
    return next(found, None)


def find_room(words: str, asked: Mapping[str, Any], params: Collection[str] = ()) -> Room | None:
    """Return how many tokens to ask for; None if the message does not show that any are left."""
    most = tokens_asked(asked)
    if most is None or most <= 1:
        return None
    numbers = [_value(found) for found in _NUMBER.findall(words)]
    left = _left_of_context(numbers, words, most)
    if left is not None:
        return Room(left, is_for_all=False) if 0 < left < most else None
    is_about_tokens = _TOKEN_FIELD.search(words) or not set(TOKEN_FIELDS).isdisjoint(params)
    limits = {number for number in numbers if number not in (0, 1, most)}
    if is_about_tokens and not _PROMPT.search(words) and len(limits) == 1:
        limit = limits.pop()
        return Room(limit, is_for_all=True) if limit < most else None
    return None


def _left_of_context(numbers: list[int], words: str, most: int) -> int | None:
    """Return the tokens that the context leaves for the sample.

    Sums identify the numbers: prompt plus requested tokens is the total, and the context is between
    the prompt and that total.
    """
    counted = Counter(numbers)
    if not counted[most]:
        return None
    others = counted - Counter([most])
    for prompt in others:
        if prompt + most in others:
            between = {one for one in others if prompt < one < prompt + most}
            if len(between) == 1:
                return between.pop() - prompt
    contexts = {_value(one or two) for one, two in _CONTEXT.findall(words)}
    pair = sorted(set(numbers) - {most})
    if len(pair) == 2 and pair[0] not in contexts and pair[1] in contexts:  # noqa: PLR2004
        return pair[1] - pair[0]
    plus = re.search(r"([0-9]{1,9}) \+ ([0-9]{1,9}) > ([0-9]{1,9})", words)
    if plus and int(plus[2]) == most:
        return int(plus[3]) - int(plus[1])
    return None


def _value(text: str) -> int:
    return int(text.replace(",", ""))
