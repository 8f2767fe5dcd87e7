"""Read why a sample ended, from the parsed JSON of one choice.

OpenAI-compatible servers report this in many words and fields; they are all gathered here.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Finish(StrEnum):
    """The meaning of a `finish_reason`, however it is spelled."""

    ENDED = "ended"
    """The model ended its answer, or a stop text did."""
    CUT = "cut"
    """A token limit or the context cut the sample."""
    FILTERED = "filtered"
    """A content filter cut the sample."""
    CALLED = "called"
    """The model called a tool."""
    BROKEN = "broken"
    """The server aborted the sample, because of an error or on request."""
    UNSAID = "unsaid"
    """The server gives no reason, or one that does not explain the end."""


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
"""Words of reasons, the most specific first: many reasons contain `stop`."""

_END_WORDS = ("eos", "eot", "end_turn", "endturn", "end_of")
_STOP_WORDS = ("stop_sequence", "stop_str", "stopping_word", "stopsequence")
_END_TOKEN = re.compile(r"<[^<>\s]+>|\[/?[A-Z_]+\]")


def read_finish(reason: Any) -> Finish:
    """Return the meaning of a `finish_reason`: a string, or SGLang's mapping with a `type`."""
    text = finish_text(reason)
    words = set(re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower()))
    words -= {"reason"} | ({"finish"} if len(words) > 1 else set())  # FINISH_REASON_MAX_TOKENS
    for finish, known in _FINISHES.items():
        if words & set(known):
            return finish
    return Finish.UNSAID


def finish_text(reason: Any) -> str:
    """Return a `finish_reason` as a string; empty if there is none."""
    if isinstance(reason, Mapping):
        reason = reason.get("type")
    return reason if isinstance(reason, str) else ""


@dataclass(frozen=True, slots=True)
class StopSign:
    """What stopped a sample, according to the server."""

    text: str | None
    """The stop text; None if the model ended its answer."""


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
    """Return what stopped a sample; None if the response does not show it.

    Args:
        choice: the parsed JSON of the choice.
        text: its text, without the stop text.
        tokens: the texts of its tokens, if they are listed.
        stops: the stop texts of the request.
        lists_end: the server lists an end token whenever the model ended (llama.cpp with
            log-probabilities). If there is none, a stop text ended the sample.
        names_stop: the server names every stop text that it met. If it names none, the model ended
            the sample.
    """
    if sign := sign_by_name(choice, stops) or sign_in_tokens(text, tokens or (), stops):
        return sign
    if lists_end:
        return _only(stops)
    is_silent = not any(_named(choice)) and not _says(_reason(choice), _STOP_WORDS)
    return MODEL_END if names_stop and is_silent else None


def _only(stops: Sequence[str]) -> StopSign | None:
    """Return the sign of the only stop text; None if there are several."""
    return StopSign(stops[0]) if len(stops) == 1 else None


def _reason(choice: Mapping[str, Any]) -> str:
    return finish_text(choice.get("finish_reason"))


def _named(choice: Mapping[str, Any]) -> list[Any]:
    """Return the values of all fields in which servers name what stopped a sample."""
    reason = choice.get("finish_reason")
    matched = reason.get("matched") if isinstance(reason, Mapping) else None
    named = [choice.get(name) for name in ("stop_reason", "matched_stop", "stop_sequence")]
    return [*named, choice.get("stopping_word"), matched]


def sign_by_name(choice: Mapping[str, Any], stops: Sequence[str]) -> StopSign | None:
    """Return what the server names as the cause of the stop; None if it names none we know."""
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
    """Return whether a sign is an end token, as a number (SGLang, vLLM) or as text."""
    if isinstance(sign, str):
        return bool(_END_TOKEN.fullmatch(sign)) or _says(sign, _END_WORDS)
    return isinstance(sign, int) and not isinstance(sign, bool)


def _says(text: str, words: Sequence[str]) -> bool:
    return any(word in text.lower() for word in words)


def sign_in_tokens(text: str, tokens: Sequence[str], stops: Sequence[str]) -> StopSign | None:
    """Return what the tokens listed after the text show as the cause; None if they show none."""
    if not tokens:
        return None
    listed = "".join(tokens)
    # The listed tokens can differ from the text: split characters become replacement characters.
    after = listed[len(text) :] if listed.startswith(text) else ""
    if met := [(after.find(stop), stop) for stop in stops if stop in after]:
        return StopSign(min(met)[1])
    is_listed_end = _END_TOKEN.fullmatch(tokens[-1]) and not text.endswith(tokens[-1])
    if tokens[-1] == "" or is_listed_end or after.strip():
        return MODEL_END  # llama.cpp lists its end token as an empty string
    return None
