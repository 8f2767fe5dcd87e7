"""Requests that probe a server's abilities, and how to read the responses.

They are few and cheap: one request shows most abilities. One request for each way of continuing a
message shows the rest.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from experiment_configs.interfaces import Prompt, RolloutWorkerConfig
from forests.core.abilities import UNOPENED, Abilities, Continuing, EndTold, TokenIds
from forests.core.prefix import prefix_of
from rollouts.protocol.endings import Finish, read_finish
from rollouts.protocol.responses import (
    Choice,
    StopRules,
    read_choices,
    read_completions,
    thought_field,
    thought_in,
)
from rollouts.protocol.token_ids import ASK_FOR_IDS, tells_ids, tells_prompt
from rollouts.steps.completions import Ending

QUESTION = "List the first ten multiples of seven, separated by commas, and nothing else."
"""The question for chat servers."""
BEGUN = "7; 14; 21; 28; 35; 4"
"""A message that ends inside a number, so that only a continuation begins with the next digit. It
uses semicolons, not the commas asked for, so that an answer from the start differs from it."""
PLAIN_PROMPT = "The multiples of seven: 7, 14, 21, 28,"
"""The prompt for completions servers."""
PROBE_TOKENS = 8
"""Token limit of one probe sample."""
PROBE_SAMPLES = 2
THOUGHT_TOKENS = 2048
"""Minimum token limit of a sample that must show how a thought ends."""
_STOP = ","

_NEXT = re.compile(r" ?2(?!\d)")
_AFRESH = re.compile(r"(7|14|42)\b|\d+[.)]\s|<\w+>")
"""How an answer from the start begins: with the first numbers, the cut number in full, a list, or a
thought."""
_MARKUP = "*_#>`\"'([ \n\t"


class Continuation(StrEnum):
    """How a server is asked to continue the last message of a chat."""

    FLAG = "continue_final_message"
    """Fields of the request: vLLM, SGLang."""
    PREFIX = "prefix"
    """A field of the message: DeepSeek, Mistral."""
    PREFILL = "prefill"
    """Only a final assistant message: llama.cpp, and servers like Anthropic's."""

    def mark(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return the last message with the field that this way needs, if any."""
        return {**message, "prefix": True} if self is Continuation.PREFIX else message

    @property
    def fields(self) -> Mapping[str, Any]:
        """Fields to add to the request."""
        if self is Continuation.FLAG:
            return {"continue_final_message": True, "add_generation_prompt": False}
        return {}


class Topic(StrEnum):
    """An ability that can be probed."""

    BASICS = "basics"
    """Several samples per request, how the server reports a stop, where thoughts are."""
    LOGPROBS = "logprobs"
    IDS = "token ids"
    CONTINUING = "continuing"
    THOUGHT = "thought"
    """Whether the chat template opens a thought, which only the end of the thought shows."""


def wanted_topics(config: RolloutWorkerConfig) -> set[Topic]:
    """Return the topics that must be known before growth with a config."""
    topics = {Topic.BASICS}
    if config.logprobs:
        topics.add(Topic.LOGPROBS)
    if config.keep_tokens:
        topics.add(Topic.IDS)
    if config.api == "chat" and config.strategy != "sampled":
        topics.add(Topic.CONTINUING)
    if config.api == "chat":
        topics.add(Topic.THOUGHT)
    return topics


def basics_body(config: RolloutWorkerConfig, model: str) -> dict[str, Any]:
    """Return the body of the request for `BASICS`: the answer soon reaches its stop text."""
    body = {**_common_body(config, model), "stop": [_STOP]}
    if config.api == "chat":
        body["messages"] = [{"role": "user", "content": QUESTION}]
        if config.logprobs:
            body |= {"logprobs": True, "top_logprobs": 1}
    else:
        body["prompt"] = PLAIN_PROMPT
        if config.logprobs:
            body["logprobs"] = 1
    if config.keep_tokens:
        body |= ASK_FOR_IDS
    return body | dict(config.extra_body)


def continuing_body(
    config: RolloutWorkerConfig, model: str, way: Continuation, *, is_several: bool
) -> dict[str, Any]:
    """Return the body of the request that shows whether a server continues messages in this way.

    `is_several`: whether the server is known to give several samples per request.
    """
    messages = [
        {"role": "user", "content": QUESTION},
        way.mark({"role": "assistant", "content": BEGUN}),
    ]
    body = {**_common_body(config, model), "messages": messages, **way.fields}
    if not is_several:
        body["n"] = None
    return body | dict(config.extra_body)


def thought_body(
    config: RolloutWorkerConfig, model: str, prompt: Prompt, seed: int
) -> dict[str, Any]:
    """Return the body of the request for one whole answer, which shows how its thought ends."""
    tokens = max(THOUGHT_TOKENS, config.max_tokens_per_rollout)
    body = {**_common_body(config, model), "n": None, "seed": seed, config.max_tokens_field: tokens}
    if config.stop:
        body["stop"] = list(config.stop)
    body["messages"] = list(prefix_of(prompt, "", "chat"))
    return body | dict(config.extra_body)


def read_thought(response: Any, rules: StopRules) -> str | None:
    """Return where a whole answer has its thought, as in `Abilities.thought`.

    None if it was cut: all of it may be a thought.

    Raises:
        ResponseError: the response has no answer.
    """
    if field := thought_field(response):
        return field
    ((answer, *_), _) = read_completions(response, rules)
    thought = thought_in(answer.text)
    return thought if thought or answer.ending is Ending.SOLUTION else None


def _common_body(config: RolloutWorkerConfig, model: str) -> dict[str, Any]:
    # Same sampling parameters as growth: servers may refuse a temperature, or several greedy
    # samples.
    return {
        "model": model,
        "n": min(PROBE_SAMPLES, config.samples_per_request),
        "temperature": config.temperature,
        "top_p": config.top_p,
        "seed": config.seed,
        config.max_tokens_field: PROBE_TOKENS,
    }


def note_basics(
    abilities: Abilities,
    response: Any,
    sent: Mapping[str, Any],
    *,
    lists_end: bool,
    asks_ids: bool = False,
) -> None:
    """Record the abilities that the response to `basics_body` shows.

    `sent`: the body as it was sent. `lists_end`: whether the server lists an end token (llama.cpp).
    `asks_ids`: whether token ids were asked for.

    Raises:
        ResponseError: the response has no choices.
    """
    choices = read_choices(response, [_STOP])
    abilities.answers_as = choices[0].model
    if sent.get("n") == PROBE_SAMPLES:
        abilities.several_samples = len(choices) == PROBE_SAMPLES
    if sent.get("stop"):
        abilities.end_told = _find_end_told(choices)
    abilities.logprobs = _find_logprobs(choices, is_asked=bool(sent.get("logprobs")))
    if lists_end and abilities.logprobs:
        abilities.end_told = EndTold.IN_TOKENS
    if asks_ids:
        tells_all = tells_prompt(response) or (lists_end and "prompt" in sent)
        told = TokenIds.ALL if tells_all else TokenIds.SAMPLES
        abilities.token_ids = told if tells_ids(response) else TokenIds.NONE
    if "messages" in sent:  # without a chat template nothing opens a thought
        seen = {one.thought for one in choices if one.thought}
        abilities.thought = UNOPENED if UNOPENED in seen else max(seen, default="")


def _find_end_told(choices: Sequence[Choice]) -> EndTold | None:
    """Return how the server reports the stop text that it met; None if it met none."""
    for choice in choices:
        if choice.named_stop == _STOP:
            return EndTold.BY_NAME
        if choice.listed_stop == _STOP:
            return EndTold.IN_TOKENS
    silent = [one for one in choices if read_finish(one.finish_reason) is Finish.ENDED]
    met = [one for one in silent if one.text and _STOP not in one.text and not one.says_end]
    return EndTold.NOT if met else None


def _find_logprobs(choices: Sequence[Choice], *, is_asked: bool) -> bool | None:
    """Return whether the server gives log-probabilities; None if not asked, or without text."""
    if not is_asked:
        return None
    if any(choice.has_logprobs for choice in choices):
        return True
    return False if any(choice.text for choice in choices) else None


def read_replies(texts: Collection[str]) -> Continuing:
    """Return what samples after `BEGUN` show together."""
    replies = {read_reply(text) for text in texts}
    for reply in (Continuing.CONTINUED, Continuing.RESTARTED):
        if reply in replies:
            return reply
    return Continuing.UNCLEAR


def read_reply(text: str) -> Continuing:
    """Return what one sample after `BEGUN` shows; llama.cpp repeats the message before it.

    Even a weak model does not begin a sentence in the middle of a number that it continues.
    """
    said = text.removeprefix(BEGUN)
    if _NEXT.match(said):
        return Continuing.CONTINUED
    start = said.lstrip(_MARKUP)
    begins_sentence = start[:1].isalpha() and not start[:1].islower()
    if begins_sentence or _AFRESH.match(said.lstrip()):
        return Continuing.RESTARTED
    return Continuing.UNCLEAR


_MAX_WATCHED = 32
_ENOUGH_RESTARTS = 4
_MAX_BEGINNING = 20
_SHORTEST_BEGINNING = 8
"""In characters; a model may repeat a shorter beginning by chance."""


@dataclass(slots=True)
class RestartWatch:
    """Checks whether the first samples repeat the beginning of the message to continue."""

    num_seen: int = 0
    num_restarted: int = 0

    def sees_restarting(self, message: str, texts: Collection[str]) -> bool:
        """Add samples drawn after a message; return whether samples tend to start over."""
        beginning = _plain(message)[:_MAX_BEGINNING]
        if self.num_seen >= _MAX_WATCHED or len(beginning) < _SHORTEST_BEGINNING:
            return False
        self.num_seen += len(texts)
        self.num_restarted += sum(_plain(text).startswith(beginning) for text in texts)
        is_usual = 2 * self.num_restarted >= self.num_seen
        return is_usual and self.num_restarted >= _ENOUGH_RESTARTS


_FEWEST_CLOSINGS = 2
_ENDED_PER_CLOSING = 10


@dataclass(slots=True)
class ClosingWatch:
    """Counts how often samples end a thought that nothing opened.

    Models sometimes write the closing mark by mistake, so one such sample proves nothing.
    """

    num_ended: int = 0
    """Solutions that the model ended."""
    num_closing: int = 0

    def sees_thoughts(self) -> bool:
        """Return whether closing marks are too frequent to be mistakes."""
        is_usual = _ENDED_PER_CLOSING * self.num_closing >= self.num_ended
        return is_usual and self.num_closing >= _FEWEST_CLOSINGS


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
