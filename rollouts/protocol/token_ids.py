"""Read token ids from the parsed JSON of OpenAI-compatible servers.

vLLM (0.10.2 and newer) gives them with `return_token_ids`: `token_ids` of a choice, and
`prompt_token_ids` of a choice or, over chat, of the response. llama.cpp lists an `id` with each
log-probability, but not the ids of the prompt: `/tokenize` gives those.

All or nothing: ids that do not match the listed tokens, or tokens that do not spell the text, are
not kept.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from forests.core.tokens.kept import MAX_ID, KeptTokens, rounded

ASK_FOR_IDS = {"return_token_ids": True}
"""Fields of the request; llama.cpp ignores them."""
MAX_IDS = 4_000_000
"""Most ids of one sample or prompt."""
MAX_LOGPROB = 10_000.0
_UNREADABLE = "\ufffd"


class Listed(NamedTuple):
    """A token as a server lists it."""

    id: int
    text: str
    data: bytes
    """Its bytes in UTF-8. They may be a part of a character, which has no text."""
    logprob: float

    @property
    def size(self) -> int:
        """Number of characters that begin in this token: its bytes that do not continue one."""
        return sum(byte & 0xC0 != 0x80 for byte in self.data)  # noqa: PLR2004


def tells_ids(response: Any) -> bool:
    """Return whether a response has the ids of all its samples."""
    found = _list(_mapping(response).get("choices"))
    return bool(found) and all(_listed(_mapping(choice)) for choice in found)


def tells_prompt(response: Any) -> bool:
    """Return whether a response has the ids of the prompt."""
    found = _list(_mapping(response).get("choices"))
    return any(prompt_ids(response, choice) for choice in found)


def prompt_ids(response: Any, choice: Any) -> tuple[int, ...] | None:
    """Return the ids of everything before a sample; None if the response lacks them."""
    places = (_mapping(choice), _mapping(response))
    return next(filter(None, (read_ids(one.get("prompt_token_ids")) for one in places)), None)


def read_ids(value: Any) -> tuple[int, ...] | None:
    """Return a list of token ids; None if the value is not one."""
    if not isinstance(value, list) or len(value) > MAX_IDS or not all(map(_is_id, value)):
        return None
    return tuple(value)


def read_kept(
    response: Any, choice: Any, thought: str, answer: str, kept: str, *, is_ended: bool
) -> KeptTokens | None:
    """Return the tokens of a sample, aligned with its text; None if the response lacks some.

    A last token that reaches beyond the text is left out. If the model ended its answer, its end
    token is kept, with length 0.

    Args:
        response: the parsed JSON of the response.
        choice: the JSON of the sample's choice.
        thought: the thought that the server split off, if any.
        answer: the text as it came.
        kept: the part of the answer that becomes steps. It may end with a delimiter that the server
            cut off, which `answer` lacks.
        is_ended: whether the model ended the sample, and nothing of it was cut.
    """
    listed = _listed(_mapping(choice))
    if listed is None:
        return None
    spelled = b"".join(one.data for one in listed).decode("utf-8", "replace")
    sizes = [one.size for one in listed]
    if not thought and not _agree(spelled, answer) and _UNREADABLE in spelled:
        spelled, sizes = answer, _sizes_around_unreadable(listed, answer)
    at_thought = spelled.find(thought)
    at_answer = _place(spelled, thought, answer, at_thought)
    is_spelled = at_thought >= 0 and at_answer >= 0 and _agree(spelled[at_answer:], kept)
    least = at_answer + min(len(answer), len(kept))
    if sum(sizes) != len(spelled) or not is_spelled or len(spelled) < least:
        return None
    end, position, lengths = at_answer + len(kept), 0, list[int]()
    for size in sizes:
        if position + size > end:
            break
        of_thought = _overlap(position, size, at_thought, len(thought))
        lengths.append(of_thought + _overlap(position, size, at_answer, len(kept)))
        position += size
    if is_ended and position == end and len(lengths) == len(listed) - 1:
        lengths.append(0)
    taken = listed[: len(lengths)]
    return KeptTokens(
        ids=tuple(one.id for one in taken),
        logprobs=rounded([one.logprob for one in taken]),
        lengths=tuple(lengths),
        prompt=prompt_ids(response, choice),
    )


def _place(spelled: str, thought: str, answer: str, at_thought: int) -> int:
    """Return where the answer begins in the text that the tokens spell; -1 if it is not there."""
    if not thought:
        return 0
    after = at_thought + len(thought)
    return spelled.rfind(answer, after) if answer else after


def _agree(one: str, other: str) -> bool:
    """Return whether one of two texts begins with the other."""
    return one.startswith(other) or other.startswith(one)


def _overlap(start: int, size: int, at: int, length: int) -> int:
    return max(0, min(start + size, at + length) - max(start, at))


def _sizes_around_unreadable(listed: Sequence[Listed], text: str) -> list[int]:
    """Return the number of characters of each token, if a server replaces parts of characters.

    The first token of an unreadable run gets all characters up to the next readable token. The
    sizes add up to less than the text if the tokens do not spell it.
    """
    sizes, position, run = [0] * len(listed), 0, -1
    for number, token in enumerate(listed):
        if _UNREADABLE in token.text:
            run = number if run < 0 else run
            continue
        at = text.find(token.text, position + (run >= 0)) if token.text else position
        if at < 0 or (at > position and run < 0):
            break
        if run >= 0 and token.text:
            sizes[run], run = at - position, -1
        sizes[number] = len(token.text)
        position = at + len(token.text)
    else:
        if run >= 0:
            sizes[run] = len(text) - position
    return sizes


def _listed(choice: Mapping[str, Any]) -> list[Listed] | None:
    """Return the tokens of a sample; None unless each has an id and a log-probability."""
    logprobs = _mapping(choice.get("logprobs"))
    texts: list[Any]
    numbers: list[Any]
    if content := [_mapping(one) for one in _list(logprobs.get("content"))]:
        texts = [one.get("token") for one in content]
        numbers = [one.get("logprob") for one in content]
        data = [one.get("bytes") for one in content]
        ids = read_ids(choice.get("token_ids") or [one.get("id") for one in content])
    else:
        texts, numbers = _list(logprobs.get("tokens")), _list(logprobs.get("token_logprobs"))
        data = [None] * len(texts)
        ids = read_ids(choice.get("token_ids"))
    if not ids or not len(ids) == len(texts) == len(numbers):
        return None
    if not all(isinstance(text, str) for text in texts) or not all(map(_is_logprob, numbers)):
        return None
    return [
        Listed(id_, text, _bytes(some, text), logprob)
        for id_, text, some, logprob in zip(ids, texts, data, numbers, strict=True)
    ]


def _bytes(data: Any, text: str) -> bytes:
    is_bytes = isinstance(data, list) and all(type(one) is int and 0 <= one < 256 for one in data)  # noqa: PLR2004
    return bytes(data) if is_bytes else text.encode("utf-8", "replace")


def _is_id(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_ID


def _is_logprob(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and abs(value) <= MAX_LOGPROB


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
