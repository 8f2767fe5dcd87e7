"""Read samples from the responses of OpenAI-compatible servers.

Works on the parsed JSON, because servers add fields that the `openai` types lack, and leave out
others. `rollouts.protocol.endings` reads why a sample ended.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from experiment_configs.answers import closes_thought, is_thinking, split_thoughts
from forests.core.abilities import IN_TEXT, UNOPENED
from rollouts.protocol.endings import (
    MODEL_END,
    Finish,
    finish_text,
    read_finish,
    read_stop_sign,
    sign_by_name,
    sign_in_tokens,
)
from rollouts.protocol.token_ids import read_kept
from rollouts.steps.completions import Completion, Ending, TokenLogprobs, part_of_tokens
from rollouts.steps.rules import StepRule

MAX_MODEL = 200
MAX_FINISH_REASON = 20
MAX_ERROR = 200
MAX_TOKENS = 10**9
MAX_LOGPROB = 10_000.0

_THOUGHT_FIELDS = ("reasoning_content", "reasoning", "thinking")
_THOUGHT_TYPES = ("thinking", "reasoning", "thought", "reasoning_text")


class ResponseError(Exception):
    """A response does not follow the protocol; a retry may help."""


class ThoughtInStepError(ResponseError):
    """The server splits thoughts off, so a single step cannot be requested."""


class NoSampleError(ResponseError):
    """A response has choices, but no sample: all were filtered, refused or aborted."""


@dataclass(frozen=True, slots=True)
class StopRules:
    """What ends a sample, and what precedes it."""

    prefix: str
    """Steps before the sample; a stop text may begin in them."""
    stop: Sequence[str]
    step_rule: StepRule | None
    """Where the step ends; None if the sample is not a single step."""
    is_asked: bool = True
    """Whether the request had stop texts for the end of the step, if the rule has any."""
    begun: str = ""
    """Text of the same step from earlier requests; a delimiter may begin in it."""
    lost: str = ""
    """White space at the end of the prefix that was not sent to the server."""
    echo: str = ""
    """Text that a server may repeat before the sample (llama.cpp, when it continues a message)."""
    sent_thought: str = ""
    """The thought before the steps; a server may repeat it too."""
    lists_end: bool = False
    """Whether the server lists an end token whenever the model ended."""
    names_stop: bool = False
    """Whether the server names every stop text that it met."""
    skips_thought: bool = False
    """Whether the sample may begin with a thought in its text, before the step."""
    is_answering: bool = False
    """Whether the thought ended before the sample. If the server splits off a thought and gives no
    text, that thought is the answer."""
    max_tokens: int | None = None
    """Token limit of the sample, which shows a cut if the server gives no reason."""
    keeps_tokens: bool = False
    """Whether token ids were asked for."""

    @property
    def delimiters(self) -> list[str]:
        """The stop texts that end the step; empty if the client cuts it."""
        return self.step_rule.stops() if self.step_rule and self.is_asked else []


@dataclass(frozen=True, slots=True)
class ReportedUsage:
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    """Prompt tokens from the server's prefix cache; 0 also if it does not tell."""


def read_completions(response: Any, rules: StopRules) -> tuple[list[Completion], ReportedUsage]:
    """Return the samples of a response of either API, and the tokens it used.

    Choices without a sample (filtered, refused, aborted) are left out, but their tokens count.

    Raises:
        NoSampleError: no choice has a sample.
        ThoughtInStepError: the request was for a step, and the server split off a thought.
        ResponseError: the response has no choices.
    """
    choices = _choices(response)
    model = _storable(response.get("model"))[:MAX_MODEL]
    usage = read_usage(response)
    told = _mapping(response.get("usage"))
    each = _count(told.get("completion_tokens")) // len(choices)
    details = _mapping(told.get("completion_tokens_details"))
    of_thought = _count(details.get("reasoning_tokens") or told.get("reasoning_tokens"))
    completions, problems = list[Completion](), list[str]()
    for choice in choices:
        if problem := _problem(choice, rules):
            problems.append(problem)
        else:
            completion = _read_choice(choice, rules, model, each)
            completion = _with_thought(completion, choice, rules, each, of_thought // len(choices))
            if rules.keeps_tokens:
                completion = _with_kept(completion, response, choice, rules)
            completions.append(completion)
    if not completions:
        raise NoSampleError(f"no sample of {len(choices)} can be used: {problems[0]}")
    return completions, usage


@dataclass(frozen=True, slots=True)
class Choice:
    """What one choice of a response shows about the server."""

    model: str
    text: str
    said: str
    """The text, or the thought if there is no text."""
    finish_reason: str
    named_stop: str | None
    """The stop text that the server names as the cause of the stop."""
    listed_stop: str | None
    """The stop text among the tokens listed after the sample."""
    says_end: bool
    """Whether the server says that the model ended its answer."""
    has_logprobs: bool
    thought: str
    """Where the thought is, as in `Abilities.thought`; empty if there is none."""


def read_choices(response: Any, stops: Sequence[str]) -> list[Choice]:
    """Return what each choice shows, including choices without a sample.

    Raises:
        ResponseError: the response has no choices.
    """
    model = _storable(response.get("model"))[:MAX_MODEL]
    return [_shown(_mapping(choice), stops, model) for choice in _choices(response)]


def _shown(choice: Mapping[str, Any], stops: Sequence[str], model: str) -> Choice:
    field, thought = _thought_of(choice)
    text = _text_of(choice) or ""
    listed = [token for token, _ in _token_logprobs(choice.get("logprobs")) or ()]
    named, in_tokens = sign_by_name(choice, stops), sign_in_tokens(text, listed, stops)
    return Choice(
        model=model,
        text=text,
        said=text or thought,
        finish_reason=finish_text(choice.get("finish_reason")),
        named_stop=named.text if named else None,
        listed_stop=in_tokens.text if in_tokens else None,
        says_end=MODEL_END in (named, in_tokens),
        has_logprobs=bool(listed),
        thought=field or thought_in(text),
    )


def thought_in(text: str) -> str:
    """Return whether and how a text contains a thought: `UNOPENED`, `IN_TEXT` or empty."""
    if closes_thought(text):
        return UNOPENED
    is_inside = is_thinking(text) or any(inside for _, inside in split_thoughts(text))
    return IN_TEXT if is_inside else ""


def read_usage(response: Any) -> ReportedUsage:
    """Return the tokens that a response used, even if no choice has a sample.

    Raises:
        ResponseError: the response has no choices.
    """
    choices = _choices(response)
    usage = _mapping(response.get("usage"))
    # Some servers count only the tokens of the first choice.
    reported = _count(usage.get("completion_tokens"))
    listed = [len(_token_logprobs(_mapping(one).get("logprobs")) or ()) for one in choices]
    each = reported // len(choices)
    counted = sum(number or each for number in listed)
    prompt = _count(usage.get("prompt_tokens"))
    cached = _count(_mapping(usage.get("prompt_tokens_details")).get("cached_tokens"))
    return ReportedUsage(prompt, max(reported, counted), min(cached, prompt))


def thought_field(response: Any) -> str:
    """Return the field in which a response has thoughts; empty if it has none."""
    fields = (_thought_of(_mapping(choice))[0] for choice in _choices(response))
    return next(filter(None, fields), "")


def cut_at_stop(text: str, rules: StopRules) -> tuple[str, bool]:
    """Return the text before the first stop text, and whether there is one.

    The result is empty if the stop text begins in the prefix.
    """
    longest = max(map(len, rules.stop), default=0)
    tail = rules.prefix[1 - longest :] if longest > 1 else ""
    found = [at for at in ((tail + text).find(stop) for stop in rules.stop) if at >= 0]
    # The prefix cannot contain a whole stop text: it would have ended there.
    if not found:
        return text, False
    return text[: max(0, min(found) - len(tail))], True


def rewritten(text: str, lost: str) -> int:
    """Return how many characters at the start of a text repeat the `lost` white space before it.

    A server that did not get the white space at the end of a message may write it again, with the
    same number of line breaks or fewer; further line breaks belong to the text.
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


def _problem(choice: Any, rules: StopRules) -> str:
    """Return why a choice has no sample; empty if it has one."""
    choice = _mapping(choice)
    finish = read_finish(choice.get("finish_reason"))
    reason = finish_text(choice.get("finish_reason"))
    message = _mapping(choice.get("message"))
    if error := _error_text(choice) or _error_text(message):
        return f"the server aborted it with an error ({error})"
    if finish is Finish.BROKEN:
        return f"the server aborted it ({reason})"
    field, thought, text = _thought_and_text(choice, rules)
    if thought and rules.step_rule is not None and rules.is_asked:
        raise ThoughtInStepError(f"the server puts thoughts into `{field}`")
    if text:
        return ""
    refusal = _storable(message.get("refusal"))[:MAX_ERROR]
    causes = {
        f"the model refused ({refusal!r})": bool(refusal),
        f"a filter blocked it ({reason})": finish is Finish.FILTERED,
        "the model called a tool instead of answering": finish is Finish.CALLED
        or bool(message.get("tool_calls")),
        f"it has a thought in `{field}` but no answer": bool(thought) and finish is Finish.ENDED,
        "the choice has no text": text is None and not thought,
    }
    return next((cause for cause, holds in causes.items() if holds), "")


def _error_text(value: Any) -> str:
    error = _mapping(value).get("error")
    if isinstance(error, Mapping):
        error = error.get("message") or error.get("code") or error.get("type") or "error"
    return _storable(str(error))[:MAX_ERROR] if error else ""


def _text_of(choice: Mapping[str, Any]) -> str | None:
    """Return the text of a choice of either API, joined if it comes in typed parts."""
    message = _mapping(choice.get("message"))
    text = message.get("content") if message else choice.get("text")
    if isinstance(text, list):
        said = [part for part in text if _mapping(part).get("type") not in _THOUGHT_TYPES]
        text = "".join(
            part if isinstance(part, str) else _storable(_mapping(part).get("text"))
            for part in said
        )
    return _storable(text) if isinstance(text, str) else None


def _thought_of(choice: Mapping[str, Any]) -> tuple[str, str]:
    """Return the field of a split-off thought, and the thought; both empty if there is none."""
    message = _mapping(choice.get("message"))
    for field in _THOUGHT_FIELDS:
        for place in (message, choice):
            if isinstance(place.get(field), str) and (thought := _storable(place[field])):
                return field, thought
    parts = [_mapping(part) for part in _list(message.get("content"))]
    thought = "".join(_part_text(part) for part in parts if part.get("type") in _THOUGHT_TYPES)
    return ("content", thought) if thought else ("", "")


def _thought_and_text(choice: Mapping[str, Any], rules: StopRules) -> tuple[str, str, str | None]:
    """Return the field of the thought, the thought and the text; the text may be None."""
    field, thought = _thought_of(choice)
    text = _text_of(choice)
    if rules.sent_thought and thought.strip() == rules.sent_thought.strip():
        return "", "", text or ""
    if rules.is_answering and thought and not text:
        return "", "", thought  # the parser did not see that the thought ended earlier
    return field, thought, text


def _part_text(part: Mapping[str, Any]) -> str:
    """Return the text of a typed part, which may contain further parts."""
    found = next((part[name] for name in (*_THOUGHT_TYPES, "text") if part.get(name)), "")
    if isinstance(found, list):
        return "".join(
            one if isinstance(one, str) else _storable(_mapping(one).get("text")) for one in found
        )
    return _storable(found)


def _with_thought(
    completion: Completion, choice: Any, rules: StopRules, each: int, reported: int
) -> Completion:
    """Return a sample with its split-off thought, and with the tokens divided between the two.

    `each`: tokens of the choice, used if they are not listed. `reported`: tokens of the thought
    according to the server; if it is 0, tokens are divided in proportion to characters.
    """
    _, thought, _ = _thought_and_text(_mapping(choice), rules)
    if not thought:
        return completion
    listed = completion.token_logprobs
    if listed is None:
        shared = round(each * len(thought) / (len(thought) + len(completion.text)))
        number = min(reported or shared, each)
        return replace(
            completion, thought=thought, thought_tokens=number, tokens=max(0, each - number)
        )
    number = _tokens_before(listed, completion.text.strip())
    return replace(
        completion,
        thought=thought,
        thought_tokens=number,
        thought_logprobs=listed[:number] or None,
        tokens=len(listed) - number,
        token_logprobs=listed[number:] or None,
    )


def _with_kept(completion: Completion, response: Any, choice: Any, rules: StopRules) -> Completion:
    """Return a sample with its token ids, if the response has all of them.

    A sample gets no ids if the server repeated white space of an earlier step before its text.
    """
    answer = (_thought_and_text(_mapping(choice), rules)[2] or "").removeprefix(rules.echo)
    if not (answer.startswith(completion.text) or completion.text.startswith(answer)):
        return completion
    is_ended = completion.ending is Ending.SOLUTION and _says_end(choice, answer, rules)
    kept = read_kept(
        response, choice, completion.thought, answer, completion.text,
        is_ended=is_ended and completion.text == answer,
    )  # fmt: skip
    return replace(completion, kept=kept)


def _says_end(choice: Any, text: str, rules: StopRules) -> bool:
    """Return whether the model ended a sample, and not a stop text."""
    choice, stops = _mapping(choice), [*rules.stop, *rules.delimiters]
    listed = [token for token, _ in _token_logprobs(choice.get("logprobs")) or ()]
    sign = sign_by_name(choice, stops) or sign_in_tokens(text, listed, stops)
    return sign == MODEL_END


def _tokens_before(listed: TokenLogprobs, answer: str) -> int:
    """Return how many of the tokens precede the answer; all of them if the answer is empty."""
    if not answer:
        return len(listed)
    written = "".join(token for token, _ in listed)
    start = written.rfind(answer)
    if start < 0:  # only the answer's tokens are listed, or they do not match its text
        return 0
    position = 0
    for number, (token, _) in enumerate(listed):
        position += len(token)
        if position > start:
            return number
    return 0


def _read_choice(
    choice: Any, rules: StopRules, model: str, tokens_if_not_listed: int
) -> Completion:
    choice = _mapping(choice)
    text = (_thought_and_text(choice, rules)[2] or "").removeprefix(rules.echo)
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
        finish_reason=_storable(finish_text(choice.get("finish_reason")))[:MAX_FINISH_REASON],
        model=model,
    )


def _find_end(
    text: str,
    choice: Mapping[str, Any],
    token_logprobs: TokenLogprobs | None,
    tokens: int,
    rules: StopRules,
) -> tuple[str, Ending]:
    """Return the text of a sample, including the delimiter that ended it, and why it ended.

    Raises:
        ConfigError: as `StepRule.split`.
    """
    ended = Ending.SOLUTION if _is_ended(choice, tokens, rules) else Ending.LIMIT
    if rules.step_rule is None:
        return text, ended
    delimiters = rules.delimiters
    head = _thought_before(text) if rules.skips_thought else ""
    found, is_whole = rules.step_rule.first_step(rules.begun + text[len(head) :])
    if is_whole and (found.strip() or delimiters):
        step = head + found[len(rules.begun) :]
        is_last = ended is Ending.SOLUTION and not delimiters and not text[len(step) :].strip()
        return (text, ended) if is_last else (step, Ending.STEP)
    if ended is Ending.LIMIT:
        return text, ended
    listed = [token for token, _ in token_logprobs or ()]
    lists_end = rules.lists_end and bool(delimiters)
    sign = read_stop_sign(
        choice, text, listed, rules.step_rule.stops(),
        lists_end=lists_end, names_stop=rules.names_stop,
    )  # fmt: skip
    if sign is None:
        return text, Ending.UNTOLD if delimiters else ended
    return text + (sign.text or ""), Ending.SOLUTION if sign.text is None else Ending.STEP


def _thought_before(text: str) -> str:
    """Return the thought at the start of a text; empty if there is none."""
    pieces = split_thoughts(text)
    return pieces[0][0] if pieces and pieces[0][1] else ""


def _is_ended(choice: Mapping[str, Any], tokens: int, rules: StopRules) -> bool:
    """Return whether the model or a stop text ended the sample, and not a limit."""
    finish = read_finish(choice.get("finish_reason"))
    if finish is Finish.UNSAID:
        return rules.max_tokens is None or tokens < rules.max_tokens
    return finish is Finish.ENDED


def _token_logprobs(logprobs: Any) -> TokenLogprobs | None:
    """Return tokens and log-probabilities, from either form in which servers list them."""
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
    """Return a text without lone surrogates, which JSON allows and databases reject."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else ""


def _count(value: Any) -> int:
    """Return a number of tokens; 0 if the value is not a plausible one."""
    is_number = isinstance(value, (int, float)) and 0 <= value <= MAX_TOKENS
    return int(value) if is_number else 0


def _logprob(value: Any) -> float:
    """Return a log-probability; 0 if there is none. Some servers write -inf as -9999."""
    is_number = isinstance(value, (int, float)) and abs(value) <= MAX_LOGPROB
    return float(value) if is_number else 0.0
