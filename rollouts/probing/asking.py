"""Probe a server's abilities before growth depends on them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from experiment_configs.interfaces import Prompt, RolloutWorkerConfig
from forests.core.abilities import UNOPENED, Continuing, TokenIds
from rollouts.client.failures import (
    AttemptsFailedError,
    BackendRefusedError,
    FieldRefusedError,
    RequestFailedError,
)
from rollouts.probing.probes import (
    QUESTION,
    Continuation,
    Topic,
    basics_body,
    continuing_body,
    note_basics,
    read_replies,
    read_thought,
    thought_body,
)
from rollouts.protocol.responses import StopRules, read_choices

if TYPE_CHECKING:
    from rollouts.client.endpoints import Endpoint

log = structlog.stdlib.get_logger(__name__)

LLAMA_CPP = "llamacpp"
FASTCHAT = "fastchat"

_OF_CONTINUING = {*Continuation.FLAG.fields, "messages", "prefix"}
"""Fields whose refusal shows that the server does not continue messages in this way."""

ANSWERS_TO_PROMPT = 2
"""Maximum number of whole answers to draw to the prompt, to see how a thought ends."""

_BEST = (Continuing.CONTINUED, Continuing.UNCLEAR, Continuing.RESTARTED)

Ask = Callable[[Mapping[str, Any], Callable[[Any], Any]], Awaitable[Any]]
"""Posts a body to one server, and returns what the given function makes of the response."""


async def find_abilities(
    ask: Ask,
    endpoint: Endpoint,
    config: RolloutWorkerConfig,
    model: str,
    topics: Collection[Topic],
) -> None:
    """Probe a server, with one request plus at most one for each way of continuing messages.

    Stores the results in the server's abilities and dialect. Topics that it refuses stay unknown.

    Raises:
        BackendRefusedError: it refuses every request with these settings.
        BackendUnavailableError: it does not answer.
    """
    abilities = endpoint.abilities
    if {Topic.BASICS, Topic.LOGPROBS, Topic.IDS} & set(topics):
        await _find_basics(ask, endpoint, config, model)
    if Topic.CONTINUING in topics:
        await _find_continuing(ask, endpoint, config, model)
    abilities.learnt = endpoint.dialect.learnt
    told = {name.replace(" ", "_").replace("-", "_"): text for name, text in abilities.told()}
    log.info("asked what the server does", server=endpoint.base_url, **told)


def refusal_to_continue(endpoint: Endpoint) -> BackendRefusedError | None:
    """Return the error for a server that cannot continue messages; None if it can.

    FastChat always begins a new message, even if a small model's answers do not show it.
    """
    continuing = endpoint.abilities.continuing
    is_known = continuing is Continuing.UNCLEAR and FASTCHAT in (endpoint.owners or ())
    if continuing is Continuing.RESTARTED or is_known:
        return restarting(endpoint, "begins the answer from the start")
    return None


def restarting(endpoint: Endpoint, problem: str) -> BackendRefusedError:
    """Return the error, with the remedy, for a server that does not continue messages."""
    return BackendRefusedError(
        f"the model server at {endpoint.base_url} does not continue a chat message (it {problem}): "
        "use strategy='sampled', or api='completions' with the model's chat template in the prompt"
    )


def refusal_to_keep_tokens(
    endpoint: Endpoint, config: RolloutWorkerConfig
) -> BackendRefusedError | None:
    """Return the error for a server that does not tell the token ids to keep; None if it does."""
    told = endpoint.abilities.token_ids
    if not config.keep_tokens or told in (None, TokenIds.ALL):
        return None
    if told is TokenIds.SAMPLES:
        problem = "tells the token ids of samples, but not those of the prompt"
        remedy = "use api='completions' with the model's chat template in the prompt"
    else:
        problem = "tells no token ids"
        remedy = "use vLLM 0.10.2 or newer, or llama.cpp"
    return BackendRefusedError(
        f"the model server at {endpoint.base_url} {problem}: {remedy}, or keep_tokens=False"
    )


async def find_thought(
    ask: Ask, endpoint: Endpoint, config: RolloutWorkerConfig, model: str, prompt: Prompt
) -> None:
    """Find out from one whole answer whether the chat template opens a thought.

    Only the end of a thought shows that: a cut answer may be all thought, and would be graded as an
    answer. If answers to the prompt are cut or refused, an easy question is asked instead.

    Raises:
        BackendRefusedError: all answers were cut, so answers cannot be told from thoughts.
        BackendError: the server did not answer the easy question.
    """
    tries = [(prompt, seed) for seed in range(config.seed, config.seed + ANSWERS_TO_PROMPT)]
    most, found = 0, None
    for asked, seed in [*tries, (QUESTION, config.seed)]:
        body = thought_body(config, model, asked, seed)
        most = body[config.max_tokens_field] or 0
        rules = StopRules(prefix="", stop=config.stop, step_rule=None, max_tokens=most)
        try:
            found = await ask(body, partial(read_thought, rules=rules))
        except RequestFailedError as error:  # the prompt may be too long, or flagged
            if asked is QUESTION:
                raise
            log.info("the prompt does not show whether thoughts are opened", error=str(error))
        if found is not None:
            break
    else:
        raise BackendRefusedError(
            f"the model at {endpoint.base_url} wrote {most} tokens and did not end, so nothing "
            "shows whether its chat template opens a thought, in which answers must not be graded: "
            f"raise max_tokens_per_rollout above {most}, or let the server split thoughts off (a "
            "reasoning parser), or use api='completions' with the model's chat template in the "
            "prompt"
        )
    abilities = endpoint.abilities
    abilities.thought = found or abilities.thought or ""


def refusal_of_thoughts(
    endpoint: Endpoint, config: RolloutWorkerConfig
) -> BackendRefusedError | None:
    """Return the error if steps cannot be drawn because of thoughts; None if they can.

    A template that opens the thought does not write that thought again before a message to
    continue.
    """
    if endpoint.abilities.thought != UNOPENED or config.strategy == "sampled":
        return None
    return BackendRefusedError(
        f"the model at {endpoint.base_url} ends a thought that nothing opened, because its chat "
        "template opens it, so steps of the thought would count as steps of the answer: let the "
        "server split thoughts off (a reasoning parser), or use api='completions' with the model's "
        "chat template in the prompt, or strategy='sampled'"
    )


async def _find_basics(
    ask: Ask, endpoint: Endpoint, config: RolloutWorkerConfig, model: str
) -> None:
    abilities, dialect = endpoint.abilities, endpoint.dialect
    body = basics_body(config, model)
    lists_end = LLAMA_CPP in (endpoint.owners or ())

    def read(response: Any) -> None:
        sent, asks_ids = dialect.adapt(body), config.keep_tokens
        note_basics(abilities, response, sent, lists_end=lists_end, asks_ids=asks_ids)

    try:
        await ask(body, read)
    except RequestFailedError as error:
        log.info("the server does not show what it does", error=str(error))
        return
    abilities.asked += [one for one in (Topic.BASICS,) if one not in abilities.asked]
    if config.logprobs and Topic.LOGPROBS not in abilities.asked:
        abilities.asked.append(Topic.LOGPROBS)
    if config.keep_tokens and Topic.IDS not in abilities.asked:
        abilities.asked.append(Topic.IDS)
    if "logprobs" in dialect.omitted:
        abilities.logprobs = False
    elif abilities.logprobs is False:
        dialect.leave_out_logprobs()
    if abilities.several_samples is False:
        dialect.draw_singly()


async def _find_continuing(
    ask: Ask, endpoint: Endpoint, config: RolloutWorkerConfig, model: str
) -> None:
    """Find the first way of asking with which the server continues a message.

    If the answers are unclear, choose the first way that the server accepts.

    Raises:
        BackendRefusedError: it refuses every way.
        AttemptsFailedError: all requests failed.
    """
    abilities = endpoint.abilities
    several = bool(abilities.several_samples)
    found: dict[Continuing, Continuation] = {}
    refusal: Exception | None = None
    for way in Continuation:
        try:
            body = continuing_body(config, model, way, is_several=several)
            reply = await ask(body, _read_replies)
        except (RequestFailedError, FieldRefusedError) as error:
            refusal = _about_continuing(error)  # another way may work
            continue
        found.setdefault(reply, way)
        if reply is Continuing.CONTINUED:
            break
    if isinstance(refusal, AttemptsFailedError) and not found:
        raise refusal
    if not found:
        raise restarting(endpoint, f"refuses ({refusal})")
    best = min(found, key=_BEST.index)
    abilities.continuing, abilities.continued_by = best, str(found[best])
    if Topic.CONTINUING not in abilities.asked:
        abilities.asked.append(Topic.CONTINUING)


def _about_continuing(
    error: RequestFailedError | FieldRefusedError,
) -> RequestFailedError | FieldRefusedError:
    """Return the error if it may concern only this way of continuing; raise it otherwise."""
    if isinstance(error, FieldRefusedError) and not _OF_CONTINUING & set(error.fields):
        raise error
    return error


def _read_replies(response: Any) -> Continuing:
    return read_replies([choice.said for choice in read_choices(response, ())])
