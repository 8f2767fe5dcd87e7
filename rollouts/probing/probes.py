"""What to ask a server to see what it does, and how to read its answers.

Few and cheap requests: one shows most, and one for each way of continuing a message the rest.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from experiment_configs.interfaces import Prompt, RolloutWorkerConfig
from forests.core.abilities import UNOPENED, Abilities, Continuing, EndTold
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
from rollouts.steps.completions import Ending

QUESTION = "List the first ten multiples of seven, separated by commas, and nothing else."
"""What chat servers are asked."""
BEGUN = "7; 14; 21; 28; 35; 4"
"""A message that ends within a number, so that nothing but its continuation begins with the next
digit. It is not written as it was asked for: an answer from the start differs from it."""
PLAIN_PROMPT = "The multiples of seven: 7, 14, 21, 28,"
"""What servers of completions are asked."""
PROBE_TOKENS = 8
"""Tokens of one sample."""
PROBE_SAMPLES = 2
THOUGHT_TOKENS = 2048
"""Tokens of a sample that is to show how a thought ends, or more where rollouts may have more."""
_STOP = ","

_NEXT = re.compile(r" ?2(?!\d)")
_AFRESH = re.compile(r"(7|14|42)\b|\d+[.)]\s|<\w+>")
"""Beginnings of an answer from the start: its first numbers, the cut one as a whole, a list, or a
thought."""
_MARKUP = "*_#>`\"'([ \n\t"


class Continuation(StrEnum):
    """How a server is asked to continue the last message of a chat."""

    FLAG = "continue_final_message"
    """By fields of the request: vLLM, SGLang."""
    PREFIX = "prefix"
    """By a field of the message: DeepSeek, Mistral."""
    PREFILL = "prefill"
    """By nothing but a last message of the assistant: llama.cpp, Anthropic's kind."""

    def mark(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return the last message as this way wants it."""
        return {**message, "prefix": True} if self is Continuation.PREFIX else message

    @property
    def fields(self) -> Mapping[str, Any]:
        """Fields of the request."""
        if self is Continuation.FLAG:
            return {"continue_final_message": True, "add_generation_prompt": False}
        return {}


class Topic(StrEnum):
    """What a server can be asked about."""

    BASICS = "basics"
    """Several samples, why a sample stopped, thoughts."""
    LOGPROBS = "logprobs"
    CONTINUING = "continuing"
    THOUGHT = "thought"
    """Whether the chat template opens a thought: no text shows that until the thought ends."""


def wanted_topics(config: RolloutWorkerConfig) -> set[Topic]:
    """Return what must be known before a forest grows as a config says."""
    topics = {Topic.BASICS}
    if config.logprobs:
        topics.add(Topic.LOGPROBS)
    if config.api == "chat" and config.strategy != "sampled":
        topics.add(Topic.CONTINUING)
    if config.api == "chat":
        topics.add(Topic.THOUGHT)
    return topics


def basics_body(config: RolloutWorkerConfig, model: str) -> dict[str, Any]:
    """Return the request that shows most: it stops at a text that comes at once."""
    body = {**_common_body(config, model), "stop": [_STOP]}
    if config.api == "chat":
        body["messages"] = [{"role": "user", "content": QUESTION}]
        if config.logprobs:
            body |= {"logprobs": True, "top_logprobs": 1}
    else:
        body["prompt"] = PLAIN_PROMPT
        if config.logprobs:
            body["logprobs"] = 1
    return body | dict(config.extra_body)


def continuing_body(
    config: RolloutWorkerConfig, model: str, way: Continuation, *, is_several: bool
) -> dict[str, Any]:
    """Return the request that shows whether a server continues a message when asked in this way.

    `is_several`: whether the server is known to give several samples.
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
    """Return the request for one whole answer to a prompt, which shows how its thought ends."""
    tokens = max(THOUGHT_TOKENS, config.max_tokens_per_rollout)
    body = {**_common_body(config, model), "n": None, "seed": seed, config.max_tokens_field: tokens}
    if config.stop:
        body["stop"] = list(config.stop)
    body["messages"] = list(prefix_of(prompt, "", "chat"))
    return body | dict(config.extra_body)


def read_thought(response: Any, rules: StopRules) -> str | None:
    """Return where a whole answer has its thought, as in `Abilities.thought`.

    None: it was cut, and may be a thought as a whole.

    Raises:
        ResponseError: it holds no answer.
    """
    if field := thought_field(response):
        return field
    ((answer, *_), _) = read_completions(response, rules)
    thought = thought_in(answer.text)
    return thought if thought or answer.ending is Ending.SOLUTION else None


def _common_body(config: RolloutWorkerConfig, model: str) -> dict[str, Any]:
    # Samples as growth draws them: servers refuse other temperatures, or several greedy samples.
    return {
        "model": model,
        "n": min(PROBE_SAMPLES, config.samples_per_request),
        "temperature": config.temperature,
        "top_p": config.top_p,
        "seed": config.seed,
        config.max_tokens_field: PROBE_TOKENS,
    }


def note_basics(
    abilities: Abilities, response: Any, sent: Mapping[str, Any], *, lists_end: bool
) -> None:
    """Note what the answer to `basics_body`, as it was sent, shows.

    `lists_end`: whether the server lists the model's end among the tokens (llama.cpp).

    Raises:
        ResponseError: it has no choices.
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
    if "messages" in sent:  # a plain prompt has no template that would open a thought
        seen = {one.thought for one in choices if one.thought}
        abilities.thought = UNOPENED if UNOPENED in seen else max(seen, default="")


def _find_end_told(choices: Sequence[Choice]) -> EndTold | None:
    """Return how the server tells that it met the stop text; None where it met none."""
    for choice in choices:
        if choice.named_stop == _STOP:
            return EndTold.BY_NAME
        if choice.listed_stop == _STOP:
            return EndTold.IN_TOKENS
    silent = [one for one in choices if read_finish(one.finish_reason) is Finish.ENDED]
    met = [one for one in silent if one.text and _STOP not in one.text and not one.says_end]
    return EndTold.NOT if met else None


def _find_logprobs(choices: Sequence[Choice], *, is_asked: bool) -> bool | None:
    """Return whether log-probabilities came; None where no text came with which they would."""
    if not is_asked:
        return None
    if any(choice.has_logprobs for choice in choices):
        return True
    return False if any(choice.text for choice in choices) else None


def read_replies(texts: Collection[str]) -> Continuing:
    """Return what samples that were to continue `BEGUN` show together."""
    replies = {read_reply(text) for text in texts}
    for reply in (Continuing.CONTINUED, Continuing.RESTARTED):
        if reply in replies:
            return reply
    return Continuing.UNCLEAR


def read_reply(text: str) -> Continuing:
    """Return what the text of one sample shows; llama.cpp repeats the message before it.

    Not even a weak model begins a sentence in the middle of a number that it continues.
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
"""Characters of a message: shorter ones a model may well write twice."""


@dataclass(slots=True)
class RestartWatch:
    """Watches the first samples that continue messages: do they begin as these begin?"""

    num_seen: int = 0
    num_restarted: int = 0

    def sees_restarting(self, message: str, texts: Collection[str]) -> bool:
        """Return whether samples, with these after a message, begin from the start again."""
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
    """Watches how often samples end a thought that nothing opened, where the template opens none.

    Now and then a model writes the mark by mistake.
    """

    num_ended: int = 0
    """Solutions that the model ended without it."""
    num_closing: int = 0

    def sees_thoughts(self) -> bool:
        """Return whether they do so too often for mistakes."""
        is_usual = _ENDED_PER_CLOSING * self.num_closing >= self.num_ended
        return is_usual and self.num_closing >= _FEWEST_CLOSINGS


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
