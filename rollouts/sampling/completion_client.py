"""Draw samples from model servers."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any

from experiment_configs.answers import (
    closes_thought,
    closing_mark,
    is_thinking,
    without_thoughts,
)
from experiment_configs.interfaces import Prompt, RolloutWorkerConfig
from forests.core.abilities import IN_TEXT, UNOPENED, Abilities, Continuing, EndTold, Learnt
from forests.core.prefix import prefix_of
from forests.core.tree import ReasoningTree
from rollouts.client.failures import (
    BackendRefusedError,
    BackendUnavailableError,
    ModelsUnknownError,
    NoModelListError,
    PromptTooLongError,
    ThoughtEndedError,
    UnopenedThoughtError,
)
from rollouts.client.server import ServerAddress
from rollouts.client.spending import Spending
from rollouts.probing.asking import (
    LLAMA_CPP,
    Ask,
    find_abilities,
    find_thought,
    refusal_of_thoughts,
    refusal_to_continue,
    refusal_to_keep_tokens,
    restarting,
)
from rollouts.probing.identity import ForestModels
from rollouts.probing.memory import Memory, ServerKey
from rollouts.probing.probes import ClosingWatch, Continuation, RestartWatch, Topic, wanted_topics
from rollouts.protocol.responses import (
    NoSampleError,
    ResponseError,
    StopRules,
    ThoughtInStepError,
    read_completions,
    read_usage,
    thought_field,
)
from rollouts.protocol.token_ids import ASK_FOR_IDS
from rollouts.steps.completions import Completion, Ending, same_texts
from rollouts.steps.rules import StepRule
from rollouts.strategies.base import Expansion, split_off_thought

if TYPE_CHECKING:
    from rollouts.client.backend import Budget
    from rollouts.client.endpoints import Endpoint

_MAX_BLANK_LINES = 4
_SECONDS_BETWEEN_LOOKS_AT_CLAIM = 0.25
_CONTEXT = "context"
"""Finish reason of samples for which the context has no room."""
_TOKENS_WITHOUT_STOP = 64
"""Tokens to request if the answer may begin with the delimiter, which then cannot be a stop text. A
second request with the stop text continues longer steps, so more tokens here would be wasted."""
_TOKENS_TO_TELL = 16
"""Tokens that show whether a delimiter follows, or the end of the answer."""
_ANY = "\0"
"""Placeholder for text before a delimiter that cannot be a part of it."""
_NO_STEPS_OF_THOUGHTS = (
    "the model thinks, and a thought cannot be continued over chat: use reasoning='fold', or "
    "strategy='sampled', or api='completions' with the model's chat template in the prompt, or "
    "turn thinking off with extra_body={'chat_template_kwargs': {'enable_thinking': False}}"
)
_SEEDS_APART = 1_000_003
"""Added to the seed after each response without a usable sample."""


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """Samples to draw after a prompt and the steps of a path."""

    prompt: Prompt
    steps: str
    num_samples: int
    to_end: bool
    seed: int
    thought: str = ""
    """The thought before the steps, if the server split it off."""
    session: str = ""
    """Requests of one session share a prefix and should reach one server."""

    @classmethod
    def of(
        cls, prompt: Prompt, tree: ReasoningTree, expansion: Expansion, session: str = ""
    ) -> SampleRequest:
        """Return the request for an expansion of a tree."""
        thought, steps = split_off_thought(tree, expansion.node)
        return cls(
            prompt=prompt,
            thought=thought,
            steps=steps,
            num_samples=expansion.num_samples,
            to_end=expansion.to_end,
            seed=expansion.seed,
            session=session,
        )


class _Ask(StrEnum):
    """The purpose of a request."""

    WHOLE = "whole"
    """Samples up to the end of the solution."""
    STEP = "step"
    """Steps with stop texts at their end if possible; otherwise the client cuts them."""
    START = "start"
    """The start of steps that may begin with white space, or a piece of a step if the server does
    not show how steps end. Without stop texts: the client cuts the text."""
    THINK = "think"
    """A whole thought that the server splits off, and the first step after it."""
    THOUGHT = "thought"
    """The rest of a thought in the text, which becomes a single node."""
    TELL = "tell"
    """The text after steps whose ending is unknown, to find out how they ended."""


_STEPS = (_Ask.STEP, _Ask.START, _Ask.THINK)
_STOPPED = (_Ask.STEP, _Ask.THOUGHT)
"""Requests with stop texts at the end of the step or thought."""


@dataclass(frozen=True, slots=True)
class _Open:
    """Unfinished samples with the same text so far."""

    ask: _Ask
    begun: list[Completion]
    num_asked: int = 0
    """Tokens already requested for the same step, if it is drawn in pieces."""

    @property
    def written(self) -> str:
        return self.begun[0].text


@dataclass(slots=True)
class _Drawing:
    """Reads the responses to one request, and counts all tokens that they report."""

    make_body: Callable[[int, Endpoint], Mapping[str, Any]]
    rules: Callable[[Endpoint], StopRules]
    spending: Spending
    thought_field: str = ""
    thinks: bool = False
    """Whether the server split off a thought in a request for a step."""
    endpoint: Endpoint | None = None
    """The server that answered."""
    prompt_tokens: int = 0
    """Tokens of the prompt, as the answer counts them."""
    _num_without_sample: int = 0

    def body(self, endpoint: Endpoint) -> Mapping[str, Any]:
        return self.make_body(self._num_without_sample, endpoint)

    def read(self, response: Any, endpoint: Endpoint) -> list[Completion]:
        """Return the samples; raises `ResponseError` if a retry may help."""
        count_usage(response, self.spending)
        self.thought_field = thought_field(response)
        try:
            drawn, usage = read_completions(response, self.rules(endpoint))
        except ThoughtInStepError:
            self.thinks = True
            return []
        except NoSampleError:
            self._num_without_sample += 1  # changes the seed: the old one would give the same again
            raise
        self.prompt_tokens = usage.prompt_tokens
        return drawn


def count_usage(response: Any, spending: Spending) -> None:
    """Add the tokens that a response used; raises `ResponseError` as `read_usage`."""
    usage = read_usage(response)
    spending.prompt_tokens += usage.prompt_tokens
    spending.completion_tokens += usage.completion_tokens
    spending.cached_tokens += usage.cached_tokens


class _ModelWatch:
    """Compares the model that a client requests with those of its forest."""

    def __init__(self, client: CompletionClient, models: ForestModels) -> None:
        self._client = client
        self._models = models

    async def check(self, server: str, listed: Sequence[str] | None) -> None:
        await self._models.check(await self._client.model(), server, listed)

    async def record(self, server: str) -> None:
        model, template = await self._client.model(), ""
        if not self._models.has_met(model, server):
            template = await self._client.served_chat_template(server)
        await self._models.record(model, server, template)


class CompletionClient:
    """Draws samples from OpenAI-compatible servers. Use as an async context manager."""

    def __init__(
        self,
        address: ServerAddress,
        config: RolloutWorkerConfig,
        step_rule: StepRule | None = None,
        models: ForestModels | None = None,
        memory: Memory | None = None,
    ) -> None:
        """Create a client.

        Args:
            address: addresses and keys of the servers.
            config: sampling parameters and strategy.
            step_rule: where steps end; None: the rule of `config`.
            models: models that may grow the forest; None: accept any model.
            memory: stores the abilities of servers; None: do not store them.
        """
        self.config = config
        self.step_rule = step_rule or StepRule.of(config)
        self._model: str | None = None
        self._memory = memory
        self._asks_first = False
        """Whether to probe each server before its first sample."""
        self._prompt: Prompt | None = None
        """The prompt that shows whether a chat template opens thoughts; None: do not test that."""
        self._opens: dict[Endpoint, bool] = {}
        """Whether each server's template opened a thought when last probed; holds until the next
        probe has ended."""
        self._contradicted: set[Endpoint] = set()
        """Servers probed again because a sample contradicted the result about thoughts."""
        self._closings: defaultdict[Endpoint, ClosingWatch] = defaultdict(ClosingWatch)
        self._known: set[Endpoint] = set()
        """Servers that are ready for samples."""
        self._kept: dict[Endpoint, dict[str, Any]] = {}
        """Abilities in the memory, by server."""
        self._doubted: set[Endpoint] = set()
        """Servers whose abilities in the memory were contradicted."""
        self._recalled: set[Endpoint] = set()
        """Servers whose abilities are from the memory, and may be outdated."""
        self._locks: defaultdict[Endpoint, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._restarts: defaultdict[Endpoint, RestartWatch] = defaultdict(RestartWatch)
        self._thought_field = ""
        """The field of split-off thoughts, once a response has had one."""
        self._thinks_in_text = False
        """Whether a thought was seen in the text of a chat answer."""
        self._cuts_pieces = False
        """Whether to draw steps in pieces and cut them here, because the server does not show which
        of several delimiters it met."""
        # The openai library takes 0.6 s to import. Every command imports this module, few need it.
        from rollouts.client.backend import Backend  # noqa: PLC0415

        self._backend = Backend(
            address,
            timeout_seconds=config.request_timeout_seconds,
            max_attempts=config.max_attempts,
            prepare=self._prepare,
        )
        self._models = models
        if models:
            self._backend.watch = _ModelWatch(self, models)

    async def __aenter__(self) -> CompletionClient:
        return self

    async def __aexit__(self, *details: object) -> None:
        try:
            await self._keep_learnt()
        finally:
            await self._backend.__aexit__(*details)

    def keep_to(self, budget: Budget[Any]) -> None:
        """Ask a budget before each further request."""
        self._backend.budget = budget

    async def model(self) -> str:
        """Return the name of the model to request.

        If the settings name a model, this is that model, unless the server lists only another model
        of the forest. Otherwise it is the first of the forest's models that the server lists, else
        the server's first model.

        Raises:
            BackendError: the server cannot be reached, refuses, or lists no models.
        """
        named, known = self.config.model, self._models.known if self._models else []
        if self._model is None and named is not None:
            self._model = await self._named_or_allowed(named, known)
        elif self._model is None:
            self._model = await self._backend.first_model(known)
        return self._model

    async def _named_or_allowed(self, named: str, known: Sequence[str]) -> str:
        """Return the configured model, or an allowed one if the server lists only that."""
        others = [name for name in known if name != named]
        if not others:
            return named
        try:
            found = await self._backend.first_model([named, *others])
        except NoModelListError:
            return named
        return found if found in others else named

    async def compare_models(self) -> None:
        """Compare the servers' models with the forest's; servers that are down are skipped.

        Raises:
            OtherModelError, BackendError: as `begin_with_models`.
        """
        await self._backend.look_at_models(records=False)

    async def begin_with_models(self) -> None:
        """Compare as `compare_models`, and record which model grows the forest.

        Call it before samples are drawn. Servers that are down are compared once they answer.

        Raises:
            OtherModelError: another model grows the forest.
            BackendError: the settings name no model, and no server lists one.
        """
        await self._backend.look_at_models()

    async def list_models(self) -> list[str]:
        """Return the names of the server's models: the cheapest test that it answers.

        Raises:
            BackendError: it does not answer, or refuses.
        """
        return [model.id for model in await self._backend.list_models()]

    async def num_slots(self) -> int | None:
        """Return how many requests the servers process in parallel; None if one does not say."""
        return await self._backend.num_slots() if await self._is_of(LLAMA_CPP) else None

    @property
    def keeps_slots(self) -> bool:
        """Whether any server keeps prefixes in slots (llama.cpp), as far as servers were asked."""
        return any(LLAMA_CPP in (one.owners or ()) for one in self._backend.endpoints)

    @property
    def notes(self) -> list[str]:
        """What refusals taught about the servers: omitted fields and limits."""
        return self._backend.notes

    @property
    def abilities(self) -> list[tuple[str, Abilities]]:
        """The address and abilities of each probed server."""
        asked = [one for one in self._backend.endpoints if one.abilities.asked]
        return [(one.base_url, replace(one.abilities, learnt=one.dialect.learnt)) for one in asked]

    async def find_abilities(self, spending: Spending, prompt: Prompt | None = None) -> None:
        """Probe the abilities that the strategy needs on each server, unless they are known.

        A server that is down is probed before its first sample. Over chat, an answer to `prompt`,
        if given, shows whether the template opens a thought. Each job tests that again, because a
        server may restart with another template at any time.

        Raises:
            BackendRefusedError: a server cannot do what the strategy needs, or refuses every
                request.
            BackendUnavailableError: no server answers.
        """
        self._asks_first = True
        self._prompt = prompt
        await self.model()
        asking = [self._prepare(endpoint, spending) for endpoint in self._backend.endpoints]
        problems = [one for one in await asyncio.gather(*asking, return_exceptions=True) if one]
        lasting = [one for one in problems if not isinstance(one, BackendUnavailableError)]
        for problem in lasting or problems:
            if lasting or not self._known:
                raise problem

    async def _prepare(self, endpoint: Endpoint, spending: Spending) -> None:
        """Probe a server before its first sample.

        Raises:
            BackendRefusedError: it cannot do what the strategy needs.
            BackendUnavailableError: it does not answer, or sends no list of its models in time.
        """
        if endpoint in self._known and not self._may_be_another(endpoint):
            return
        async with self._locks[endpoint]:
            if endpoint in self._known and not self._may_be_another(endpoint):
                return
            if endpoint.owners is None:
                endpoint.owners = await self._owners(endpoint)
            if self._asks_first:
                await self._find_abilities(endpoint, spending)
            if endpoint.was_away:
                endpoint.was_away = False
                self._contradicted.discard(endpoint)
            if self._asks_first or endpoint.owners is not None:
                self._known.add(endpoint)

    def _may_be_another(self, endpoint: Endpoint) -> bool:
        """Return whether a server must be probed for thoughts again after an outage."""
        return endpoint.was_away and self._asks_first and self._looks_for_thoughts

    @property
    def _looks_for_thoughts(self) -> bool:
        return Topic.THOUGHT in wanted_topics(self.config) and self._prompt is not None

    async def _owners(self, endpoint: Endpoint) -> set[str] | None:
        """Return `owned_by` of the server's models, if it lists any; None if it is down.

        Raises:
            ModelsUnknownError: no list came in time.
        """
        try:
            models = await self._backend.models_of(endpoint)
        except ModelsUnknownError:
            raise
        except BackendUnavailableError:
            return None
        return {str(model.owned_by) for model in models or ()}

    async def _find_abilities(self, endpoint: Endpoint, spending: Spending) -> None:
        model, wanted = await self.model(), wanted_topics(self.config) - {Topic.THOUGHT}
        await self._recall(endpoint, model)
        while missing := wanted - set(endpoint.abilities.asked):
            if await self._claims(endpoint, model):
                await self._probe(endpoint, model, missing, spending)
                break
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS_AT_CLAIM)
            await self._recall(endpoint, model)
        self._require_abilities(endpoint)
        if self._looks_for_thoughts:
            await self._find_thought(endpoint, model, spending)
        if refusal := refusal_of_thoughts(endpoint, self.config):
            raise refusal
        if endpoint.abilities.thought == IN_TEXT:
            self._thinks_in_text = True
        elif endpoint.abilities.thought and endpoint.abilities.thought != UNOPENED:
            self._thought_field = endpoint.abilities.thought

    def _require_abilities(self, endpoint: Endpoint) -> None:
        """Raise `BackendRefusedError` if a server cannot do what the config asks for."""
        refusal = refusal_to_keep_tokens(endpoint, self.config)
        if Topic.CONTINUING in wanted_topics(self.config):
            refusal = refusal_to_continue(endpoint) or refusal
        if refusal:
            raise refusal

    async def _find_thought(self, endpoint: Endpoint, model: str, spending: Spending) -> None:
        """Find out whether a server's template opens thoughts.

        Raises:
            UnopenedThoughtError: the template opens thoughts now, and did not before.
            BackendError: as `rollouts.probing.asking.find_thought`.
        """
        before = endpoint.abilities.thought
        if not before or endpoint in self._recalled:  # else the basic probe has just shown it
            ask, prompt = self._asker(endpoint, spending), self._prompt or ""
            await find_thought(ask, endpoint, self.config, model, prompt)
        if self._memory and endpoint.abilities.thought != before:
            self._kept[endpoint] = endpoint.abilities.as_dict()
            key = self._key(endpoint, model)
            await asyncio.to_thread(self._memory.keep_learnt, key, endpoint.abilities)
        opens = endpoint.abilities.thought == UNOPENED
        if opens and self._opens.get(endpoint) is False:
            raise _unopened(endpoint)
        self._opens[endpoint] = opens

    async def _recall(self, endpoint: Endpoint, model: str) -> None:
        """Take recent abilities from the memory, except those that would cause a refusal.

        Users may have fixed the cause of a refusal, so such a server is probed again.
        """
        known = None
        if self._memory and endpoint not in self._doubted:
            known = await asyncio.to_thread(self._memory.recall, self._key(endpoint, model))
        endpoint.abilities = known or Abilities()
        if self._would_refuse(endpoint):
            known, endpoint.abilities = None, Abilities()
        endpoint.dialect.recall(endpoint.abilities.learnt)
        if known:
            self._recalled.add(endpoint)
            self._kept[endpoint] = known.as_dict()

    def _would_refuse(self, endpoint: Endpoint) -> bool:
        """Return whether a server's known abilities rule out what the config asks for."""
        if refusal_to_keep_tokens(endpoint, self.config):
            return True
        if endpoint.abilities.thought == UNOPENED:
            return True  # if it has been fixed, answers would count as thoughts
        if Topic.CONTINUING not in wanted_topics(self.config):
            return False
        cannot_grow = bool(endpoint.abilities.thought) and self.config.reasoning == "grow"
        return cannot_grow or refusal_to_continue(endpoint) is not None

    async def _probe(
        self, endpoint: Endpoint, model: str, topics: Collection[Topic], spending: Spending
    ) -> None:
        ask = self._asker(endpoint, spending)
        try:
            await find_abilities(ask, endpoint, self.config, model, topics)
        except BaseException:
            if self._memory:
                await asyncio.to_thread(self._memory.give_up, self._key(endpoint, model))
            raise
        if self._memory:
            endpoint.abilities.learnt = self._learnt(endpoint)
            await asyncio.to_thread(
                self._memory.keep, self._key(endpoint, model), endpoint.abilities
            )
            self._kept[endpoint] = endpoint.abilities.as_dict()

    async def _claims(self, endpoint: Endpoint, model: str) -> bool:
        """Return whether to probe a server now; False: another process is probing it."""
        if self._memory is None:
            return True
        return await asyncio.to_thread(self._memory.claim, self._key(endpoint, model))

    def _asker(self, endpoint: Endpoint, spending: Spending) -> Ask:
        """Return a function that sends requests to one server."""
        path = "/chat/completions" if self.config.api == "chat" else "/completions"

        async def ask(body: Mapping[str, Any], read: Callable[[Any], Any]) -> Any:
            def read_counted(response: Any, _: Endpoint) -> Any:
                count_usage(response, spending)
                return read(response)

            return await self._backend.ask(path, lambda _: body, read_counted, spending, endpoint)

        return ask

    def _key(self, endpoint: Endpoint, model: str) -> ServerKey:
        return ServerKey(endpoint.base_url, model, self.config.api, self.config.extra_body)

    async def served_chat_template(self, server: str) -> str:
        """Return the server's chat template; empty if none is used or it does not report one."""
        if self.config.api != "chat" or not await self._is_of(LLAMA_CPP):
            return ""
        told = await self._backend.told_at(server, "//props")
        template = told.get("chat_template") if isinstance(told, dict) else None
        return template if isinstance(template, str) else ""

    async def _is_of(self, owner: str) -> bool:
        """Return whether any server names this owner for its models, as far as they answer."""
        for endpoint in self._backend.endpoints:
            if endpoint.owners is None:
                with contextlib.suppress(ModelsUnknownError):
                    endpoint.owners = await self._owners(endpoint)
        return any(owner in (endpoint.owners or ()) for endpoint in self._backend.endpoints)

    def _learnt(self, endpoint: Endpoint) -> Learnt:
        """Return what other clients can use: some servers limit only greedy samples to one."""
        learnt = endpoint.dialect.learnt
        return learnt if self.config.temperature else learnt.without_samples()

    async def _keep_learnt(self) -> None:
        """Store what was learnt of servers since they were probed.

        With greedy sampling, nothing is stored: a limit of greedy samples would then apply to other
        clients too.
        """
        if self._memory is None or self._model is None or not self.config.temperature:
            return
        for endpoint, kept in self._kept.items():
            endpoint.abilities.learnt = endpoint.dialect.learnt
            if self._thinks_in_text and not endpoint.abilities.thought:
                endpoint.abilities.thought = IN_TEXT
            if endpoint in self._known and endpoint.abilities.as_dict() != kept:
                await asyncio.to_thread(
                    self._memory.keep_learnt, self._key(endpoint, self._model), endpoint.abilities
                )

    def _doubt(self, endpoint: Endpoint) -> None:
        """Probe a server again before its next sample."""
        self._doubted.add(endpoint)
        self._recalled.discard(endpoint)
        self._known.discard(endpoint)
        self._restarts.pop(endpoint, None)

    def _check_opening(
        self, request: SampleRequest, steps: str, endpoint: Endpoint, drawn: Sequence[Completion]
    ) -> list[Completion]:
        """Return the samples, and mark those that begin in a thought that the template opened.

        Raises:
            ResponseError: they contradict what is known of the template; it will be probed again.
            UnopenedThoughtError: too many samples end a thought that nothing opened.
        """
        if not self._looks_for_thoughts or request.thought:
            return list(drawn)
        if closes_thought(steps):
            return list(drawn)
        opens = self._opens.get(endpoint, False)
        contradicting = [one for one in drawn if _contradicts(one, steps, opens=opens)]
        is_asked_again = endpoint in self._known and endpoint in self._contradicted
        if contradicting and not is_asked_again:
            # After the second probe, blame the model: it omitted a mark or wrote an extra one.
            self._contradicted.add(endpoint)
            self._prompt = request.prompt
            self._doubt(endpoint)
            raise ResponseError("the server's chat template may open thoughts differently now")
        if self.config.strategy != "sampled":
            watch = self._closings[endpoint]
            watch.num_closing += len(contradicting)
            watch.num_ended += sum(one.ending is Ending.SOLUTION for one in drawn)
            if contradicting and watch.sees_thoughts():
                raise _unopened(endpoint)
        return [replace(one, begins_in_thought=opens and not one.thought) for one in drawn]

    def _check(self, endpoint: Endpoint, sent: str, drawn: Sequence[Completion]) -> None:
        """Check samples against the known abilities of the server that drew them.

        Raises:
            ResponseError: the server may no longer continue messages; it will be probed again.
            BackendRefusedError: the server does not continue messages; the probe left this unclear.
        """
        name, is_recalled = endpoint.abilities.answers_as, endpoint in self._recalled
        if is_recalled and name and any(one.model not in ("", name) for one in drawn):
            self._doubt(endpoint)  # it was restarted with another model
        is_unclear = endpoint.abilities.continuing is Continuing.UNCLEAR
        is_doubted = is_recalled or endpoint not in self._known
        if self.config.api != "chat" or not (sent and self._asks_first):
            return
        if not (is_doubted or is_unclear):
            return
        if not self._restarts[endpoint].sees_restarting(sent, [one.text for one in drawn]):
            return
        if is_doubted:
            self._doubt(endpoint)
            raise ResponseError("the server restarts messages that it continued before")
        endpoint.abilities.continuing = Continuing.RESTARTED
        raise restarting(endpoint, "begins it again")

    async def sample(self, request: SampleRequest, spending: Spending) -> list[Completion]:
        """Return up to `num_samples` samples; servers may give fewer. Adds to `spending`.

        On servers that stop at the delimiter, a blank line before a step already ends the sample;
        such samples are continued until they contain a step. If the response does not show whether
        the delimiter or the model ended a sample, one more request finds out; with several
        delimiters, steps are instead drawn in pieces without stop texts, and cut here. If the steps
        fill the model's context, the samples are empty.

        Raises:
            BackendRefusedError: the model thinks, and the request does not allow for its thought.
            BackendError: the request failed after all retries, or a retry cannot help.
        """
        self._require_whole_thought(request)
        finished: list[Completion] = []
        nothing = Completion("", Ending.LIMIT, begins_in_thought=self._is_thinking(request))
        waiting = [_Open(self._first_ask(request), [nothing] * request.num_samples)]
        while waiting:
            current = waiting.pop()
            try:
                drawn = await self._draw(request, current, spending)
            except ThoughtInStepError:
                waiting.append(_Open(self._ask_of_thinker(), current.begun))
                continue
            unfinished: dict[_Ask, list[Completion]] = {}
            for begun, more in zip(current.begun, drawn, strict=False):
                sample, ask = self._judge(request, current, begun, more)
                if ask is None:
                    finished.append(sample)
                else:
                    unfinished.setdefault(ask, []).append(sample)
            if drawn and current.written and (rest := current.begun[len(drawn) :]):
                waiting.append(replace(current, begun=rest))
            for ask, samples in unfinished.items():
                for text, group in same_texts(samples).items():
                    waiting.append(_Open(ask, group, self._num_asked(request, current, ask, text)))
        return finished

    def _num_asked(self, request: SampleRequest, current: _Open, ask: _Ask, text: str) -> int:
        """Return the tokens requested so far for a step that is drawn in pieces."""
        is_piece = text and current.ask is _Ask.START and ask in (_Ask.START, _Ask.STEP)
        return current.num_asked + self._tokens(request, current) if is_piece else 0

    def _first_ask(self, request: SampleRequest) -> _Ask:
        if request.to_end:
            return _Ask.WHOLE
        thinks = self._thought_field or self._thinks_in_text
        if thinks and not (request.thought or request.steps):
            return self._ask_of_thinker() if self.config.api == "chat" else _Ask.THINK
        is_trimmed = self._sent(request.steps) != request.steps
        return _Ask.START if is_trimmed or self._cuts_pieces else _Ask.STEP

    def _ask_of_thinker(self) -> _Ask:
        """Return how to ask for a step over chat if the model thinks first.

        Raises:
            BackendRefusedError: the config wants the steps of the thought.
        """
        if self.config.reasoning == "grow":
            raise BackendRefusedError(_NO_STEPS_OF_THOUGHTS) from None
        return _Ask.THINK

    def _require_whole_thought(self, request: SampleRequest) -> None:
        """Raise `BackendRefusedError` if a sample would begin inside a thought, over chat.

        Templates rewrite messages that end inside a thought, and nothing shows whether a thought in
        a separate field has ended.
        """
        if self.config.api == "chat" and self.config.reasoning == "grow":
            is_inside = (request.thought and not request.steps) or is_thinking(request.steps)
            if is_inside:
                raise BackendRefusedError(_NO_STEPS_OF_THOUGHTS)

    def _check_thought(self, request: SampleRequest, sample: Completion) -> None:
        """Check that a sample can be continued, which all strategies but `sampled` need.

        Raises:
            BackendRefusedError: the config drops thoughts, and the sample has one.
            ThoughtEndedError: it ends a thought whose steps were counted as steps of the answer.
        """
        if self.config.strategy == "sampled":
            return
        if self.config.reasoning == "drop" and (
            sample.thought
            or is_thinking(sample.text)
            or without_thoughts(sample.text) != sample.text
            or sample.begins_in_thought
        ):
            raise BackendRefusedError(
                f"the model thinks, and with reasoning='drop' {self.config.strategy} would let it "
                "continue without its thought, which changes what it samples: use "
                "reasoning='fold' and leave thoughts out of exports (--thoughts drop), or "
                "strategy='sampled', or turn thinking off with "
                "extra_body={'chat_template_kwargs': {'enable_thinking': False}}"
            )
        was_closed = closes_thought(request.steps) or sample.begins_in_thought
        if was_closed or not closes_thought(request.steps + sample.text):
            return
        # Over completions, a whole solution is sent back unchanged, including its thought.
        if request.steps or self.config.api == "chat" or self.config.strategy == "branching":
            raise ThoughtEndedError(
                "the model ends a thought that nothing opened; its chat template may open it: "
                "end the prompt with the opening tag (api='completions'), or let the server "
                "split thoughts off (a reasoning parser), or use strategy='sampled'"
            )

    def _is_thinking(self, request: SampleRequest, written: str = "") -> bool:
        """Return whether the text so far ends inside a thought, opened by it or by the prompt."""
        steps = request.steps + written
        if self.config.api == "chat":
            return is_thinking(steps)
        return is_thinking(f"{request.prompt}{request.thought}{steps}")

    def _sent(self, steps: str) -> str:
        """Return the steps as sent: over chat without trailing white space.

        The templates of Llama 3, Gemma and others strip messages, so that white space is lost.
        """
        return steps.rstrip() if self.config.api == "chat" else steps

    def _judge(
        self, request: SampleRequest, current: _Open, begun: Completion, more: Completion
    ) -> tuple[Completion, _Ask | None]:
        """Return a sample with the new text, and the next request; None if it is finished."""
        if current.ask is _Ask.TELL:
            sample = self._told(begun, more)
        else:
            is_inside = begun.begins_in_thought or more.begins_in_thought
            sample = replace(begun.then(more), begins_in_thought=is_inside)
        self._check_thought(request, sample)
        if request.to_end:
            return sample, None
        if not sample.text.strip():
            return self._judge_blank(current.ask, sample)
        is_whole_node = self.config.api == "chat" or self.config.reasoning != "grow"
        is_cut = is_whole_node and sample.ending is not Ending.SOLUTION
        if is_cut and self._is_thinking(request, sample.text):
            return self._judge_thought(request, current, sample)
        return self._judge_step(request, current, sample)

    def _judge_step(
        self, request: SampleRequest, current: _Open, sample: Completion
    ) -> tuple[Completion, _Ask | None]:
        """Judge a sample that contains text of a step, as `_judge`."""
        if sample.ending is Ending.UNTOLD:
            if len(self.step_rule.stops()) == 1:
                return sample, _Ask.TELL
            self._cuts_pieces = True
            return Completion("", Ending.LIMIT), _Ask.START
        is_cut = sample.ending is Ending.LIMIT and sample.finish_reason != _CONTEXT
        if current.ask is _Ask.START and is_cut and self._has_more(request, current):
            return sample, _Ask.START if self._cuts_pieces else _Ask.STEP
        return sample, None

    def _has_more(self, request: SampleRequest, current: _Open) -> bool:
        """Return whether a step drawn in pieces may still get more tokens."""
        asked = current.num_asked + self._tokens(request, current)
        return asked < self.config.max_tokens_per_step

    def _judge_thought(
        self, request: SampleRequest, current: _Open, sample: Completion
    ) -> tuple[Completion, _Ask | None]:
        """Judge a sample that ends inside a thought, as `_judge`.

        Over chat a thought is never continued: templates rewrite a message that ends in one.
        """
        if self.config.api == "chat":
            if current.ask is _Ask.THINK:
                return replace(sample, ending=Ending.LIMIT), None
            self._thinks_in_text = True
            return Completion("", Ending.LIMIT), self._ask_of_thinker()
        if current.ask is not _Ask.THOUGHT and not self._is_thinking(request, current.written):
            return sample, _Ask.THOUGHT
        if current.ask in (_Ask.STEP, _Ask.START) and not current.written:
            return sample, _Ask.THOUGHT
        if current.ask is _Ask.THOUGHT and sample.ending is Ending.UNTOLD:
            return sample, _Ask.START  # a request without stop texts shows the closing mark
        return replace(sample, ending=Ending.LIMIT), None

    def _judge_blank(self, ask: _Ask, sample: Completion) -> tuple[Completion, _Ask | None]:
        """Judge a sample without a step so far, as `_judge`."""
        if ask is _Ask.STEP and sample.ending is Ending.STEP and self.config.api != "chat":
            longest = max(map(len, self.step_rule.stops()), default=1)
            if len(sample.text) <= longest * _MAX_BLANK_LINES:
                return sample, _Ask.STEP
            return replace(sample, ending=Ending.LIMIT, finish_reason="blank"), None
        if ask is _Ask.STEP and sample.ending in (Ending.STEP, Ending.UNTOLD):
            # A request without stop texts shows whether it was the end or a delimiter.
            return Completion("", Ending.LIMIT), _Ask.START
        is_blank = sample.ending is Ending.LIMIT and sample.finish_reason != _CONTEXT
        is_blank = is_blank and not sample.thought
        return (replace(sample, finish_reason="blank") if is_blank else sample), None

    def _told(self, begun: Completion, after: Completion) -> Completion:
        """Return a sample of unknown ending with the ending that its continuation shows.

        If the continuation begins with the delimiter, it is added as the continuation spells it.
        """
        if not after.text.strip() and after.ending is Ending.SOLUTION:
            return replace(begun, ending=Ending.SOLUTION)
        before = begun.text.removesuffix("\r")
        step, _ = self.step_rule.first_step(_ANY + begun.text[len(before) :] + after.text)
        delimiter = self.step_rule.ending_of(step)
        came = step.removeprefix(_ANY)
        if delimiter and not came.removesuffix(delimiter).strip():
            return replace(begun, text=before + came, ending=Ending.STEP)
        return replace(begun, ending=Ending.STEP)

    def _tokens(self, request: SampleRequest, current: _Open) -> int:
        """Return the token limit of a sample in this request."""
        if request.to_end or current.ask in (_Ask.THINK, _Ask.THOUGHT):
            return self.config.max_tokens_per_rollout
        left = max(1, self.config.max_tokens_per_step - current.num_asked)
        if not self.step_rule.stops():
            return left  # without stop texts a second request cannot stop at the end of the step
        pieces = {
            _Ask.START: max(_TOKENS_WITHOUT_STOP, current.num_asked),
            _Ask.TELL: _TOKENS_TO_TELL,
        }
        return min(left, pieces.get(current.ask, left))

    async def _draw(
        self, request: SampleRequest, current: _Open, spending: Spending
    ) -> list[Completion]:
        """Return continuations of the samples of one group, as many as the server gives."""
        steps = request.steps + current.written
        model = await self.model()
        is_chat = self.config.api == "chat"
        sent = self._sent(steps)

        def rules(endpoint: Endpoint) -> StopRules:
            is_llama_cpp = LLAMA_CPP in (endpoint.owners or ())
            return StopRules(
                prefix=steps,
                stop=self.config.stop,
                step_rule=self._rule(request, current),
                is_asked=current.ask in _STOPPED,
                lost=steps[len(sent) :],
                begun=self._begun(current),
                echo=self._echo(request, sent, endpoint) if is_chat and is_llama_cpp else "",
                sent_thought=request.thought if is_chat else "",
                lists_end=is_llama_cpp and self.config.logprobs,
                names_stop=endpoint.abilities.end_told is EndTold.BY_NAME,
                skips_thought=current.ask is _Ask.THINK,
                is_answering=is_chat and bool(steps or request.thought) and not is_thinking(steps),
                max_tokens=self._tokens(request, current),
                keeps_tokens=self.config.keep_tokens and current.ask is not _Ask.TELL,
            )

        def body(attempt: int, endpoint: Endpoint) -> Mapping[str, Any]:
            return self._body(request, current, sent, model, attempt, endpoint.abilities)

        def read(response: Any, endpoint: Endpoint) -> list[Completion]:
            drawing.endpoint = endpoint
            drawn = drawing.read(response, endpoint)
            if drawing.thought_field and not endpoint.abilities.thought:
                endpoint.abilities.thought = drawing.thought_field
            self._check(endpoint, sent, drawn)
            return self._check_opening(request, steps, endpoint, drawn)

        drawing = _Drawing(body, rules, spending)
        path = "/chat/completions" if is_chat else "/completions"
        try:
            drawn = await self._backend.ask(
                path, drawing.body, read, spending, session=request.session
            )
        except PromptTooLongError:
            if not (steps or request.thought):
                raise
            cut = Completion("", Ending.LIMIT, finish_reason=_CONTEXT)
            return [cut] * len(current.begun)
        self._thought_field = drawing.thought_field or self._thought_field
        if drawing.thinks:
            raise ThoughtInStepError
        await self._compare_names(model, {one.model for one in drawn})
        return await self._with_prompt_ids(request, sent, drawn, drawing)

    async def _with_prompt_ids(
        self, request: SampleRequest, sent: str, drawn: list[Completion], drawing: _Drawing
    ) -> list[Completion]:
        """Return samples with the ids of their prompt; ask the server for those that it left out.

        The number of ids must be the number of prompt tokens that the response reports.
        """
        lacks = any(one.kept and one.kept.prompt is None for one in drawn)
        if not lacks or drawing.endpoint is None or self.config.api == "chat":
            return drawn
        prompt = f"{request.prompt}{request.thought}{sent}"
        ids = await self._backend.tokenize(drawing.endpoint, prompt)
        if not ids or len(ids) != drawing.prompt_tokens:
            return drawn
        return [
            replace(one, kept=replace(one.kept, prompt=ids)) if one.kept else one for one in drawn
        ]

    async def _compare_names(self, model: str, answered: Collection[str]) -> None:
        """Check the names that responses give the model, and record new ones in the forest."""
        if self._models:
            look = partial(self._backend.look_at_models, needs_lists=True)
            await self._models.answered(model, answered, look)

    def _rule(self, request: SampleRequest, current: _Open) -> StepRule | None:
        """Return the rule that cuts a sample; None if the sample is not cut."""
        if current.ask is _Ask.THOUGHT:
            return StepRule(closing_mark(f"{request.prompt}{request.steps}{current.written}"))
        return self.step_rule if current.ask in _STEPS else None

    def _begun(self, current: _Open) -> str:
        """Return the text of the same step so far, in which a delimiter may begin."""
        written = current.written
        if current.ask not in (*_STEPS, _Ask.THOUGHT):
            return ""
        if current.ask in _STEPS and current.begun[0].ending is Ending.STEP:
            return ""  # it ends with a whole delimiter, which would be found again each time
        if current.ask is not _Ask.THOUGHT and without_thoughts(written) != written:
            return ""
        return "" if current.begun[0].begins_in_thought and current.ask in _STEPS else written

    def _echo(self, request: SampleRequest, sent: str, endpoint: Endpoint) -> str:
        """Return the text of the message to continue, which a server may repeat."""
        if not (sent or request.thought):
            return ""
        content = self._messages(request, sent, endpoint.abilities)[-1]["content"]
        return content if isinstance(content, str) else sent

    def _body(
        self,
        request: SampleRequest,
        current: _Open,
        sent: str,
        model: str,
        attempt: int,
        abilities: Abilities,
    ) -> dict[str, Any]:
        config = self.config
        body: dict[str, Any] = {
            "model": model,
            "n": self._num_samples(len(current.begun)),
            "temperature": config.temperature,
            "top_p": config.top_p,
            "seed": request.seed + attempt * _SEEDS_APART,
            config.max_tokens_field: self._tokens(request, current),
        }
        # For a step, send only delimiters as stop texts, so that every stop means the end of the
        # step. The config's stop texts are cut here.
        stops = list(config.stop) if current.ask is _Ask.WHOLE else []
        if current.ask in _STOPPED and (rule := self._rule(request, current)):
            stops = rule.stops()
        if stops:
            body["stop"] = stops
        if config.api == "chat":
            body["messages"] = self._messages(request, sent, abilities)
            if config.logprobs:
                body |= {"logprobs": True, "top_logprobs": 1}
            if sent or request.thought:
                way = Continuation(abilities.continued_by or Continuation.FLAG)
                body["messages"][-1] = way.mark(body["messages"][-1])
                body |= way.fields
        else:
            body["prompt"] = f"{request.prompt}{request.thought}{sent}"
            if config.logprobs:
                body["logprobs"] = 1
        if config.keep_tokens:
            body |= ASK_FOR_IDS
        return body | dict(config.extra_body)

    def _messages(self, request: SampleRequest, sent: str, abilities: Abilities) -> list[Any]:
        """Return the messages of a chat; the last one is the one to continue.

        A thought is sent in the form in which it came. If no text follows it, it is sent as text,
        because a server would not continue an empty text but begin a new message.
        """
        if not request.thought:
            return list(prefix_of(request.prompt, sent, "chat"))
        if not sent:
            return list(prefix_of(request.prompt, f"<think>{request.thought}</think>", "chat"))
        before = list(prefix_of(request.prompt, "", "chat"))
        seen = "" if abilities.thought in (IN_TEXT, UNOPENED) else abilities.thought
        field = seen or self._thought_field or "reasoning_content"
        if field == "content":
            thinking = [{"type": "text", "text": request.thought}]
            parts = [{"type": "thinking", "thinking": thinking}, {"type": "text", "text": sent}]
            return [*before, {"role": "assistant", "content": parts}]
        return [*before, {"role": "assistant", "content": sent, field: request.thought}]

    def _num_samples(self, wanted: int) -> int:
        most = self._backend.most_samples or self.config.samples_per_request
        return min(wanted, most, self.config.samples_per_request)


def _unopened(endpoint: Endpoint) -> UnopenedThoughtError:
    """Return the error, with the remedy, for a server that did not open thoughts before."""
    return UnopenedThoughtError(
        f"the model at {endpoint.base_url} now ends thoughts that nothing opened; its chat "
        "template may open them: let the server split thoughts off (a reasoning parser), or use "
        "api='completions' with the model's chat template in the prompt"
    )


def _contradicts(sample: Completion, steps: str, *, opens: bool) -> bool:
    """Return whether a sample contradicts what is known of the chat template.

    `opens`: whether the template is known to open a thought.
    """
    closes = not sample.thought and closes_thought(steps + sample.text)
    if opens:
        return bool(sample.thought) or (sample.ending is Ending.SOLUTION and not closes)
    return closes
