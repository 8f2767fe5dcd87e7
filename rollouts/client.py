"""The only module that talks to model servers: one policy for requests, retries and failures."""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import openai

from experiment_configs.interfaces import Prompt, RolloutWorkerConfig
from experiment_configs.messages import one_line
from rollouts.core.completions import Completion, Ending
from rollouts.core.responses import ResponseError, StopRules, read_completions
from rollouts.endpoints import Endpoint, EndpointPool

FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 30.0
_MOST_BLANK_LINES = 4

_RETRYABLE_STATUSES = frozenset({408, 409, 425, 429})
_REFUSING_STATUSES = frozenset({401, 403, 404})
_UNAVAILABLE_STATUSES = frozenset({502, 503, 504})


class BackendError(Exception):
    """Base of what a model server can do wrong; the message is one line."""


class BackendUnavailableError(BackendError):
    """The server does not answer; trying later may help, and the tree is not to blame."""


class BackendRefusedError(BackendError):
    """The server will never do this as things are set: wrong key, wrong model, wrong address."""


class RequestFailedError(BackendError):
    """This request failed for good; others may work."""


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
        with self._pool.pick() as endpoint:
            try:
                return [model.id async for model in endpoint.openai.models.list()]
            except (openai.OpenAIError, ValueError, AttributeError, TypeError) as error:
                _, failure = self._classify(error, endpoint.base_url)
                if not isinstance(failure, _RetryableError):
                    raise failure from error
                if failure.is_unavailable and self._pool.eject(endpoint):
                    return await self.list_models()
                raise failure.final() from error

    async def sample(self, request: SampleRequest, spending: Spending) -> list[Completion]:
        """Return up to `num_samples` samples; servers may give fewer. Adds to `spending`.

        A blank line before a step ends it on servers that stop at the delimiter: such samples are
        continued until they hold a step.

        Raises:
            BackendError: what the retries could not mend.
        """
        finished: list[Completion] = []
        open_requests = [("", request)]
        while open_requests:
            blank, current = open_requests.pop()
            completions = [
                replace(completion, text=blank + completion.text)
                for completion in await self._sample_once(current, spending)
            ]
            finished += [c for c in completions if not _is_blank_step(c)]
            for text, number in Counter(c.text for c in completions if _is_blank_step(c)).items():
                if len(text) > len(self.config.step_delimiter) * _MOST_BLANK_LINES:
                    finished += [Completion(text, Ending.LIMIT, finish_reason="blank")] * number
                else:
                    rest = replace(request, steps=request.steps + text, num_samples=number)
                    open_requests.append((text, rest))
        return finished

    async def _sample_once(self, request: SampleRequest, spending: Spending) -> list[Completion]:
        body = self._body(request, await self.model())
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
                    response = await self._post(endpoint, body)
                    completions, usage = read_completions(response, rules)
                except (openai.OpenAIError, ResponseError, ValueError) as error:
                    kind, failure = self._classify(error, endpoint.base_url)
                    spending.failures[kind] += 1
                    if not isinstance(failure, _RetryableError):
                        raise failure from error
                    if attempt == self.config.max_attempts:
                        raise failure.final() from error
                    others_left = failure.is_unavailable and self._pool.eject(endpoint)
                else:
                    spending.prompt_tokens += usage.prompt_tokens
                    spending.completion_tokens += usage.completion_tokens
                    return completions
            spending.retries += 1
            await asyncio.sleep(0 if others_left else failure.wait_seconds(attempt))
        raise AssertionError("max_attempts is at least 1")

    async def _post(self, endpoint: Endpoint, body: dict[str, Any]) -> Any:
        """Return the parsed JSON; the library's own types cost more than the request itself."""
        path = "/chat/completions" if self.config.api == "chat" else "/completions"
        return await endpoint.openai.post(path, body=body, cast_to=object)

    def _body(self, request: SampleRequest, model: str) -> dict[str, Any]:
        config = self.config
        body: dict[str, Any] = {
            "model": model,
            "n": request.num_samples,
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

    def _classify(self, error: Exception, where: str) -> tuple[str, BackendError]:
        """Return the kind of an error, for counting, and what it means."""
        cause = _first_cause(error)
        # The library calls a refused connection a timeout too.
        if isinstance(error, openai.APITimeoutError) and isinstance(cause, TimeoutError):
            limit = self.config.request_timeout_seconds
            return "timeout", _RetryableError(f"no answer from {where} in {limit:g} s")
        if isinstance(error, openai.APIConnectionError):
            return "connection", _RetryableError(
                f"cannot reach the model server at {where} ({one_line(str(cause))}): "
                "check OPENAI_BASE_URL",
                is_unavailable=True,
            )
        if isinstance(error, openai.APIStatusError):
            return f"http_{error.status_code}", _classify_status(error, where)
        if isinstance(error, ResponseError):
            return "bad_response", _RetryableError(f"{where}: {error}")
        return "bad_response", _RetryableError(f"{where} did not answer with JSON")


class _RetryableError(BackendError):
    """A failure that another attempt may mend."""

    def __init__(
        self, message: str, *, is_unavailable: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.is_unavailable = is_unavailable
        self.retry_after = retry_after

    def wait_seconds(self, attempt: int) -> float:
        """Return what the server asked for, or twice as long each time, with jitter."""
        if self.retry_after is not None:
            return min(self.retry_after, LONGEST_BACKOFF_SECONDS)
        longest = min(FIRST_BACKOFF_SECONDS * 2 ** (attempt - 1), LONGEST_BACKOFF_SECONDS)
        return random.uniform(longest / 2, longest)

    def final(self) -> BackendError:
        kind = BackendUnavailableError if self.is_unavailable else RequestFailedError
        return kind(str(self))


def _messages(request: SampleRequest) -> list[Mapping[str, str]]:
    prompt = request.prompt
    asked: list[Mapping[str, str]] = (
        [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    )
    return [*asked, {"role": "assistant", "content": request.steps}] if request.steps else asked


def _is_blank_step(completion: Completion) -> bool:
    return completion.ending is Ending.STEP and not completion.text.strip()


def _first_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _retry_after(headers: Mapping[str, str]) -> float | None:
    try:
        return max(0.0, float(headers.get("retry-after", "")))
    except ValueError:
        return None


def _classify_status(error: openai.APIStatusError, where: str) -> BackendError:
    status = error.status_code
    said = f"{where} answered {status}: {one_line(error.message)}"
    if status in _REFUSING_STATUSES:
        setting = "OPENAI_API_KEY" if status != 404 else "OPENAI_BASE_URL and `model`"  # noqa: PLR2004
        return BackendRefusedError(f"{said} (check {setting})")
    if status in _RETRYABLE_STATUSES or status >= 500:  # noqa: PLR2004
        return _RetryableError(
            said,
            is_unavailable=status in _UNAVAILABLE_STATUSES,
            retry_after=_retry_after(error.response.headers),
        )
    return RequestFailedError(said)
