"""Draw samples from model servers."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
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
    NoModelListError,
    PromptTooLongError,
    RequestFailedError,
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
from rollouts.steps.completions import Completion, Ending, same_texts
from rollouts.steps.rules import StepRule
from rollouts.strategies.base import Expansion, split_off_thought

if TYPE_CHECKING:
    from rollouts.client.backend import Budget
    from rollouts.client.endpoints import Endpoint

_MAX_BLANK_LINES = 4
_SECONDS_BETWEEN_LOOKS_AT_CLAIM = 0.25
_CONTEXT = "context"
"""Finish reason of samples that find no room in the model's context."""
_TOKENS_WITHOUT_STOP = 64
"""Tokens to ask for where the delimiter may come first, so that it cannot be a stop text. A longer
step is continued by a second request, which stops at it: more here would be thrown away."""
_TOKENS_TO_TELL = 16
"""Tokens that show whether a delimiter comes next, or the model's end."""
_ANY = "\0"
"""Stands for what was written before a delimiter, none of which is a part of it."""
_NO_STEPS_OF_THOUGHTS = (
    "the model thinks, and a thought cannot be continued over chat: use reasoning='fold', or "
    "strategy='sampled', or api='completions' with the model's chat template in the prompt, or "
    "turn thinking off by extra_body={'chat_template_kwargs': {'enable_thinking': False}}"
)
_SEEDS_APART = 1_000_003
"""What the seed of a request differs by where the first one gave no sample that can be used."""


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """Samples to draw after a prompt and the steps below it."""

    prompt: Prompt
    steps: str
    num_samples: int
    to_end: bool
    seed: int
    thought: str = ""
    """What the model thought before the steps, where the server split it off."""

    @classmethod
    def of(cls, prompt: Prompt, tree: ReasoningTree, expansion: Expansion) -> SampleRequest:
        """Return the request for what a strategy wants of a node of a tree."""
        thought, steps = split_off_thought(tree, expansion.node)
        return cls(
            prompt=prompt,
            thought=thought,
            steps=steps,
            num_samples=expansion.num_samples,
            to_end=expansion.to_end,
            seed=expansion.seed,
        )


class _Ask(StrEnum):
    """What a request is for."""

    WHOLE = "whole"
    """Samples up to the end of the solution."""
    STEP = "step"
    """Steps, at whose end the server stops, if it can: otherwise the client cuts them."""
    START = "start"
    """The start of steps before which white space may come, or a piece of steps of which the server
    never says how they end: the client cuts them."""
    THINK = "think"
    """A whole thought that the server splits off, and the first step after it."""
    THOUGHT = "thought"
    """The rest of a thought in the text, which is folded."""
    TELL = "tell"
    """What comes after steps of which nothing tells how they ended."""


_STEPS = (_Ask.STEP, _Ask.START, _Ask.THINK)
_STOPPED = (_Ask.STEP, _Ask.THOUGHT)
"""What a server is asked to stop at the end of."""


@dataclass(frozen=True, slots=True)
class _Open:
    """Samples that are not finished: what was written so far is the same in all."""

    ask: _Ask
    begun: list[Completion]
    num_asked: int = 0
    """Tokens of the same step that were asked for before, where it comes in pieces."""

    @property
    def written(self) -> str:
        return self.begun[0].text


@dataclass(slots=True)
class _Drawing:
    """Reads the answers to one request; every token that one reports is counted."""

    make_body: Callable[[int, Endpoint], Mapping[str, Any]]
    rules: Callable[[Endpoint], StopRules]
    spending: Spending
    thought_field: str = ""
    thinks: bool = False
    """Whether the server thought where a step was wanted."""
    _num_without_sample: int = 0

    def body(self, endpoint: Endpoint) -> Mapping[str, Any]:
        return self.make_body(self._num_without_sample, endpoint)

    def read(self, response: Any, endpoint: Endpoint) -> list[Completion]:
        """Return the samples; raises `ResponseError` where another attempt may help."""
        count_usage(response, self.spending)
        self.thought_field = thought_field(response)
        try:
            return read_completions(response, self.rules(endpoint))[0]
        except ThoughtInStepError:
            self.thinks = True
            return []
        except NoSampleError:
            self._num_without_sample += 1  # the same seed would give the same
            raise


def count_usage(response: Any, spending: Spending) -> None:
    """Add the tokens that a response took; raises `ResponseError` as `read_usage`."""
    usage = read_usage(response)
    spending.prompt_tokens += usage.prompt_tokens
    spending.completion_tokens += usage.completion_tokens


class _ModelWatch:
    """Compares the model that a client asks for with those of its forest."""

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
        """Return a client.

        Args:
            address: of the servers.
            config: what is asked for.
            step_rule: where steps end; None: as `config` says.
            models: those of the forest that is grown; None: any model will do.
            memory: where what servers do is kept; None: nowhere.
        """
        self.config = config
        self.step_rule = step_rule or StepRule.of(config)
        self._model: str | None = None
        self._memory = memory
        self._asks_first = False
        """Whether each server is asked what it does, before it draws its first sample."""
        self._prompt: Prompt | None = None
        """What shows whether a chat template opens thoughts; None: nobody wants to know."""
        self._opening_nothing: set[Endpoint] = set()
        """Of which the template was found to open no thought."""
        self._contradicted: set[Endpoint] = set()
        """Of which a sample contradicted what was found of thoughts, and which were asked again."""
        self._closings: defaultdict[Endpoint, ClosingWatch] = defaultdict(ClosingWatch)
        self._known: set[Endpoint] = set()
        self._kept: dict[Endpoint, dict[str, Any]] = {}
        """What the memory has of each."""
        self._doubted: set[Endpoint] = set()
        """Of which what the memory has was contradicted."""
        self._recalled: set[Endpoint] = set()
        """Of which what they do was found earlier, and may not hold any more."""
        self._locks: defaultdict[Endpoint, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._restarts: defaultdict[Endpoint, RestartWatch] = defaultdict(RestartWatch)
        self._thought_field = ""
        """Where the server puts thoughts, once it has been seen to split them off."""
        self._thinks_in_text = False
        """Whether the model has been seen to think in the text of a chat."""
        self._cuts_pieces = False
        """Whether steps are asked for in pieces and cut here: the server has been seen not to say
        which of several delimiters it met."""
        # Every command imports this module, and few ask a model: the library takes 0.6 s to import.
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
        """Ask the budget before each request from now on."""
        self._backend.budget = budget

    async def model(self) -> str:
        """Return the model to ask for.

        That is the configured one where the forest knows no other, else the first of the forest's
        that the server lists, or else the first one that it lists.

        Raises:
            BackendError: the server cannot be reached, refuses, or lists none.
        """
        named, known = self.config.model, self._models.known if self._models else []
        if self._model is None and named is not None:
            self._model = await self._named_or_allowed(named, known)
        elif self._model is None:
            self._model = await self._backend.first_model(known)
        return self._model

    async def _named_or_allowed(self, named: str, known: Sequence[str]) -> str:
        """Return the configured model, or an allowed one where only that is listed."""
        others = [name for name in known if name != named]
        if not others:
            return named
        try:
            found = await self._backend.first_model([named, *others])
        except NoModelListError:
            return named
        return found if found in others else named

    async def compare_models(self) -> None:
        """Compare what the servers have with the models of the forest; servers may be away.

        Raises: as `begin_with_models`.
        """
        await self._backend.look_at_models(records=False)

    async def begin_with_models(self) -> None:
        """The same, and record which model grows the forest, before samples are drawn.

        Servers that do not answer are compared when they do.

        Raises:
            OtherModelError: the forest is grown by another model.
            BackendError: the settings name no model, and no server tells one.
        """
        await self._backend.look_at_models()

    async def list_models(self) -> list[str]:
        """Return the names of the server's models; the cheapest way to see that it answers.

        Raises:
            BackendError: it does not, or refuses.
        """
        return [model.id for model in await self._backend.list_models()]

    async def num_slots(self) -> int | None:
        """Return how many requests the servers work on at once; None where one does not say."""
        return await self._backend.num_slots() if await self._is_of(LLAMA_CPP) else None

    @property
    def notes(self) -> list[str]:
        """What was learnt of the servers: which fields are left out, and which limits hold."""
        return self._backend.notes

    @property
    def abilities(self) -> list[tuple[str, Abilities]]:
        """What each server that was asked does, with its address."""
        asked = [one for one in self._backend.endpoints if one.abilities.asked]
        return [(one.base_url, replace(one.abilities, learnt=one.dialect.learnt)) for one in asked]

    async def find_abilities(self, spending: Spending, prompt: Prompt | None = None) -> None:
        """Find out what each server does: what the strategy needs, unless it is known already.

        A server that is away is asked when it is back, before its first sample. Over chat it
        answers the `prompt`, if there is one, to show whether its template opens a thought. That
        is asked each time: a server may be started with another template at any moment.

        Raises:
            BackendRefusedError: one cannot do what the strategy needs, or refuses every request.
            BackendUnavailableError: none answers.
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
        """Find out what a server does, before its first sample.

        Raises:
            BackendRefusedError: it cannot do what the strategy needs.
            BackendUnavailableError: it does not answer.
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
        """Return whether a server that was away may open thoughts now."""
        return endpoint.was_away and self._asks_first and self._looks_for_thoughts

    @property
    def _looks_for_thoughts(self) -> bool:
        return Topic.THOUGHT in wanted_topics(self.config) and self._prompt is not None

    async def _owners(self, endpoint: Endpoint) -> set[str] | None:
        """Return whose the server's models are; None where it is away, as the request will show."""
        try:
            return {str(model.owned_by) for model in await self._backend.list_models(endpoint)}
        except (BackendRefusedError, RequestFailedError):
            return set()  # a server need not list its models
        except BackendUnavailableError:
            return None

    async def _find_abilities(self, endpoint: Endpoint, spending: Spending) -> None:
        model, wanted = await self.model(), wanted_topics(self.config) - {Topic.THOUGHT}
        await self._recall(endpoint, model)
        while missing := wanted - set(endpoint.abilities.asked):
            if await self._claims(endpoint, model):
                await self._probe(endpoint, model, missing, spending)
                break
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS_AT_CLAIM)
            await self._recall(endpoint, model)
        if Topic.CONTINUING in wanted and (refusal := refusal_to_continue(endpoint)):
            raise refusal
        if self._looks_for_thoughts:
            await self._find_thought(endpoint, model, spending)
        if refusal := refusal_of_thoughts(endpoint, self.config):
            raise refusal
        if endpoint.abilities.thought == IN_TEXT:
            self._thinks_in_text = True
        elif endpoint.abilities.thought and endpoint.abilities.thought != UNOPENED:
            self._thought_field = endpoint.abilities.thought

    async def _find_thought(self, endpoint: Endpoint, model: str, spending: Spending) -> None:
        """Find out whether a server's template opens thoughts.

        Raises:
            UnopenedThoughtError: it does, and did not before.
            BackendError: as `rollouts.probing.asking.find_thought`.
        """
        before = endpoint.abilities.thought
        if not before or endpoint in self._recalled:  # else it was just seen where thoughts begin
            ask, prompt = self._asker(endpoint, spending), self._prompt or ""
            await find_thought(ask, endpoint, self.config, model, prompt)
        if self._memory and endpoint.abilities.thought != before:
            self._kept[endpoint] = endpoint.abilities.as_dict()
            key = self._key(endpoint, model)
            await asyncio.to_thread(self._memory.keep_learnt, key, endpoint.abilities)
        if endpoint.abilities.thought != UNOPENED:
            self._opening_nothing.add(endpoint)
        elif endpoint in self._opening_nothing:
            raise _unopened(endpoint)

    async def _recall(self, endpoint: Endpoint, model: str) -> None:
        """Take over what was found lately; what would be refused may be mended, and is not."""
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
        """Return whether a server cannot be used as the config asks, by what is known of it."""
        if endpoint.abilities.thought == UNOPENED:
            return True  # where it is mended, answers would be taken for thoughts
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
        """Return whether to ask a server what it does; False: another process is doing so."""
        if self._memory is None:
            return True
        return await asyncio.to_thread(self._memory.claim, self._key(endpoint, model))

    def _asker(self, endpoint: Endpoint, spending: Spending) -> Ask:
        """Return what asks one server."""
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
        """Return the template by which a server writes chats; empty where none is used or told."""
        if self.config.api != "chat" or not await self._is_of(LLAMA_CPP):
            return ""
        told = await self._backend.told_at(server, "//props")
        template = told.get("chat_template") if isinstance(told, dict) else None
        return template if isinstance(template, str) else ""

    async def _is_of(self, owner: str) -> bool:
        """Return whether a server says that its models are of this owner."""
        for endpoint in self._backend.endpoints:
            if endpoint.owners is None:
                endpoint.owners = await self._owners(endpoint)
        return any(owner in (endpoint.owners or ()) for endpoint in self._backend.endpoints)

    def _learnt(self, endpoint: Endpoint) -> Learnt:
        """Return what holds for all who ask; greedy samples some servers draw one at a time."""
        learnt = endpoint.dialect.learnt
        return learnt if self.config.temperature else learnt.without_samples()

    async def _keep_learnt(self) -> None:
        """Keep what was learnt of servers since they were asked what they do.

        Not what greedy samples taught: their limit would take the place of that of others.
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
        """Ask a server again what it does, before its next sample."""
        self._doubted.add(endpoint)
        self._recalled.discard(endpoint)
        self._known.discard(endpoint)
        self._restarts.pop(endpoint, None)

    def _check_opening(
        self, request: SampleRequest, steps: str, endpoint: Endpoint, drawn: Sequence[Completion]
    ) -> list[Completion]:
        """Return samples, of which those in a thought that the template opened are marked.

        Raises:
            ResponseError: they contradict what is known of the template, and it is asked again.
        """
        if not self._looks_for_thoughts or request.thought:
            return list(drawn)
        if closes_thought(steps):
            return list(drawn)
        opens = endpoint.abilities.thought == UNOPENED
        contradicting = [one for one in drawn if _contradicts(one, steps, opens=opens)]
        is_asked_again = endpoint in self._known and endpoint in self._contradicted
        if contradicting and not is_asked_again:
            # Once it has been asked again, the model itself left a mark out or wrote one too many.
            self._contradicted.add(endpoint)
            self._prompt = request.prompt
            self._doubt(endpoint)
            raise ResponseError("it may open thoughts now and not before, or the other way round")
        if self.config.strategy != "sampled":
            watch = self._closings[endpoint]
            watch.num_closing += len(contradicting)
            watch.num_ended += sum(one.ending is Ending.SOLUTION for one in drawn)
            if contradicting and watch.sees_thoughts():
                raise _unopened(endpoint)
        return [replace(one, begins_in_thought=opens and not one.thought) for one in drawn]

    def _check(self, endpoint: Endpoint, sent: str, drawn: Sequence[Completion]) -> None:
        """Look whether samples contradict what is known of the server that drew them.

        Raises:
            ResponseError: it may not continue messages any more, and is asked again.
            BackendRefusedError: it does not continue them, which was unclear.
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
            raise ResponseError("it begins messages again that it continued before")
        endpoint.abilities.continuing = Continuing.RESTARTED
        raise restarting(endpoint, "begins it again")

    async def sample(self, request: SampleRequest, spending: Spending) -> list[Completion]:
        """Return up to `num_samples` samples; servers may give fewer. Adds to `spending`.

        A blank line before a step ends it on servers that stop at the delimiter: such samples are
        continued until they hold a step. Where nothing tells whether the delimiter or the model's
        end stopped a sample, one more request finds out. Where there are several delimiters, steps
        are asked for in pieces from then on, without stop texts, and cut here. Steps that fill the
        model's context get empty samples.

        Raises:
            BackendRefusedError: the model thinks, and what was asked for cannot come after or
                without its thought.
            BackendError: what the retries could not mend.
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
        """Return the tokens that were asked for of a step which comes in pieces."""
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
        """Return how to ask for a step over chat where the model thinks before it.

        Raises:
            BackendRefusedError: the steps of the thought were wanted.
        """
        if self.config.reasoning == "grow":
            raise BackendRefusedError(_NO_STEPS_OF_THOUGHTS) from None
        return _Ask.THINK

    def _require_whole_thought(self, request: SampleRequest) -> None:
        """Raise `BackendRefusedError` where a sample is to begin inside a thought, over chat.

        Templates rewrite a message that ends there, and of a thought in a field of its own nobody
        could tell whether it has ended.
        """
        if self.config.api == "chat" and self.config.reasoning == "grow":
            is_inside = (request.thought and not request.steps) or is_thinking(request.steps)
            if is_inside:
                raise BackendRefusedError(_NO_STEPS_OF_THOUGHTS)

    def _check_thought(self, request: SampleRequest, sample: Completion) -> None:
        """Check that what comes after a sample can be asked for, as all but `sampled` will.

        Raises:
            BackendRefusedError: its thought is to be dropped.
            ThoughtEndedError: it ends a thought whose steps were taken for the answer's.
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
                "continue without its thought, so samples would not be the model's: use "
                "reasoning='fold' and leave thoughts out of exports (--thoughts drop), or "
                "strategy='sampled', or turn thinking off by "
                "extra_body={'chat_template_kwargs': {'enable_thinking': False}}"
            )
        was_closed = closes_thought(request.steps) or sample.begins_in_thought
        if was_closed or not closes_thought(request.steps + sample.text):
            return
        # Over completions whole solutions may go back as they came, thought and all.
        if request.steps or self.config.api == "chat" or self.config.strategy == "branching":
            raise ThoughtEndedError(
                "the model ends a thought that nothing opened, as where its chat template opens "
                "it: end the prompt with the opening tag (api='completions'), or let the server "
                "split thoughts off (a reasoning parser), or use strategy='sampled'"
            )

    def _is_thinking(self, request: SampleRequest, written: str = "") -> bool:
        """Return whether a sample is inside a thought that its text or the prompt opened."""
        steps = request.steps + written
        if self.config.api == "chat":
            return is_thinking(steps)
        return is_thinking(f"{request.prompt}{request.thought}{steps}")

    def _sent(self, steps: str) -> str:
        """Return steps as they are sent.

        Templates of Llama 3, Gemma and others trim a chat message, so none ends in white space.
        """
        return steps.rstrip() if self.config.api == "chat" else steps

    def _judge(
        self, request: SampleRequest, current: _Open, begun: Completion, more: Completion
    ) -> tuple[Completion, _Ask | None]:
        """Return a sample with what came, and what to ask next; None where it is finished."""
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
        """Return the same for a sample that holds text of a step."""
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
        """Return whether a step may have more tokens than it has been asked for in pieces."""
        asked = current.num_asked + self._tokens(request, current)
        return asked < self.config.max_tokens_per_step

    def _judge_thought(
        self, request: SampleRequest, current: _Open, sample: Completion
    ) -> tuple[Completion, _Ask | None]:
        """Return the same for a sample that is in the middle of a thought.

        Over chat no thought is continued: templates rewrite a message that ends in one.
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
            return sample, _Ask.START  # what comes without a stop text shows the closing mark
        return replace(sample, ending=Ending.LIMIT), None

    def _judge_blank(self, ask: _Ask, sample: Completion) -> tuple[Completion, _Ask | None]:
        """Return the same for a sample that holds no step yet."""
        if ask is _Ask.STEP and sample.ending is Ending.STEP and self.config.api != "chat":
            longest = max(map(len, self.step_rule.stops()), default=1)
            if len(sample.text) <= longest * _MAX_BLANK_LINES:
                return sample, _Ask.STEP
            return replace(sample, ending=Ending.LIMIT, finish_reason="blank"), None
        if ask is _Ask.STEP and sample.ending in (Ending.STEP, Ending.UNTOLD):
            # What is written without a stop text tells an end at once from a delimiter.
            return Completion("", Ending.LIMIT), _Ask.START
        is_blank = sample.ending is Ending.LIMIT and sample.finish_reason != _CONTEXT
        is_blank = is_blank and not sample.thought
        return (replace(sample, finish_reason="blank") if is_blank else sample), None

    def _told(self, begun: Completion, after: Completion) -> Completion:
        """Return a sample whose end was not told, by what the model writes after it.

        A delimiter is kept as it was written here; where it does not come, none is put in.
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
        """Return how many tokens a sample may have in this request."""
        if request.to_end or current.ask in (_Ask.THINK, _Ask.THOUGHT):
            return self.config.max_tokens_per_rollout
        left = max(1, self.config.max_tokens_per_step - current.num_asked)
        if not self.step_rule.stops():
            return left  # no further request could stop at the end of a step
        pieces = {
            _Ask.START: max(_TOKENS_WITHOUT_STOP, current.num_asked),
            _Ask.TELL: _TOKENS_TO_TELL,
        }
        return min(left, pieces.get(current.ask, left))

    async def _draw(
        self, request: SampleRequest, current: _Open, spending: Spending
    ) -> list[Completion]:
        """Return what comes after the samples of one group, as many as the server gives."""
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
            )

        def body(attempt: int, endpoint: Endpoint) -> Mapping[str, Any]:
            return self._body(request, current, sent, model, attempt, endpoint.abilities)

        def read(response: Any, endpoint: Endpoint) -> list[Completion]:
            drawn = drawing.read(response, endpoint)
            if drawing.thought_field and not endpoint.abilities.thought:
                endpoint.abilities.thought = drawing.thought_field
            self._check(endpoint, sent, drawn)
            return self._check_opening(request, steps, endpoint, drawn)

        drawing = _Drawing(body, rules, spending)
        path = "/chat/completions" if is_chat else "/completions"
        try:
            drawn = await self._backend.ask(path, drawing.body, read, spending)
        except PromptTooLongError:
            if not (steps or request.thought):
                raise
            cut = Completion("", Ending.LIMIT, finish_reason=_CONTEXT)
            return [cut] * len(current.begun)
        self._thought_field = drawing.thought_field or self._thought_field
        if drawing.thinks:
            raise ThoughtInStepError
        await self._compare_names(model, {one.model for one in drawn})
        return drawn

    async def _compare_names(self, model: str, answered: Collection[str]) -> None:
        """Compare what answers call a model with what the forest knows of it."""
        if self._models:
            await self._models.answered(model, answered, self._backend.look_at_models)

    def _rule(self, request: SampleRequest, current: _Open) -> StepRule | None:
        """Return where a sample is cut; None where it is not."""
        if current.ask is _Ask.THOUGHT:
            return StepRule(closing_mark(f"{request.prompt}{request.steps}{current.written}"))
        return self.step_rule if current.ask in _STEPS else None

    def _begun(self, current: _Open) -> str:
        """Return what was written of the step before: a delimiter may begin in it."""
        written = current.written
        if current.ask not in (*_STEPS, _Ask.THOUGHT):
            return ""
        if current.ask in _STEPS and current.begun[0].ending is Ending.STEP:
            return ""  # its delimiter is whole, and would be found for ever
        if current.ask is not _Ask.THOUGHT and without_thoughts(written) != written:
            return ""
        return "" if current.begun[0].begins_in_thought and current.ask in _STEPS else written

    def _echo(self, request: SampleRequest, sent: str, endpoint: Endpoint) -> str:
        """Return what a server may repeat of the message that it continues."""
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
        # Of a step, only what ends it is a stop text, so that a stop is sure to mean it; the others
        # are cut here.
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
        return body | dict(config.extra_body)

    def _messages(self, request: SampleRequest, sent: str, abilities: Abilities) -> list[Any]:
        """Return the messages of a chat, whose last one is to be continued.

        A thought goes back the way in which it came. Where no text follows it, it goes into the
        text: a server that continues an empty one would begin a new message after it.
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
    """Return the error for a server whose template opened no thought before, with the remedy."""
    return UnopenedThoughtError(
        f"the model at {endpoint.base_url} now ends thoughts that nothing opened, as where its "
        "chat template opens them: let the server split thoughts off (a reasoning parser), or use "
        "api='completions' with the model's chat template in the prompt"
    )


def _contradicts(sample: Completion, steps: str, *, opens: bool) -> bool:
    """Return whether what comes after some steps shows that the chat template opens no thought.

    Or that it does, where it is thought to open none.
    """
    closes = not sample.thought and closes_thought(steps + sample.text)
    if opens:
        return bool(sample.thought) or (sample.ending is Ending.SOLUTION and not closes)
    return closes
