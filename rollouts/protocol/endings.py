"""Read why a sample ended: the many words and signs of OpenAI-compatible servers.

Works on the parsed JSON of one choice.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Finish(StrEnum):
    """What a `finish_reason` says, however it is spelled."""

    ENDED = "ended"
    """The model ended, or a stop text came."""
    CUT = "cut"
    """A token limit or a filter cut the sample."""
    FILTERED = "filtered"
    """A filter cut the sample."""
    CALLED = "called"
    """The model wants to call a tool."""
    BROKEN = "broken"
    """The server broke the sample off, by an error or on somebody's order."""
    UNSAID = "unsaid"
    """The server gives no reason, or one that says nothing of the end."""


_FINISHES: Mapping[Finish, Sequence[str]] = {
    Finish.BROKEN: (
        "abort", "aborted", "error", "errored", "failed", "cancelled", "canceled", "interrupted",
        "insufficient", "overloaded", "timeout", "unavailable",
    ),
    Finish.CALLED: ("tool", "tools", "function"),
    Finish.FILTERED: (
        "filter", "filtered", "safety", "recitation", "blocklist", "prohibited", "spii", "refusal",
        "refused", "moderation", "guardrail", "guardrails",
    ),
    Finish.CUT: ("length", "limit", "max", "maximum", "context", "truncated", "incomplete"),
    Finish.ENDED: (
        "stop", "stopped", "stopping", "eos", "end", "ended", "eot", "complete", "completed",
        "finish", "finished", "done", "natural", "success", "word",
    ),
}  # fmt: skip
"""Words of reasons, the strongest first: `stop` stands in many."""

_END_WORDS = ("eos", "eot", "end_turn", "endturn", "end_of")
_STOP_WORDS = ("stop_sequence", "stop_str", "stopping_word", "stopsequence")
_END_TOKEN = re.compile(r"<[^<>\s]+>|\[/?[A-Z_]+\]")


def read_finish(reason: Any) -> Finish:
    """Return what a `finish_reason` means: a text, or a mapping with a `type` (SGLang's own)."""
    text = finish_text(reason)
    words = set(re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower()))
    words -= {"reason"} | ({"finish"} if len(words) > 1 else set())  # FINISH_REASON_MAX_TOKENS
    for finish, known in _FINISHES.items():
        if words & set(known):
            return finish
    return Finish.UNSAID


def finish_text(reason: Any) -> str:
    """Return a `finish_reason` as a text; empty where there is none."""
    if isinstance(reason, Mapping):
        reason = reason.get("type")
    return reason if isinstance(reason, str) else ""


@dataclass(frozen=True, slots=True)
class StopSign:
    """What a server says about that which stopped a sample."""

    text: str | None
    """The stop text; None where it was the model's end."""


MODEL_END = StopSign(None)


def read_stop_sign(
    choice: Mapping[str, Any],
    text: str,
    tokens: Sequence[str] | None,
    stops: Sequence[str],
    *,
    lists_end: bool,
    names_stop: bool = False,
) -> StopSign | None:
    """Return what stopped a sample; None where nothing tells, or nothing tells which stop text.

    `text`: what the choice holds, without the stop text. `tokens`: the texts of its tokens, where
    they are listed. `lists_end`: whether the server is known to list an end token whenever the
    model ended (llama.cpp with log-probabilities), so that none means a stop text. `names_stop`:
    whether it is known to name each stop text that it met, so that no name means the model's end.
    """
    if sign := sign_by_name(choice, stops) or sign_in_tokens(text, tokens or (), stops):
        return sign
    if lists_end:
        return _only(stops)
    is_silent = not any(_named(choice)) and not _says(_reason(choice), _STOP_WORDS)
    return MODEL_END if names_stop and is_silent else None


def _only(stops: Sequence[str]) -> StopSign | None:
    """Return the sign of a stop text that has no other beside it."""
    return StopSign(stops[0]) if len(stops) == 1 else None


def _reason(choice: Mapping[str, Any]) -> str:
    return finish_text(choice.get("finish_reason"))


def _named(choice: Mapping[str, Any]) -> list[Any]:
    """Return what a server may name as what stopped a sample, wherever it does."""
    reason = choice.get("finish_reason")
    matched = reason.get("matched") if isinstance(reason, Mapping) else None
    named = [choice.get(name) for name in ("stop_reason", "matched_stop", "stop_sequence")]
    return [*named, choice.get("stopping_word"), matched]


def sign_by_name(choice: Mapping[str, Any], stops: Sequence[str]) -> StopSign | None:
    """Return what a server names as what stopped a sample; None where it names nothing known."""
    if "stop_reason" in choice and choice["stop_reason"] is None:
        return MODEL_END  # vLLM
    signs = _named(choice)
    for sign in signs:
        named_stops = [s for s in stops if s == sign or (isinstance(sign, list) and s in sign)]
        if found := _only(named_stops):
            return found
    if any(map(_names_end, signs)) or _says(_reason(choice), _END_WORDS):
        return MODEL_END
    if any(_says(str(word), _STOP_WORDS) for word in (*signs[:3], _reason(choice))):
        return _only(stops)
    return None


def _names_end(sign: Any) -> bool:
    """Return whether a sign is an end token, by number (SGLang, vLLM) or text, or says so."""
    if isinstance(sign, str):
        return bool(_END_TOKEN.fullmatch(sign)) or _says(sign, _END_WORDS)
    return isinstance(sign, int) and not isinstance(sign, bool)


def _says(text: str, words: Sequence[str]) -> bool:
    return any(word in text.lower() for word in words)


def sign_in_tokens(text: str, tokens: Sequence[str], stops: Sequence[str]) -> StopSign | None:
    """Return what the tokens that a server lists behind a text say; None where they say nothing."""
    if not tokens:
        return None
    listed = "".join(tokens)
    # Halves of characters may be listed as several replacement characters.
    after = listed[len(text) :] if listed.startswith(text) else ""
    if met := [(after.find(stop), stop) for stop in stops if stop in after]:
        return StopSign(min(met)[1])
    is_listed_end = _END_TOKEN.fullmatch(tokens[-1]) and not text.endswith(tokens[-1])
    if tokens[-1] == "" or is_listed_end or after.strip():
        return MODEL_END  # llama.cpp lists its end token as an empty text
    return None
