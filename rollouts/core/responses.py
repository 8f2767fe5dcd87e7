"""Read what an OpenAI-compatible server answers.

Servers differ in what they say about the end of a sample; all of it is gathered here. Works on the
parsed JSON, as servers fill fields that the `openai` types do not know, and leave out others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rollouts.core.completions import Completion, Ending
from rollouts.core.steps import StepRule, share_tokens

LONGEST_MODEL = 200
LONGEST_FINISH_REASON = 20
MOST_TOKENS = 10**9
MOST_LOGPROB = 10_000.0


class ResponseError(Exception):
    """A response is not what the protocol says; asking again may help."""


@dataclass(frozen=True, slots=True)
class StopRules:
    """What ends a sample, and what stood before it."""

    prefix: str
    """Steps before the sample: a stop text may begin in their end."""
    stop: Sequence[str]
    step_rule: StepRule | None
    """Set where the sample is one step."""
    echo: str = ""
    """What some servers (llama.cpp, continuing a chat message) repeat before the sample."""


@dataclass(frozen=True, slots=True)
class Usage:
    prompt_tokens: int
    completion_tokens: int


def read_completions(response: Any, rules: StopRules) -> tuple[list[Completion], Usage]:
    """Return the samples of a response of either API, and the tokens it took.

    Raises:
        ResponseError: there are no choices, or a choice has no text.
    """
    choices = response.get("choices") if isinstance(response, Mapping) else None
    if not isinstance(choices, list) or not choices:
        raise ResponseError("the response has no choices")
    usage = _mapping(response.get("usage"))
    reported = _count(usage.get("completion_tokens"))
    model = _storable(response.get("model"))[:LONGEST_MODEL]
    read = [_read_choice(choice, rules, model, reported // len(choices)) for choice in choices]
    completions = [completion for completion, _ in read]
    # Some servers count the tokens of the first choice only.
    counted = sum(drawn for _, drawn in read)
    return completions, Usage(_count(usage.get("prompt_tokens")), max(reported, counted))


def cut_at_stop(text: str, rules: StopRules) -> tuple[str, bool]:
    """Return the text before the first stop text, and whether there was one.

    A stop text that begins in the prefix leaves nothing.
    """
    longest = max(map(len, rules.stop), default=0)
    tail = rules.prefix[len(rules.prefix) - longest + 1 :] if longest > 1 else ""
    found = [at for at in ((tail + text).find(stop) for stop in rules.stop) if at >= 0]
    # A stop text that lies in the prefix as a whole cannot be: the prefix would have ended there.
    if not found:
        return text, False
    return text[: max(0, min(found) - len(tail))], True


def _read_choice(
    choice: Any, rules: StopRules, model: str, tokens_if_not_listed: int
) -> tuple[Completion, int]:
    """Return a sample, and the tokens drawn for it: also those of what the client cut off."""
    choice = _mapping(choice)
    message = _mapping(choice.get("message"))
    whole = message.get("content") if message else choice.get("text")
    if not isinstance(whole, str):
        raise ResponseError("a choice has no text")
    whole = _storable(whole).removeprefix(rules.echo)
    token_logprobs = _token_logprobs(choice.get("logprobs"))
    finish_reason = _storable(choice.get("finish_reason"))[:LONGEST_FINISH_REASON]
    text, ending = _find_end(whole, choice, finish_reason, token_logprobs, rules)
    drawn = tokens = len(token_logprobs) if token_logprobs else tokens_if_not_listed
    if rules.step_rule is not None and len(text) < len(whole):
        token_logprobs = _beginning_in(text, token_logprobs)
        tokens = len(token_logprobs or ()) or share_tokens(drawn, [text, whole[len(text) :]])[0]
    completion = Completion(
        text=text,
        ending=ending,
        tokens=tokens,
        token_logprobs=token_logprobs,
        finish_reason=finish_reason,
        model=model,
    )
    return completion, drawn


def _beginning_in(
    text: str, token_logprobs: tuple[tuple[str, float], ...] | None
) -> tuple[tuple[str, float], ...] | None:
    """Return the tokens that begin in a text, of all that the server drew."""
    kept, position = [], 0
    for token in token_logprobs or ():
        if position >= len(text):
            break
        kept.append(token)
        position += len(token[0])
    return tuple(kept) or None


def _find_end(
    text: str,
    choice: Mapping[str, Any],
    finish_reason: str,
    token_logprobs: tuple[tuple[str, float], ...] | None,
    rules: StopRules,
) -> tuple[str, Ending]:
    """Return the text of a sample and why it ended.

    "stop" stands for both the end of the solution and a delimiter. What tells them apart: vLLM's
    `stop_reason`, a delimiter left in the text, or the list of tokens. With none of these the
    delimiter is assumed, where there is only one; where that is wrong, the next sample is empty
    and ends the solution then. A server that was not asked to stop at delimiters ends solutions
    alone.
    """
    ends_step, delimiter = False, ""
    if rules.step_rule is not None:
        text, ends_step = rules.step_rule.first_step(text)
        delimiter = rules.step_rule.ending_of(text) if ends_step else ""
        text = text.removesuffix(delimiter)
        stops = rules.step_rule.stops()
        if stops and not ends_step and finish_reason == "stop":
            found = _stopped_at(text, choice, token_logprobs, stops)
            ends_step, delimiter = found is not None, found or ""
    text, is_stopped = cut_at_stop(text, rules)
    if is_stopped:
        return text, Ending.SOLUTION
    if ends_step:
        return text + delimiter, Ending.STEP
    return text, Ending.SOLUTION if finish_reason == "stop" else Ending.LIMIT


def _stopped_at(
    text: str,
    choice: Mapping[str, Any],
    token_logprobs: tuple[tuple[str, float], ...] | None,
    stops: Sequence[str],
) -> str | None:
    """Return the delimiter at which the server stopped; None where the model ended the solution.

    Raises:
        ResponseError: there are several delimiters, and the server does not say which it met.
    """
    if _ended_by_model(text, choice, token_logprobs, stops):
        return None
    if len(stops) == 1:
        return stops[0]
    after_text = "".join(token for token, _ in token_logprobs or ())[len(text) :]
    for told in (choice.get("stop_reason"), choice.get("matched_stop")):
        if told in stops:
            return str(told)
    if met := [(after_text.find(stop), stop) for stop in stops if stop in after_text]:
        return min(met)[1]
    raise ResponseError(
        f"the server does not say which of the step delimiters {stops!r} it met: use one of them, "
        "or a regular expression"
    )


def _ended_by_model(
    text: str,
    choice: Mapping[str, Any],
    token_logprobs: tuple[tuple[str, float], ...] | None,
    stops: Sequence[str],
) -> bool:
    if "stop_reason" in choice:
        return not isinstance(choice["stop_reason"], str)
    if token_logprobs is None:
        return False
    if "tokens" in choice["logprobs"]:  # FastChat lists what it cut, be it delimiter or end token
        after_text = "".join(token for token, _ in token_logprobs)[len(text) :]
        return after_text != "" and not any(stop in after_text for stop in stops)
    return token_logprobs[-1][0] == ""  # llama.cpp's end token


def _token_logprobs(logprobs: Any) -> tuple[tuple[str, float], ...] | None:
    """Return tokens with their log-probabilities, from either form in which servers list them."""
    found = _mapping(logprobs)
    if content := _list(found.get("content")):
        pairs = [(_mapping(t).get("token"), _mapping(t).get("logprob")) for t in content]
    else:
        pairs = list(
            zip(_list(found.get("tokens")), _list(found.get("token_logprobs")), strict=False)
        )
    return tuple((_storable(token), _logprob(logprob)) for token, logprob in pairs) or None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _storable(value: Any) -> str:
    """Return a text without halves of characters, which JSON can hold and no database takes."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else ""


def _count(value: Any) -> int:
    """Return a number of tokens, 0 where it is none that can be."""
    is_number = isinstance(value, (int, float)) and 0 <= value <= MOST_TOKENS
    return int(value) if is_number else 0


def _logprob(value: Any) -> float:
    """Return a log-probability, 0 where there is none; some servers say -inf as -9999."""
    is_number = isinstance(value, (int, float)) and abs(value) <= MOST_LOGPROB
    return float(value) if is_number else 0.0
