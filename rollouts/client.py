"""Draw samples from model servers."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from experiment_configs.interfaces import Prompt, RolloutWorkerConfig
from forests.core.prefix import prefix_of
from rollouts.backend import Backend, Spending
from rollouts.core.completions import Completion, Ending, same_texts
from rollouts.core.responses import (
    NoSampleError,
    StopRules,
    read_completions,
    read_usage,
)
from rollouts.core.steps import ending_of, split_steps
from rollouts.endpoints import ServerAddress
from rollouts.failures import (
    BackendRefusedError,
    BackendUnavailableError,
    PromptTooLongError,
    RequestFailedError,
)

_MOST_BLANK_LINES = 4
_CONTEXT = "context"
"""Finish reason of samples that find no room in the model's context."""
_TOKENS_WITHOUT_STOP = 64
"""Tokens to ask for where the delimiter may come first, so that it cannot be a stop text. A longer
step is continued by a second request, which stops at it: more here would be thrown away."""
_TOKENS_TO_TELL = 16
"""Tokens that show whether a delimiter comes next, or the model's end."""
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


class _Ask(StrEnum):
    """What a request is for."""

    WHOLE = "whole"
    """Samples up to the end of the solution."""
    STEP = "step"
    """Steps, at whose delimiter the server stops."""
    START = "start"
    """The start of steps before which white space may come: the client cuts them."""
    TELL = "tell"
    """What comes after steps of which nothing tells how they ended."""


_STEPS = (_Ask.STEP, _Ask.START)


@dataclass(frozen=True, slots=True)
class _Open:
    """Samples that are not finished: what was written so far is the same in all."""

    ask: _Ask
    begun: list[Completion]

    @property
    def written(self) -> str:
        return self.begun[0].text


class CompletionClient:
    """Draws samples from OpenAI-compatible servers. Use as an async context manager."""

    def __init__(self, address: ServerAddress, config: RolloutWorkerConfig) -> None:
        self.config = config
        self._model = config.model
        self._owners: set[str] | None = None
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
        end stopped a sample, one more request finds out. Steps that fill the model's context get
        empty samples.

        Raises:
            BackendError: what the retries could not mend.
        """
        finished: list[Completion] = []
        nothing = Completion("", Ending.LIMIT)
        waiting = [_Open(self._first_ask(request), [nothing] * request.num_samples)]
        while waiting:
            current = waiting.pop()
            drawn = await self._draw(request, current, spending)
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
                waiting += [_Open(ask, group) for group in same_texts(samples).values()]
        return finished

    def _first_ask(self, request: SampleRequest) -> _Ask:
        if request.to_end:
            return _Ask.WHOLE
        return _Ask.START if self._sent(request.steps) != request.steps else _Ask.STEP

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
            return self._told(begun, more), None
        sample = begun.then(more)
        if not request.to_end and not sample.text.strip():
            return self._judge_blank(current.ask, sample)
        if sample.ending is Ending.UNTOLD:
            return sample, _Ask.TELL
        is_cut = sample.ending is Ending.LIMIT and sample.finish_reason != _CONTEXT
        has_more = self._tokens(request, current.ask) < self.config.max_tokens_per_step
        if current.ask is _Ask.START and is_cut and has_more:
            return sample, _Ask.STEP
        return sample, None

    def _judge_blank(self, ask: _Ask, sample: Completion) -> tuple[Completion, _Ask | None]:
        """Return the same for a sample that holds no step yet."""
        if ask is _Ask.STEP and sample.ending is Ending.STEP and self.config.api != "chat":
            if len(sample.text) <= len(self.config.step_delimiter) * _MOST_BLANK_LINES:
                return sample, _Ask.STEP
            return replace(sample, ending=Ending.LIMIT, finish_reason="blank"), None
        if ask is _Ask.STEP and sample.ending in (Ending.STEP, Ending.UNTOLD):
            # What is written without a stop text tells an end at once from a delimiter.
            return Completion("", Ending.LIMIT), _Ask.START
        is_blank = sample.ending is Ending.LIMIT and sample.finish_reason != _CONTEXT
        return (replace(sample, finish_reason="blank") if is_blank else sample), None

    def _told(self, begun: Completion, after: Completion) -> Completion:
        """Return a sample whose end was not told, by what the model writes after it.

        A delimiter is kept as it was written here; where it does not come, none is put in.
        """
        said = after.text.lstrip()
        if not said and after.ending is Ending.SOLUTION:
            return replace(begun, ending=Ending.SOLUTION)
        lead = after.text[: len(after.text) - len(said)]
        delimiter = self.config.step_delimiter
        step = split_steps(f"{begun.text}{lead}x", delimiter)[0]
        text = step if ending_of(step, delimiter) else begun.text
        return replace(begun, text=text, ending=Ending.STEP)

    def _tokens(self, request: SampleRequest, ask: _Ask) -> int:
        """Return how many tokens a sample may have in this request."""
        if request.to_end:
            return self.config.max_tokens_per_rollout
        most = self.config.max_tokens_per_step
        if ask is _Ask.STEP and self._first_ask(request) is _Ask.START:
            return max(1, most - _TOKENS_WITHOUT_STOP)
        fewer = {_Ask.START: _TOKENS_WITHOUT_STOP, _Ask.TELL: _TOKENS_TO_TELL}
        return min(most, fewer.get(ask, most))

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
            delimiter=self.config.step_delimiter if current.ask in _STEPS else None,
            is_asked=current.ask is _Ask.STEP,
            lost=steps[len(sent) :],
            echo=sent if is_chat and is_llama_cpp else "",
            lists_end=is_llama_cpp and self.config.logprobs,
            max_tokens=self._tokens(request, current.ask),
        )
        attempt = 0

        def body() -> dict[str, Any]:
            return self._body(request, current, sent, model, attempt)

        def read(response: Any) -> list[Completion]:
            nonlocal attempt
            usage = read_usage(response)
            spending.prompt_tokens += usage.prompt_tokens
            spending.completion_tokens += usage.completion_tokens
            try:
                return read_completions(response, rules)[0]
            except NoSampleError:
                attempt += 1  # the same seed would give the same
                raise

        path = "/chat/completions" if is_chat else "/completions"
        try:
            return await self._backend.ask(path, body, read, spending)
        except PromptTooLongError:
            if not steps:
                raise
            cut = Completion("", Ending.LIMIT, finish_reason=_CONTEXT)
            return [cut] * len(current.begun)

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
            "max_tokens": self._tokens(request, current.ask),
        }
        # Of a step, the delimiter is the one stop text, so that a stop is sure to mean it; the
        # others are cut here.
        stops = {_Ask.WHOLE: list(config.stop), _Ask.STEP: [config.step_delimiter]}
        if stop := stops.get(current.ask):
            body["stop"] = stop
        if config.api == "chat":
            body["messages"] = prefix_of(request.prompt, sent, "chat")
            if config.logprobs:
                body |= {"logprobs": True, "top_logprobs": 1}
            if sent:
                body |= {"continue_final_message": True, "add_generation_prompt": False}
        else:
            body["prompt"] = f"{request.prompt}{sent}"
            if config.logprobs:
                body["logprobs"] = 1
        return body | dict(config.extra_body)

    def _num_samples(self, wanted: int) -> int:
        most = self._backend.most_samples or self.config.samples_per_request
        return min(wanted, most, self.config.samples_per_request)
