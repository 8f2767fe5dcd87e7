"""Client of one or more model servers: one policy for retries, failures and waiting."""

import asyncio
import contextlib
import json
import math
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import aiohttp
import openai
import structlog

from forests.costs.budgets import Usage
from rollouts.client.classifying import classify, first_cause
from rollouts.client.endpoints import Endpoint, EndpointPool
from rollouts.client.failures import (
    AnsweredError,
    BackendError,
    BackendRefusedError,
    BackendUnavailableError,
    FieldRefusedError,
    ModelsUnknownError,
    NoModelListError,
    PromptTooLongError,
    RetryableError,
    UnfitRequestError,
)
from rollouts.client.server import ServerAddress
from rollouts.client.spending import Spending
from rollouts.client.transport import AnswerTooLargeError, RedirectedError
from rollouts.protocol.dialect import Fit
from rollouts.protocol.model_names import is_listed
from rollouts.protocol.payloads import read_payload
from rollouts.protocol.refusals import RefusalKind, error_in
from rollouts.protocol.responses import ResponseError
from rollouts.protocol.slots import num_slots
from rollouts.protocol.token_ids import read_ids

log = structlog.stdlib.get_logger(__name__)

Answer = TypeVar("Answer")
Reserved = TypeVar("Reserved")

# The openai library does not wrap protocol errors of its transport, nor the RecursionError of JSON
# that is nested too deep.
_ERRORS = (
    openai.OpenAIError, aiohttp.ClientError, AnswerTooLargeError, RedirectedError, ResponseError,
    AnsweredError, ValueError, RecursionError,
)  # fmt: skip
_UNREAD = (TimeoutError, AnswerTooLargeError)
"""First causes of failures where the server may have used tokens that we cannot count."""
SECONDS_BETWEEN_LOOKS_AT_MODELS = 60.0
SECONDS_TO_LIST_MODELS = 20.0
_SECONDS_UNLISTED = 1.0
"""Requests that waited for a list which did not come fail together, not one after the other."""
_NAME_THE_MODEL = "set `model` in the config to the one to use"
_PATHS_OF_SLOTS = ("//props", "//slots")
_SECONDS_FOR_SLOTS = 10.0
SESSION_HEADER = "X-Session-ID"
"""Routers such as vLLM's and NVIDIA Dynamo's send requests with one value to one replica."""
_NO_MODEL_LIST = frozenset({404, 405, 501})


class ModelWatch(Protocol):
    """Gets the models that each server lists. An error it raises ends the next request."""

    async def check(self, server: str, listed: Sequence[str] | None) -> None:
        """Compare the listed models; `listed` is None if the server does not list any."""

    async def record(self, server: str) -> None:
        """Record that requests will go to the server."""


class Budget(Protocol[Reserved]):
    """Decides when a request may be sent, and counts what it used."""

    async def reserve(self, body: Mapping[str, Any]) -> Reserved:
        """Return once the request may be sent; raises `BackendError` if it never may."""

    def settle(self, reserved: Reserved, used: Usage | None, *, is_answered: bool = False) -> None:
        """Record what a request used; None if it was sent but its answer was not fully read.

        `is_answered`: whether a model answered. If `used` then has no tokens, the server does not
        report them.
        """

    async def close(self) -> None:
        """Write pending records."""


class NoBudget:
    """Lets every request pass."""

    async def reserve(self, body: Mapping[str, Any]) -> None:
        """Return at once."""

    def settle(self, reserved: None, used: Usage | None, *, is_answered: bool = False) -> None:
        """Record nothing."""

    async def close(self) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class _Sending:
    """One request to one server."""

    endpoint: Endpoint
    path: str
    body: Mapping[str, Any]
    session: str

    @property
    def headers(self) -> Mapping[str, str]:
        return {SESSION_HEADER: self.session} if self.session else {}


class Backend:
    """Servers with the same models. Use as an async context manager."""

    def __init__(
        self,
        address: ServerAddress,
        *,
        timeout_seconds: float,
        max_attempts: int,
        needed: Collection[str] = (),
        prepare: Callable[[Endpoint, Spending], Awaitable[None]] | None = None,
    ) -> None:
        """`prepare` is called with the server before each request that `ask` sends to it."""
        self.address = address
        self.timeout_seconds = timeout_seconds
        self.max_attempts = max_attempts
        self.watch: ModelWatch | None = None
        """Checks a server's models before its first request, after an outage, and once a minute.
        None: models are not checked."""
        self.budget: Budget[Any] = NoBudget()
        self._prepare = prepare
        self._pool = EndpointPool(address, timeout_seconds, needed)

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        return self._pool.endpoints

    @property
    def most_samples(self) -> int | None:
        """Maximum samples per request, the lowest of all servers; None until one refuses more."""
        known = [one.dialect.most_samples for one in self._pool.endpoints]
        return min((most for most in known if most is not None), default=None)

    @property
    def notes(self) -> list[str]:
        """What refusals taught about the servers: omitted fields and limits, without duplicates."""
        return list(dict.fromkeys(n for one in self._pool.endpoints for n in one.dialect.notes))

    async def __aenter__(self) -> "Backend":
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.budget.close()
        finally:
            await self._pool.close()

    async def first_model(self, known: Sequence[str] = ()) -> str:
        """Return the first of the known names that the server lists, else its first model.

        Raises:
            BackendError: the server cannot be reached, refuses, or lists no models.
        """
        try:
            models = await self.list_models()
        except NoModelListError as error:
            raise NoModelListError(f"{error}; {_NAME_THE_MODEL}") from None
        if not models:
            raise BackendRefusedError(f"the model server lists no models: {_NAME_THE_MODEL}")
        listed = [model.id for model in models]
        return next((name for name in known if is_listed(name, listed)), listed[0])

    async def list_models(self, only: Endpoint | None = None) -> list[openai.types.Model]:
        """Return the models that a server lists: the cheapest test that it answers.

        `only`: ask this server; None: any.

        Raises:
            NoModelListError: the server answers but has no list of models.
            BackendError: it does not answer, or refuses.
        """
        with self._pool.pick(only) as endpoint:
            try:
                return _named([model async for model in endpoint.openai.models.list()])
            except (*_ERRORS, AttributeError, TypeError) as error:
                kind, failure = self._classify(error, endpoint, {})
                if isinstance(error, openai.APIStatusError) and error.status_code in _NO_MODEL_LIST:
                    raise NoModelListError(str(failure)) from None
                if kind == "timeout":
                    if self._pool.eject(endpoint) and only is None:
                        return await self.list_models()
                    raise ModelsUnknownError(endpoint.base_url, self.timeout_seconds) from None
                if not isinstance(failure, RetryableError):
                    raise failure from None
                if failure.is_unavailable and self._pool.eject(endpoint) and only is None:
                    return await self.list_models()
                raise failure.final() from None

    async def look_at_models(self, *, records: bool = True, needs_lists: bool = False) -> None:
        """Let the watch check all servers that answer, and record them only if all pass.

        `needs_lists`: whether a server that sends no list in time is an error. Otherwise it is left
        out, as one that is down, and checked before its first request.

        Raises:
            ModelsUnknownError: a list is needed, and did not come.
            Exception: any error that the watch raises.
        """
        endpoints = self._pool.endpoints
        found = await asyncio.gather(*map(self._list_of, endpoints), return_exceptions=True)
        told: list[tuple[Endpoint, list[str] | None]] = []
        for endpoint, models in zip(endpoints, found, strict=True):
            if not isinstance(models, BaseException):
                told.append((endpoint, _names(models)))
            elif isinstance(models, ModelsUnknownError) and not needs_lists:
                log.warning("models were not checked", error=str(models))
            elif not isinstance(models, _ERRORS):
                raise models
        if self.watch is None:
            return
        for endpoint, listed in told:
            await self.watch.check(endpoint.base_url, listed)
        for endpoint, listed in told if records else ():
            await self.watch.record(endpoint.base_url)
            _looked(endpoint, listed)

    async def told_at(self, server: str, path: str) -> Any:
        """Return the JSON that the server gives at a path, as in `ask`; None if it gives none."""
        for endpoint in self._pool.endpoints:
            if endpoint.base_url == server:
                with contextlib.suppress(*_ERRORS, TimeoutError):
                    async with asyncio.timeout(SECONDS_TO_LIST_MODELS):
                        content = await endpoint.openai.get(endpoint.url_of(path), cast_to=bytes)
                    return json.loads(content)
        return None

    async def tokenize(self, endpoint: Endpoint, prompt: str) -> tuple[int, ...] | None:
        """Return the ids into which llama.cpp tokenizes a prompt; None if it does not give them."""
        body = {"content": prompt, "add_special": True, "parse_special": True}
        with contextlib.suppress(*_ERRORS, TimeoutError):
            async with asyncio.timeout(SECONDS_TO_LIST_MODELS):
                content = await endpoint.poster.post(endpoint.url_of("//tokenize"), body, {})
            told = read_payload(content)
            return read_ids(told.get("tokens")) if isinstance(told, dict) else None
        return None

    async def _is_looked_at(self, endpoint: Endpoint, only: Endpoint | None) -> bool:
        """Let the watch check a server, and return whether to use it; False: pick another one.

        Raises:
            ModelsUnknownError: no list of its models came in time, and no other server is left.
            Exception: as `_look`.
        """
        try:
            await self._look(endpoint)
        except ModelsUnknownError:
            if not self._pool.eject(endpoint) or only:
                raise
            return False
        return True

    async def _look(self, endpoint: Endpoint) -> None:
        """Let the watch check a server before a request, if a check is due.

        Raises:
            ModelsUnknownError: no list came in time, and none since the start or the last outage.
            Exception: any error that the watch raises, and errors that show an outage.
        """
        if self.watch is None or not _is_look_due(endpoint):
            return
        async with endpoint.look:
            if not _is_look_due(endpoint):
                return
            try:
                listed = _names(await self._list_of(endpoint))
            except ModelsUnknownError as error:
                if endpoint.looked_at == -math.inf:
                    raise
                log.warning("models were not checked again", error=str(error))
                endpoint.looked_at = time.monotonic()
                return
            await self.watch.check(endpoint.base_url, listed)
            await self.watch.record(endpoint.base_url)
            _looked(endpoint, listed)

    async def models_of(self, endpoint: Endpoint) -> list[openai.types.Model] | None:
        """Return the models that a server lists; None if it has no list.

        Raises:
            ModelsUnknownError: no list came in time.
            BackendUnavailableError: it does not answer.
        """
        try:
            return await self._list_of(endpoint)
        except ModelsUnknownError:
            self._pool.eject(endpoint)
            raise
        except _ERRORS as error:
            self._pool.eject(endpoint)
            raise BackendUnavailableError(str(self._classify(error, endpoint, {})[1])) from None

    async def _list_of(self, endpoint: Endpoint) -> list[openai.types.Model] | None:
        """Return the models that a server lists; None if it has no list.

        Raises:
            ModelsUnknownError: no list came in time.
            Exception: an error of `_ERRORS` that shows an outage.
        """
        seconds = min(SECONDS_TO_LIST_MODELS, self.timeout_seconds)
        if time.monotonic() - endpoint.unlisted_at < _SECONDS_UNLISTED:
            raise ModelsUnknownError(endpoint.base_url, seconds)
        try:
            async with asyncio.timeout(seconds):
                return _named([model async for model in endpoint.openai.models.list()])
        except TimeoutError:
            raise _unlisted(endpoint, seconds) from None
        except (*_ERRORS, AttributeError, TypeError) as error:
            kind, failure = self._classify(error, endpoint, {})
            if kind == "timeout":
                raise _unlisted(endpoint, seconds) from None
            if isinstance(failure, RetryableError) and failure.is_unavailable:
                raise
            return None

    async def num_slots(self) -> int | None:
        """Return how many requests the servers process in parallel, as llama.cpp reports it.

        None if any server does not report it.
        """
        numbers = [await self._num_slots(endpoint) for endpoint in self._pool.endpoints]
        return None if None in numbers else sum(filter(None, numbers))

    async def _num_slots(self, endpoint: Endpoint) -> int | None:
        for path in _PATHS_OF_SLOTS:
            with contextlib.suppress(*_ERRORS):
                content = await endpoint.openai.get(
                    endpoint.url_of(path), cast_to=bytes, options={"timeout": _SECONDS_FOR_SLOTS}
                )
                if (number := num_slots(read_payload(content))) is not None:
                    return number
        return None

    async def ask(
        self,
        path: str,
        body: Callable[[Endpoint], Mapping[str, Any]],
        read: Callable[[Any, Endpoint], Answer],
        spending: Spending,
        only: Endpoint | None = None,
        session: str = "",
    ) -> Answer:
        """Send a request, with retries, and return what `read` makes of the response's JSON.

        Adds to `spending`. If the server rejects a field or a limit, the body is adapted and sent
        again (`rollouts.protocol.dialect`); that does not count as an attempt.

        Args:
            path: appended to the server's address, without its `/v1` if it begins with two slashes.
            body: called for each attempt, with the server.
            read: gets the JSON and the server; raises `ResponseError` if a retry may help.
            spending: counts requests, tokens, retries and failures.
            only: ask this server, and do not wait for it during an outage; None: any.
            session: requests of one session share a prefix and go to one server while it answers
                and has room. Sent as `X-Session-ID`, for routers. Empty: the least busy server.

        Raises:
            BackendError: the request failed after all retries, or a retry cannot help.
        """
        attempt, fit = 1, Fit()
        while True:
            with self._pool.pick(only, session) as endpoint:
                if not (only or await self._is_ready(endpoint, spending)):
                    continue
                sent = endpoint.dialect.adapt(body(endpoint), fit)
                sending = _Sending(endpoint, path, sent, session)
                try:
                    if not await self._is_looked_at(endpoint, only):
                        continue
                    reserved = await self.budget.reserve(sent)
                    return await self._attempt(sending, read, spending, reserved)
                except _ERRORS as error:
                    kind, failure = self._classify(error, endpoint, sent)
                spending.failures[kind] += 1
                log.info("request failed", kind=kind, attempt=attempt, error=str(failure))
                if isinstance(failure, UnfitRequestError):
                    _change(endpoint, failure, sent, fit)
                    wait = 0.0
                elif isinstance(failure, RetryableError):
                    _note_away(endpoint, kind, failure)
                    if only and failure.is_unavailable:
                        self._pool.eject(endpoint, failure.retry_after)
                        raise failure.final()
                    wait = await self._seconds_before_next(endpoint, failure, attempt)
                    attempt += 1
                else:
                    raise failure
            spending.retries += 1
            await asyncio.sleep(wait)

    async def _attempt(
        self,
        sending: _Sending,
        read: Callable[[Any, Endpoint], Answer],
        spending: Spending,
        reserved: Any,
    ) -> Answer:
        """Send one request, and report its usage to the budget, also if it fails."""
        spending.requests += 1
        used: Usage | None = None  # unknown: an answer cut short may still have cost tokens
        is_answered = False
        try:
            answer = await self._post(sending, spending)
            is_answered = True
            before = spending.usage
            try:
                return read(answer, sending.endpoint)
            finally:
                used = replace(spending.usage - before, requests=1)
        except _ERRORS as error:
            if used is None and not isinstance(first_cause(error), _UNREAD):
                used = Usage(requests=1)
            raise
        finally:
            self.budget.settle(reserved, used, is_answered=is_answered)

    async def _is_ready(self, endpoint: Endpoint, spending: Spending) -> bool:
        """Prepare a server and return whether to use it; False: pick another one.

        Raises:
            BackendError: it cannot be used, or is unavailable and no other one is left.
        """
        if self._prepare:
            try:
                await self._prepare(endpoint, spending)
            except BackendUnavailableError:
                if not self._pool.has_one_left():
                    raise
                return False
        return True

    async def _post(self, sending: _Sending, spending: Spending) -> Any:
        began = time.monotonic()
        # `bytes`: building the library's response types takes longer than the request itself.
        endpoint = sending.endpoint
        content = await endpoint.poster.post(
            endpoint.url_of(sending.path), sending.body, sending.headers
        )
        spending.add_latency(time.monotonic() - began)
        answer = read_payload(content)
        if (error := error_in(answer)) is not None:
            raise AnsweredError(error)
        return answer

    async def _seconds_before_next(
        self, endpoint: Endpoint, failure: RetryableError, attempt: int
    ) -> float:
        """Return the seconds to wait before the next attempt.

        Raises:
            BackendError: no attempts are left, or the wait is so long that the caller must show it.
        """
        others_left = failure.is_unavailable and self._pool.eject(endpoint, failure.retry_after)
        if attempt == self.max_attempts or (failure.is_long and not others_left):
            await self._find_unavailable(failure)
            raise failure.final()
        return 0.0 if others_left else failure.wait_seconds(attempt)

    async def _find_unavailable(self, failure: RetryableError) -> None:
        """Detect a FastChat that lost its workers: it answers 500 and lists no models."""
        if failure.is_internal:
            with contextlib.suppress(BackendError):
                failure.is_unavailable = not await self.list_models()

    def _classify(
        self, error: Exception, endpoint: Endpoint, sent: Mapping[str, Any]
    ) -> tuple[str, BackendError]:
        """Return the kind of an error, and the error to raise instead.

        Raise it `from None`: a traceback would show the API key if the server echoes it.
        """
        return classify(error, endpoint, self.timeout_seconds, self.address, sent)


def _is_look_due(endpoint: Endpoint) -> bool:
    return time.monotonic() - endpoint.looked_at >= SECONDS_BETWEEN_LOOKS_AT_MODELS


def _note_away(endpoint: Endpoint, kind: str, failure: RetryableError) -> None:
    """Force a new check of the models: another server may answer after an outage."""
    is_away = failure.is_unavailable and not failure.is_busy
    endpoint.was_away |= is_away
    if is_away or kind == "timeout":
        endpoint.looked_at = -math.inf


def _looked(endpoint: Endpoint, listed: list[str] | None) -> None:
    """Record the time of a check, unless the server has not loaded any model yet."""
    if listed != []:
        endpoint.looked_at = time.monotonic()


def _change(
    endpoint: Endpoint, failure: UnfitRequestError, sent: Mapping[str, Any], fit: Fit
) -> None:
    """Adapt the server's dialect, or this request only, to a refusal.

    Raises:
        BackendError: the request cannot be adapted without changing the samples.
    """
    dialect, refusal = endpoint.dialect, failure.refusal
    before = len(dialect.notes)
    problem = dialect.learn(refusal, sent, fit)
    for note in dialect.notes[before:]:
        log.warning("requests are changed", server=endpoint.base_url, note=note)
    if problem is None:
        return
    if refusal.outcome is RefusalKind.FEWER_TOKENS:
        raise PromptTooLongError(str(failure))
    raise FieldRefusedError(f"{failure} ({problem})", refusal.fields)


def _unlisted(endpoint: Endpoint, seconds: float) -> ModelsUnknownError:
    endpoint.unlisted_at = time.monotonic()
    return ModelsUnknownError(endpoint.base_url, seconds)


def _names(models: list[openai.types.Model] | None) -> list[str] | None:
    return None if models is None else [model.id for model in models]


def _named(models: list[openai.types.Model]) -> list[openai.types.Model]:
    """Return the models if all have names: the library accepts any JSON."""
    if not all(isinstance(getattr(model, "id", None), str) for model in models):
        raise ResponseError("the server lists models without names")
    return models
