"""Translate errors of the openai library and of servers into our own failures."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import openai

from common.text import one_line
from rollouts.client.endpoints import Endpoint
from rollouts.client.failures import (
    AnsweredError,
    BackendError,
    BackendRefusedError,
    PromptFlaggedError,
    PromptTooLongError,
    RequestFailedError,
    RetryableError,
    UnfitRequestError,
)
from rollouts.client.server import ServerAddress
from rollouts.client.transport import AnswerTooLargeError, RedirectedError
from rollouts.protocol.payloads import PayloadError, StreamedError
from rollouts.protocol.refusals import Refusal, RefusalKind, read_refusal
from rollouts.protocol.responses import ResponseError
from rollouts.protocol.retry_after import seconds_to_wait


def classify(
    error: Exception,
    endpoint: Endpoint,
    timeout_seconds: float,
    address: ServerAddress,
    asked: Mapping[str, Any],
) -> tuple[str, BackendError]:
    """Return the kind of an error, for counters, and the failure to raise.

    `asked`: the body of the request. Keys are removed from messages, which are stored and shown.
    """
    where = endpoint.base_url
    if (unanswered := _without_answer(error, where, timeout_seconds, address)) is not None:
        return unanswered
    if isinstance(error, openai.APIStatusError):
        status, headers = error.status_code, error.response.headers
        said = f"{where} answered {status}: {_said(error.message, address)}"
        refusal = read_refusal(status, _body_of(error), asked)
        return f"http_{status}", _failure(refusal, said, endpoint, address, headers)
    if isinstance(error, AnsweredError):
        refusal = read_refusal(HTTPStatus.OK, error.body, asked)
        words = refusal.words or json.dumps(error.body)
        said = f"{where} answered with an error ({refusal.status}): {_said(words, address)}"
        return f"error_{refusal.status}", _failure(refusal, said, endpoint, address, {})
    return "bad_response", _bad_response(error, where, address)


def _without_answer(
    error: Exception, where: str, timeout_seconds: float, address: ServerAddress
) -> tuple[str, BackendError] | None:
    """Return the result of `classify` if no whole answer arrived; None if one did."""
    # The library also reports a refused connection as a timeout.
    if isinstance(error, openai.APITimeoutError) and isinstance(first_cause(error), TimeoutError):
        return "timeout", RetryableError(f"no answer from {where} in {timeout_seconds:g} s")
    if isinstance(error, openai.APIConnectionError):
        return "connection", RetryableError(
            f"cannot reach the model server at {where} "
            f"({_said(str(first_cause(error)), address)}): check {address.source}",
            is_unavailable=True,
        )
    if isinstance(error, aiohttp.ClientError):
        why = error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
        return "bad_response", RetryableError(
            f"{where} did not answer with HTTP ({_said(why, address)}): check {address.source}",
            is_unavailable=True,
        )
    if isinstance(error, AnswerTooLargeError):
        return "too_large", RetryableError(
            f"{where} {error}: ask for fewer samples or tokens, or for no log-probabilities, in "
            f"the config, or check {address.source}"
        )
    if isinstance(error, RedirectedError):
        return "redirect", BackendRefusedError(
            f"{where} {error}, and nothing was sent there: if that is the model server, set "
            f"{address.source} to it"
        )
    return None


def _bad_response(error: Exception, where: str, address: ServerAddress) -> BackendError:
    if isinstance(error, StreamedError):
        return BackendRefusedError(
            f"{where} {error}: set extra_body={{'stream': False}} in the config, or "
            f"{address.source} to a server that answers without streaming"
        )
    if isinstance(error, PayloadError):
        return RetryableError(f"{where} {error}: check {address.source}")
    if isinstance(error, ResponseError):
        return RetryableError(address.without_key(f"{where}: {error}"))
    return RetryableError(f"{where} did not answer with JSON: check {address.source}")


def _failure(
    refusal: Refusal,
    said: str,
    endpoint: Endpoint,
    address: ServerAddress,
    headers: Mapping[str, str],
) -> BackendError:
    if refusal.outcome in _UNFIT:
        return UnfitRequestError(said, refusal)
    if refusal.outcome in _LASTING:
        return _LASTING[refusal.outcome](said)
    if refusal.outcome is RefusalKind.SETTINGS:
        remedy = refusal.remedy.format(source=address.source, key=address.source_of_key)
        return BackendRefusedError(f"{said} ({remedy}{_address_hint(refusal, endpoint)})")
    is_busy = refusal.outcome is RefusalKind.BUSY
    lower = {name.lower(): value for name, value in headers.items()}
    return RetryableError(
        said,
        is_unavailable=is_busy or refusal.outcome is RefusalKind.AWAY,
        is_busy=is_busy,
        is_internal=refusal.is_internal,
        retry_after=seconds_to_wait(lower, refusal.words, datetime.now(UTC)),
    )


def _address_hint(refusal: Refusal, endpoint: Endpoint) -> str:
    """Return a hint at the usual mistakes in an address; empty if it shows none of them."""
    path = urlsplit(endpoint.base_url).path.rstrip("/")
    if refusal.status != HTTPStatus.NOT_FOUND or re.search(r"/(v\d+\w*|deployments/[^/]+)$", path):
        return ""
    for end in ("/chat/completions", "/completions", "/models"):
        if path.endswith(end):
            return f"; the address must end before {end}"
    return "; the address of most servers ends in /v1"


def _body_of(error: openai.APIStatusError) -> Any:
    try:
        return error.response.json()
    except (ValueError, RecursionError):
        return error.response.text


def _said(message: str, address: ServerAddress) -> str:
    return one_line(address.without_key(message))


def first_cause(error: BaseException) -> BaseException:
    """Return the root cause of an error.

    A TimeoutError is a root cause: asyncio chains it to the cancellation that it made itself.
    """
    while error.__cause__ is not None and not isinstance(error, TimeoutError):
        error = error.__cause__
    return error


_UNFIT = frozenset({RefusalKind.FEWER_SAMPLES, RefusalKind.FEWER_TOKENS, RefusalKind.FIELD})
_LASTING: Mapping[RefusalKind, type[BackendError]] = {
    RefusalKind.TOO_LONG: PromptTooLongError,
    RefusalKind.FLAGGED: PromptFlaggedError,
    RefusalKind.REQUEST: RequestFailedError,
}
