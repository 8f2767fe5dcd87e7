"""Model servers asked as if they were one: one policy for retries, failures and waiting."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aiohttp
import openai
import structlog

from rollouts.core.latencies import bucket_of
from rollouts.core.responses import ResponseError
from rollouts.endpoints import Endpoint, EndpointPool, ServerAddress
from rollouts.failures import BackendError, BackendRefusedError, RetryableError, classify

log = structlog.stdlib.get_logger(__name__)

Answer = TypeVar("Answer")

# The library lets through what its transport finds wrong with the protocol, and JSON that is nested
# too deep.
_ERRORS = (openai.OpenAIError, aiohttp.ClientError, ResponseError, ValueError, RecursionError)


@dataclass(slots=True)
class Spending:
    """What requests have cost so far."""

    requests: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    """Failed attempts by kind."""
    latencies: Counter[str] = field(default_factory=Counter)
    """Answered requests by bucket: see `rollouts.core.latencies`."""
    seconds: float = 0.0
    """What these took together."""

    def add_latency(self, seconds: float) -> None:
        self.latencies[bucket_of(seconds)] += 1
        self.seconds += seconds


class Backend:
    """Servers with the same models. Use as an async context manager."""

    def __init__(
        self, address: ServerAddress, *, timeout_seconds: float, max_attempts: int
    ) -> None:
        self.address = address
        self.timeout_seconds = timeout_seconds
        self.max_attempts = max_attempts
        self.most_samples: int | None = None
        """The most samples of one request, once a server has refused more."""
        self._pool = EndpointPool(address, timeout_seconds)

    async def __aenter__(self) -> "Backend":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.close()

    async def first_model(self) -> str:
        """Return the name of the first model that the server lists.

        Raises:
            BackendError: the server cannot be reached, refuses, or lists none.
        """
        models = await self.list_models()
        if not models:
            raise BackendRefusedError("the model server lists no model: name the one to ask for")
        return models[0].id

    async def list_models(self) -> list[openai.types.Model]:
        """Return the server's models; the cheapest way to see that it answers.

        Raises:
            BackendError: it does not, or refuses.
        """
        with self._pool.pick() as endpoint:
            try:
                return _named([model async for model in endpoint.openai.models.list()])
            except (*_ERRORS, AttributeError, TypeError) as error:
                _, failure = self._classify(error, endpoint)
                if not isinstance(failure, RetryableError):
                    raise failure from None
                if failure.is_unavailable and self._pool.eject(endpoint):
                    return await self.list_models()
                raise failure.final() from None

    async def ask(
        self,
        path: str,
        body: Callable[[], Mapping[str, Any]],
        read: Callable[[Any], Answer],
        spending: Spending,
    ) -> Answer:
        """Return what `read` makes of the parsed JSON of a response. Adds to `spending`.

        `path` goes after the server's address, or after its host where it begins with two slashes.
        `body` is called for each attempt; `read` raises `ResponseError` where another may help.

        Raises:
            BackendError: what the retries could not mend.
        """
        for attempt in range(1, self.max_attempts + 1):
            spending.requests += 1
            began = time.monotonic()
            with self._pool.pick() as endpoint:
                try:
                    # The library's own types cost more than the request itself.
                    response = await endpoint.openai.post(
                        endpoint.url_of(path), body=body(), cast_to=object
                    )
                    spending.add_latency(time.monotonic() - began)
                    return read(response)
                except _ERRORS as error:
                    kind, failure = self._classify(error, endpoint)
                    spending.failures[kind] += 1
                    log.info("request failed", kind=kind, attempt=attempt, error=str(failure))
                    if not isinstance(failure, RetryableError):
                        raise failure from None
                    if attempt == self.max_attempts:
                        await self._find_unavailable(failure)
                        raise failure.final() from None
                    if failure.most_samples:
                        self.most_samples = failure.most_samples
                    others_left = failure.is_unavailable and self._pool.eject(endpoint)
            spending.retries += 1
            await asyncio.sleep(0 if others_left else failure.wait_seconds(attempt))
        raise AssertionError("max_attempts is at least 1")

    async def _find_unavailable(self, failure: RetryableError) -> None:
        """FastChat fails in itself when it has lost its workers; it lists no model then."""
        if failure.is_internal:
            with contextlib.suppress(BackendError):
                failure.is_unavailable = not await self.list_models()

    def _classify(self, error: Exception, endpoint: Endpoint) -> tuple[str, BackendError]:
        """Return the kind of an error, and the one to raise in its place.

        The first is not to be its cause: a traceback would show the key where a server repeats it.
        """
        return classify(error, endpoint.base_url, self.timeout_seconds, self.address)


def _named(models: list[openai.types.Model]) -> list[openai.types.Model]:
    """Return the models; the library takes any JSON for them."""
    if not all(isinstance(getattr(model, "id", None), str) for model in models):
        raise ResponseError("it lists models without names")
    return models
