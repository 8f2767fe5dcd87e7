"""Read what an OpenAI-compatible server answers.

Works on the parsed JSON, as servers fill fields that the `openai` types do not know, and leave out
others. What they say of the end of a sample is read in `rollouts.core.endings`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rollouts.core.completions import Completion, Ending, TokenLogprobs, part_of_tokens
from rollouts.core.endings import Finish, finish_text, read_finish, read_stop_sign
from rollouts.core.steps import ending_of, split_steps

LONGEST_MODEL = 200
LONGEST_FINISH_REASON = 20
LONGEST_ERROR = 200
MOST_TOKENS = 10**9
MOST_LOGPROB = 10_000.0


class ResponseError(Exception):
    """A response is not what the protocol says; asking again may help."""


class NoSampleError(ResponseError):
    """A response holds choices, but none is a sample: filtered, refused, broken off."""


@dataclass(frozen=True, slots=True)
class StopRules:
    """What ends a sample, and what stood before it."""

    prefix: str
    """Steps before the sample: a stop text may begin in their end."""
    stop: Sequence[str]
    delimiter: str | None
    """Set where the sample is one step."""
    is_asked: bool = True
    """Whether the server was asked to stop at the delimiter."""
    lost: str = ""
    """White space at the end of the prefix that the server did not get."""
    echo: str = ""
    """What some servers (llama.cpp, continuing a chat message) repeat before the sample."""
    lists_end: bool = False
    """Whether the server lists an end token wherever the model ended."""
    max_tokens: int | None = None
    """How many tokens a sample may have: what tells a cut where no reason is given."""


@dataclass(frozen=True, slots=True)
class Usage:
    prompt_tokens: int
    completion_tokens: int


def read_completions(response: Any, rules: StopRules) -> tuple[list[Completion], Usage]:
    """Return the samples of a response of either API, and the tokens it took.

    Choices that are no samples (filtered, refused, broken off) are left out; their tokens count.

    Raises:
        NoSampleError: no choice is a sample.
        ResponseError: there are no choices.
    """
    choices = _choices(response)
    model = _storable(response.get("model"))[:LONGEST_MODEL]
    usage = read_usage(response)
    reported = _count(_mapping(response.get("usage")).get("completion_tokens"))
    completions, problems = list[Completion](), list[str]()
    for choice in choices:
        if problem := _problem(choice):
            problems.append(problem)
        else:
            completions.append(_read_choice(choice, rules, model, reported // len(choices)))
    if not completions:
        raise NoSampleError(f"no sample of {len(choices)} can be used: {problems[0]}")
    return completions, usage


def read_usage(response: Any) -> Usage:
    """Return the tokens that a response took, also where no choice is a sample.

    Raises:
        ResponseError: there are no choices.
    """
    choices = _choices(response)
    usage = _mapping(response.get("usage"))
    # Some servers count the tokens of the first choice only.
    reported = _count(usage.get("completion_tokens"))
    listed = [len(_token_logprobs(_mapping(one).get("logprobs")) or ()) for one in choices]
    each = reported // len(choices)
    counted = sum(number or each for number in listed)
    return Usage(_count(usage.get("prompt_tokens")), max(reported, counted))


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


def rewritten(text: str, lost: str) -> int:
    """Return how many characters at the start of a text repeat white space that it came after.

    A server that did not get the white space at the end of a message may write it again, with as
    many line breaks or fewer; further ones belong to the text.
    """
    lead = text[: len(text) - len(text.lstrip())]
    lines = lost.count("\n")
    if lines:
        at, found = 0, 0
        while found < lines and (next_at := lead.find("\n", at)) >= 0:
            at, found = next_at + 1, found + 1
        return at
    length = 0
    while length < min(len(lead), len(lost)) and lead[length] == lost[length]:
        length += 1
    return length


def _choices(response: Any) -> list[Any]:
    choices = response.get("choices") if isinstance(response, Mapping) else None
    if not isinstance(choices, list) or not choices:
        said = _error_text(response)
        raise ResponseError("the response has no choices" + (f": {said}" if said else ""))
    return choices


def _problem(choice: Any) -> str:
    """Return why a choice is no sample; empty where it is one."""
    choice = _mapping(choice)
    message = _mapping(choice.get("message"))
    finish = read_finish(choice.get("finish_reason"))
    reason = finish_text(choice.get("finish_reason"))
    if error := _error_text(choice) or _error_text(message):
        return f"the server broke it off with an error ({error})"
    if finish is Finish.BROKEN:
        return f"the server broke it off ({reason})"
    if text := _text_of(choice):
        return ""
    refusal = _storable(message.get("refusal"))[:LONGEST_ERROR]
    causes = {
        f"the model refused ({refusal!r})": bool(refusal),
        f"a filter took it ({reason})": finish is Finish.FILTERED,
        "the model called a tool in place of an answer": finish is Finish.CALLED
        or bool(message.get("tool_calls")),
        "a choice has no text": text is None,
    }
    return next((cause for cause, holds in causes.items() if holds), "")


def _error_text(value: Any) -> str:
    error = _mapping(value).get("error")
    if isinstance(error, Mapping):
        error = error.get("message") or error.get("code") or error.get("type") or "error"
    return _storable(str(error))[:LONGEST_ERROR] if error else ""


def _text_of(choice: Mapping[str, Any]) -> str | None:
    """Return the text of a choice of either API; of typed parts, those of text together."""
    message = _mapping(choice.get("message"))
    text = message.get("content") if message else choice.get("text")
    if isinstance(text, list):
        parts = [part if isinstance(part, str) else _mapping(part).get("text") for part in text]
        text = "".join(part for part in parts if isinstance(part, str))
    return _storable(text) if isinstance(text, str) else None


def _read_choice(
    choice: Any, rules: StopRules, model: str, tokens_if_not_listed: int
) -> Completion:
    choice = _mapping(choice)
    text = (_text_of(choice) or "").removeprefix(rules.echo)
    token_logprobs = _token_logprobs(choice.get("logprobs"))
    tokens = len(token_logprobs) if token_logprobs else tokens_if_not_listed
    written, ending = _find_end(text, choice, token_logprobs, tokens, rules)
    start = rewritten(written, rules.lost)
    kept, is_stopped = cut_at_stop(written[start:], rules)
    if is_stopped:
        ending = Ending.SOLUTION
    end = start + len(kept) if len(kept) < len(written) - start else len(written)
    if start or end < len(text):
        tokens, token_logprobs = part_of_tokens(tokens, token_logprobs, text, start, end)
    return Completion(
        text=kept,
        ending=ending,
        tokens=tokens,
        token_logprobs=token_logprobs,
        finish_reason=_storable(finish_text(choice.get("finish_reason")))[:LONGEST_FINISH_REASON],
        model=model,
    )


def _find_end(
    text: str,
    choice: Mapping[str, Any],
    token_logprobs: TokenLogprobs | None,
    tokens: int,
    rules: StopRules,
) -> tuple[str, Ending]:
    """Return the text of a sample, with the delimiter that ended it, and why it ended."""
    ended = Ending.SOLUTION if _is_ended(choice, tokens, rules) else Ending.LIMIT
    if rules.delimiter is None:
        return text, ended
    step = next(iter(split_steps(text, rules.delimiter)), text)
    if ending_of(step, rules.delimiter) and (step.strip() or rules.is_asked):
        is_last = ended is Ending.SOLUTION and not rules.is_asked and step == text
        return step, ended if is_last else Ending.STEP
    if ended is Ending.LIMIT:
        return text, ended
    listed = [token for token, _ in token_logprobs or ()]
    lists_end = rules.lists_end and rules.is_asked
    sign = read_stop_sign(choice, text, listed, rules.delimiter, lists_end=lists_end)
    if sign is None:
        return text, Ending.UNTOLD if rules.is_asked else ended
    return text + (sign.text or ""), Ending.SOLUTION if sign.text is None else Ending.STEP


def _is_ended(choice: Mapping[str, Any], tokens: int, rules: StopRules) -> bool:
    """Return whether the model or a stop text ended the sample, rather than a limit."""
    finish = read_finish(choice.get("finish_reason"))
    if finish is Finish.UNSAID:
        return rules.max_tokens is None or tokens < rules.max_tokens
    return finish is Finish.ENDED


def _token_logprobs(logprobs: Any) -> TokenLogprobs | None:
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
