"""Draw samples from model servers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from experiment_configs.answers import (
    closes_thought,
    closing_mark,
    is_thinking,
    without_thoughts,
)
from experiment_configs.interfaces import Prompt, RolloutWorkerConfig
from forests.core.prefix import prefix_of
from rollouts.backend import Backend, Spending
from rollouts.core.completions import Completion, Ending, same_texts
from rollouts.core.probing import Continuation
from rollouts.core.responses import (
    NoSampleError,
    StopRules,
    ThoughtInStepError,
    read_completions,
    read_usage,
    thought_field,
)
from rollouts.core.steps import StepRule
from rollouts.endpoints import ServerAddress
from rollouts.failures import (
    BackendRefusedError,
    BackendUnavailableError,
    PromptTooLongError,
    RequestFailedError,
)
from rollouts.probing import find_continuation

_MOST_BLANK_LINES = 4
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

    make_body: Callable[[int], Mapping[str, Any]]
    rules: StopRules
    spending: Spending
    thought_field: str = ""
    thinks: bool = False
    """Whether the server thought where a step was wanted."""
    _num_without_sample: int = 0

    def body(self) -> Mapping[str, Any]:
        return self.make_body(self._num_without_sample)

    def read(self, response: Any) -> list[Completion]:
        """Return the samples; raises `ResponseError` where another attempt may help."""
        usage = read_usage(response)
        self.spending.prompt_tokens += usage.prompt_tokens
        self.spending.completion_tokens += usage.completion_tokens
        self.thought_field = thought_field(response)
        try:
            return read_completions(response, self.rules)[0]
        except ThoughtInStepError:
            self.thinks = True
            return []
        except NoSampleError:
            self._num_without_sample += 1  # the same seed would give the same
            raise


class CompletionClient:
    """Draws samples from OpenAI-compatible servers. Use as an async context manager."""

    def __init__(
        self,
        address: ServerAddress,
        config: RolloutWorkerConfig,
        step_rule: StepRule | None = None,
    ) -> None:
        """`step_rule`: where steps end; None: as `config` says."""
        self.config = config
        self.step_rule = step_rule or StepRule.of(config)
        self._model = config.model
        self._owners: set[str] | None = None
        self._thought_field = ""
        """Where the server puts thoughts, once it has been seen to split them off."""
        self._continuation = Continuation.FLAG
        self._thinks_in_text = False
        """Whether the model has been seen to think in the text of a chat."""
        self._cuts_pieces = False
        """Whether steps are asked for in pieces and cut here: the server has been seen not to say
        which of several delimiters it met."""
        self._backend = Backend(
            address,
            timeout_seconds=config.request_timeout_seconds,
            max_attempts=config.max_attempts,
        )

    async def __aenter__(self) -> "CompletionClient":
        return self

    async def __aexit__(self, *details: object) -> None:
        await self._backend.__aexit__(*details)

    async def model(self) -> str:
        """Return the model to ask for: the configured one, or the first that the server lists.

        Raises:
            BackendError: the server cannot be reached, refuses, or lists none.
        """
        if self._model is None:
            self._model = await self._backend.first_model()
        return self._model

    async def list_models(self) -> list[str]:
        """Return the names of the server's models; the cheapest way to see that it answers.

        Raises:
            BackendError: it does not, or refuses.
        """
        return [model.id for model in await self._backend.list_models()]

    @property
    def notes(self) -> list[str]:
        """What was learnt of the servers: which fields are left out, and which limits hold."""
        return self._backend.notes

    async def find_continuation(self, spending: Spending) -> None:
        """Find out how the server continues a chat message, for those strategies that do it.

        Raises:
            BackendRefusedError: it begins each answer from the start.
            BackendError: it does not answer.
        """
        if self.config.api != "chat" or self.config.strategy == "sampled":
            return
        await self._require_continuing()
        rules = StopRules(prefix="", stop=(), step_rule=None)

        async def ask(body: Mapping[str, Any]) -> str:
            drawing = _Drawing(lambda _: {**body, **self.config.extra_body}, rules, spending)
            (first, *_) = await self._backend.ask(
                "/chat/completions", drawing.body, drawing.read, spending
            )
            self._thought_field = drawing.thought_field or self._thought_field
            return first.text

        self._continuation = await find_continuation(ask, await self.model())

    async def _is_of(self, owner: str) -> bool:
        """Return whether the server says that its models are of this owner."""
        if self._owners is None:
            try:
                self._owners = {str(m.owned_by) for m in await self._backend.list_models()}
            except (BackendRefusedError, RequestFailedError):
                self._owners = set()  # a server need not list its models
            except BackendUnavailableError:
                return False  # the request itself shows whether the server is away
        return owner in self._owners

    async def _require_continuing(self) -> None:
        """Raise `BackendRefusedError` where the server is known not to continue chat messages."""
        if await self._is_of("fastchat"):
            raise BackendRefusedError(
                "FastChat begins a new chat message instead of continuing one: use "
                "api='completions', with the model's chat template in the prompt"
            )

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
            return _Ask.THINK
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
            RequestFailedError: it ends a thought whose steps were taken for the answer's.
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
            raise RequestFailedError(
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
            sample = replace(begun.then(more), begins_in_thought=begun.begins_in_thought)
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
            if len(sample.text) <= longest * _MOST_BLANK_LINES:
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
        if is_chat and (steps or not request.to_end):
            await self._require_continuing()
        is_llama_cpp = await self._is_of("llamacpp")
        sent = self._sent(steps)
        rules = StopRules(
            prefix=steps,
            stop=self.config.stop,
            step_rule=self._rule(request, current),
            is_asked=current.ask in _STOPPED,
            lost=steps[len(sent) :],
            begun=self._begun(current),
            echo=self._echo(request, sent) if is_chat and is_llama_cpp else "",
            sent_thought=request.thought if is_chat else "",
            lists_end=is_llama_cpp and self.config.logprobs,
            skips_thought=current.ask is _Ask.THINK,
            is_answering=is_chat and bool(steps or request.thought) and not is_thinking(steps),
            max_tokens=self._tokens(request, current),
        )
        drawing = _Drawing(
            lambda attempt: self._body(request, current, sent, model, attempt), rules, spending
        )
        path = "/chat/completions" if is_chat else "/completions"
        try:
            drawn = await self._backend.ask(path, drawing.body, drawing.read, spending)
        except PromptTooLongError:
            if not (steps or request.thought):
                raise
            cut = Completion("", Ending.LIMIT, finish_reason=_CONTEXT)
            return [cut] * len(current.begun)
        self._thought_field = drawing.thought_field or self._thought_field
        if drawing.thinks:
            raise ThoughtInStepError
        return drawn

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
        if current.ask is not _Ask.THOUGHT and without_thoughts(written) != written:
            return ""
        return "" if current.begun[0].begins_in_thought and current.ask in _STEPS else written

    def _echo(self, request: SampleRequest, sent: str) -> str:
        """Return what a server may repeat of the message that it continues."""
        content = self._messages(request, sent)[-1]["content"] if sent or request.thought else ""
        return content if isinstance(content, str) else sent

    def _body(
        self, request: SampleRequest, current: _Open, sent: str, model: str, attempt: int
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
            body["messages"] = self._messages(request, sent)
            if config.logprobs:
                body |= {"logprobs": True, "top_logprobs": 1}
            if sent or request.thought:
                body["messages"][-1] = self._continuation.mark(body["messages"][-1])
                body |= self._continuation.fields
        else:
            body["prompt"] = f"{request.prompt}{request.thought}{sent}"
            if config.logprobs:
                body["logprobs"] = 1
        return body | dict(config.extra_body)

    def _messages(self, request: SampleRequest, sent: str) -> list[Any]:
        """Return the messages of a chat, whose last one is to be continued.

        A thought goes back the way in which it came. Where no text follows it, it goes into the
        text: a server that continues an empty one would begin a new message after it.
        """
        if not request.thought:
            return list(prefix_of(request.prompt, sent, "chat"))
        if not sent:
            return list(prefix_of(request.prompt, f"<think>{request.thought}</think>", "chat"))
        before = list(prefix_of(request.prompt, "", "chat"))
        if self._thought_field == "content":
            thinking = [{"type": "text", "text": request.thought}]
            parts = [{"type": "thinking", "thinking": thinking}, {"type": "text", "text": sent}]
            return [*before, {"role": "assistant", "content": parts}]
        field = self._thought_field or "reasoning_content"
        return [*before, {"role": "assistant", "content": sent, field: request.thought}]

    def _num_samples(self, wanted: int) -> int:
        most = self._backend.most_samples or self.config.samples_per_request
        return min(wanted, most, self.config.samples_per_request)
