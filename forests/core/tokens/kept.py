"""Token ids and log-probabilities of one step, in memory and as bytes.

A sample is cut into steps by its text, so a token may reach over the border of two steps. It
belongs to the step in which it begins. At the end of a sample there is no next step: a token that
reaches beyond the sample's text is left out, because the text contains only a part of it.
"""

import math
import struct
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from sys import byteorder
from typing import Any, TypeAlias

MAX_ID = 2**31 - 1
_VERSION = 1
_FOLLOWS = 1
_HEADER = struct.Struct("<BBII")
_BYTES_OF_A_TOKEN = 8
_ESCAPE = 255

Logprobs: TypeAlias = tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class KeptTokens:
    """The tokens of one step, or of the prompt."""

    ids: tuple[int, ...]
    logprobs: Logprobs
    """Natural logarithms, as precise as 32 bits. None: the model did not sample the token. This is
    so for tokens of the prompt, and for tokens between two requests, such as a delimiter that the
    server cut off and got back with the next request."""
    lengths: tuple[int, ...]
    """Characters of text that each token covers. 0 for those that are not part of a step's text."""
    start: int = 0
    """Characters at the start of the step that the token before the step covers."""
    follows: bool = True
    """Whether the ids of the prompt and of the steps above are exactly what the model saw.

    False if a server tokenized their text in another way, or the sample shares its first steps with
    another sample whose ids differ."""
    prompt: tuple[int, ...] | None = None
    """All ids before a sample, while it is not yet in a tree; never stored."""

    @property
    def num_sampled(self) -> int:
        return sum(one is not None for one in self.logprobs)

    def until(self, length: int) -> "KeptTokens":
        """Return the tokens that reach at most `length` characters into the step."""
        ends = list(accumulate(self.lengths, initial=self.start))[1:]
        number = next((at for at, end in enumerate(ends) if end > length), len(ends))
        return self[:number] if number < len(self.ids) else self

    def __getitem__(self, part: slice) -> "KeptTokens":
        return replace(
            self, ids=self.ids[part], logprobs=self.logprobs[part], lengths=self.lengths[part]
        )

    def after(self, before: "KeptTokens", uncovered: int) -> "KeptTokens | None":
        """Return both as one sample; None unless its prompt is known to begin with `before`.

        `uncovered`: characters at the end of the text of `before` that its tokens do not cover.
        """
        if self.prompt is None or before.prompt is None:
            return None
        known = before.prompt + before.ids
        if self.prompt[: len(known)] != known:
            return None
        between = given(self.prompt[len(known) :])
        if between.ids:
            between = replace(between, lengths=(uncovered, *between.lengths[1:]))
        return replace(
            before,
            ids=before.ids + between.ids + self.ids,
            logprobs=before.logprobs + between.logprobs + self.logprobs,
            lengths=before.lengths + between.lengths + self.lengths,
        )

    def split(self, texts: Sequence[str]) -> Iterator["KeptTokens"]:
        """Yield the tokens of each step of a sample; these are the tokens of the whole sample."""
        number = position = end = 0
        for place, text in enumerate(texts):
            first, reached, end = number, position, end + len(text)
            is_last = place == len(texts) - 1
            while number < len(self.ids) and (position < end or is_last):
                position += self.lengths[number]
                number += 1
            part = self[first:number]
            yield replace(
                part,
                start=min(max(0, reached - (end - len(text))), len(text)),
                prompt=None if place else self.prompt,
            )

    def pack(self) -> bytes:
        """Return the bytes to store: about 9 for each token."""
        head = _HEADER.pack(_VERSION, _FOLLOWS * self.follows, len(self.ids), self.start)
        logprobs = [math.nan if one is None else one for one in self.logprobs]
        return b"".join(
            (head, _packed("i", self.ids), _packed("f", logprobs), _packed_lengths(self.lengths))
        )


def given(ids: Sequence[int]) -> KeptTokens:
    """Return tokens that the model did not sample."""
    return KeptTokens(tuple(ids), (None,) * len(ids), (0,) * len(ids))


def rounded(logprobs: Sequence[float]) -> tuple[float, ...]:
    """Return log-probabilities as precise as they are stored."""
    return tuple(array("f", logprobs))


def unpack(data: bytes) -> KeptTokens:
    """Return the tokens that `pack` wrote.

    Raises:
        ValueError: the bytes are not what `pack` writes.
    """
    if len(data) < _HEADER.size:
        raise ValueError("kept tokens are too short")
    version, flags, number, start = _HEADER.unpack_from(data)
    middle = _HEADER.size + 4 * number
    end = _HEADER.size + _BYTES_OF_A_TOKEN * number
    if version != _VERSION or flags not in (0, _FOLLOWS) or len(data) < end:
        raise ValueError("kept tokens are not in the format that this version reads")
    ids = _unpacked("i", data[_HEADER.size : middle])
    logprobs = _unpacked("f", data[middle:end])
    lengths = _unpacked_lengths(data[end:])
    if len(lengths) != number or any(one < 0 for one in ids) or any(map(math.isinf, logprobs)):
        raise ValueError("kept tokens have ids or log-probabilities that no server gives")
    return KeptTokens(
        ids=tuple(ids),
        logprobs=tuple(None if math.isnan(one) else one for one in logprobs),
        lengths=lengths,
        start=start,
        follows=bool(flags),
    )


def _packed(kind: str, values: Sequence[float]) -> bytes:
    numbers = array(kind, values)
    if byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _unpacked(kind: str, data: bytes) -> Any:
    numbers: array[Any] = array(kind)
    numbers.frombytes(data)
    if byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


def _packed_lengths(lengths: Sequence[int]) -> bytes:
    return b"".join(bytes([_ESCAPE] * (one // _ESCAPE) + [one % _ESCAPE]) for one in lengths)


def _unpacked_lengths(data: bytes) -> tuple[int, ...]:
    lengths, reached = list[int](), 0
    for byte in data:
        reached += byte
        if byte != _ESCAPE:
            lengths.append(reached)
            reached = 0
    if reached:
        raise ValueError("kept tokens end in the middle of a length")
    return tuple(lengths)
