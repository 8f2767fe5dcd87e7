"""The only module that talks to model servers: one policy for requests, retries and failures."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import openai

from experiment_configs.interfaces import Prompt, RolloutWorkerConfig
from rollouts.core.completions import Completion, Ending
from rollouts.core.responses import ResponseError, StopRules, read_completions
from rollouts.endpoints import Endpoint, EndpointPool
from rollouts.failures import (
    BackendError,
    BackendRefusedError,
    PromptTooLongError,
    RequestFailedError,
    RetryableError,
    classify,
)

_MOST_BLANK_LINES = 4


@dataclass(slots=True)
class Spending:
    """What requests have cost so far."""

    requests: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    """Failed attempts by kind."""


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """Samples to draw after a prompt and the steps below it."""

    prompt: Prompt
    steps: str
    num_samples: int
    to_end: bool
    seed: int


class CompletionClient:
    """Draws samples from OpenAI-compatible servers. Use as an async context manager."""

    def __init__(self, base_urls: Sequence[str], api_key: str, config: RolloutWorkerConfig) -> None:
        self.config = config
        self._model = config.model
        self._continues_messages: bool | None = None
        self._most_samples = config.samples_per_request
        self._pool = EndpointPool(base_urls, api_key, config.request_timeout_seconds)

    async def __aenter__(self) -> "CompletionClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.close()

    async def model(self) -> str:
        """Return the model to ask for: the configured one, or the first that the server lists.

        Raises:
            BackendError: the server cannot be reached, refuses, or lists none.
        """
        if self._model is None:
            names = await self.list_models()
            if not names:
                raise BackendRefusedError(
                    "the model server lists no model: set `model` in the rollout_worker_config"
                )
            self._model = names[0]
        return self._model

    async def list_models(self) -> list[str]:
        """Return the names of the server's models; the cheapest way to see that it answers.

        Raises:
            BackendError: it does not, or refuses.
        """
        return [model.id for model in await self._list_models()]

    async def _list_models(self) -> list[openai.types.Model]:
        with self._pool.pick() as endpoint:
            try:
                return [model async for model in endpoint.openai.models.list()]
            except (openai.OpenAIError, ValueError, AttributeError, TypeError) as error:
                _, failure = self._classify(error, endpoint)
                if not isinstance(failure, RetryableError):
                    raise failure from error
                if failure.is_unavailable and self._pool.eject(endpoint):
                    return await self._list_models()
                raise failure.final() from error

    async def _require_continuing(self) -> None:
        """Raise `BackendRefusedError` where the server is known not to continue chat messages."""
        if self._continues_messages is None:
            try:
                owners = {model.owned_by for model in await self._list_models()}
            except (BackendRefusedError, RequestFailedError):
                owners = set()  # a server need not list its models
            self._continues_messages = "fastchat" not in owners
        if not self._continues_messages:
            raise BackendRefusedError(
                "FastChat begins a new chat message instead of continuing one: use "
                "api='completions', with the model's chat template in the prompt"
            )

    async def sample(self, request: SampleRequest, spending: Spending) -> list[Completion]:
        """Return up to `num_samples` samples; servers may give fewer. Adds to `spending`.

        A blank line before a step ends it on servers that stop at the delimiter: such samples are
        continued until they hold a step. Steps that fill the model's context get empty samples.

        Raises:
            BackendError: what the retries could not mend.
        """
        finished: list[Completion] = []
        open_requests = [("", request)]
        while open_requests:
            blank, current = open_requests.pop()
            try:
                sampled = await self._sample_once(current, spending)
            except PromptTooLongError:
                if not current.steps:
                    raise
                sampled = [Completion("", Ending.LIMIT, finish_reason="context")]
                sampled *= current.num_samples
            completions = [replace(one, text=blank + one.text) for one in sampled]
            finished += [c for c in completions if not _is_blank_step(c)]
            for text, number in Counter(c.text for c in completions if _is_blank_step(c)).items():
                if len(text) > len(self.config.step_delimiter) * _MOST_BLANK_LINES:
                    finished += [Completion(text, Ending.LIMIT, finish_reason="blank")] * number
                else:
                    rest = replace(request, steps=request.steps + text, num_samples=number)
                    open_requests.append((text, rest))
        return finished

    async def _sample_once(self, request: SampleRequest, spending: Spending) -> list[Completion]:
        model = await self.model()
        if self.config.api == "chat" and (request.steps or not request.to_end):
            await self._require_continuing()
        rules = StopRules(
            prefix=request.steps,
            stop=self.config.stop,
            delimiter=None if request.to_end else self.config.step_delimiter,
            echo=request.steps if self.config.api == "chat" else "",
        )
        for attempt in range(1, self.config.max_attempts + 1):
            spending.requests += 1
            with self._pool.pick() as endpoint:
                try:
                    response = await self._post(endpoint, self._body(request, model))
                    completions, usage = read_completions(response, rules)
                except (openai.OpenAIError, ResponseError, ValueError) as error:
                    kind, failure = self._classify(error, endpoint)
                    spending.failures[kind] += 1
                    if not isinstance(failure, RetryableError):
                        raise failure from error
                    if attempt == self.config.max_attempts:
                        await self._find_unavailable(failure)
                        raise failure.final() from error
                    if failure.most_samples:
                        self._most_samples = failure.most_samples
                    others_left = failure.is_unavailable and self._pool.eject(endpoint)
                else:
                    spending.prompt_tokens += usage.prompt_tokens
                    spending.completion_tokens += usage.completion_tokens
                    return completions
            spending.retries += 1
            await asyncio.sleep(0 if others_left else failure.wait_seconds(attempt))
        raise AssertionError("max_attempts is at least 1")

    async def _find_unavailable(self, failure: RetryableError) -> None:
        """FastChat fails in itself when it has lost its workers; it lists no model then."""
        if failure.is_internal:
            with contextlib.suppress(BackendError):
                failure.is_unavailable = not await self.list_models()

    def _classify(self, error: Exception, endpoint: Endpoint) -> tuple[str, BackendError]:
        return classify(error, endpoint.base_url, self.config.request_timeout_seconds)

    async def _post(self, endpoint: Endpoint, body: dict[str, Any]) -> Any:
        """Return the parsed JSON; the library's own types cost more than the request itself."""
        path = "/chat/completions" if self.config.api == "chat" else "/completions"
        return await endpoint.openai.post(path, body=body, cast_to=object)

    def _body(self, request: SampleRequest, model: str) -> dict[str, Any]:
        config = self.config
        body: dict[str, Any] = {
            "model": model,
            "n": min(request.num_samples, self._most_samples),
            "temperature": config.temperature,
            "top_p": config.top_p,
            "seed": request.seed,
            "max_tokens": (
                config.max_tokens_per_rollout if request.to_end else config.max_tokens_per_step
            ),
        }
        # Of a step, the delimiter is the one stop text, so that a stop is sure to mean it; the
        # others are cut here.
        if stop := list(config.stop) if request.to_end else [config.step_delimiter]:
            body["stop"] = stop
        if config.api == "chat":
            body["messages"] = _messages(request)
            if config.logprobs:
                body |= {"logprobs": True, "top_logprobs": 1}
            if request.steps:
                body |= {"continue_final_message": True, "add_generation_prompt": False}
        else:
            body["prompt"] = f"{request.prompt}{request.steps}"
            if config.logprobs:
                body["logprobs"] = 1
        return body | dict(config.extra_body)


def _messages(request: SampleRequest) -> list[Mapping[str, str]]:
    prompt = request.prompt
    asked: list[Mapping[str, str]] = (
        [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    )
    return [*asked, {"role": "assistant", "content": request.steps}] if request.steps else asked


def _is_blank_step(completion: Completion) -> bool:
    return completion.ending is Ending.STEP and not completion.text.strip()
