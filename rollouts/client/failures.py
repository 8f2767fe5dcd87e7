"""What can go wrong with a model server, and what that means for those who asked."""

import json
import random
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import openai

from common.text import one_line
from rollouts.client.endpoints import Endpoint, ServerAddress
from rollouts.client.transport import AnswerTooLargeError, RedirectedError
from rollouts.protocol.payloads import PayloadError, StreamedError
from rollouts.protocol.refusals import Refusal, RefusalKind, read_refusal
from rollouts.protocol.responses import ResponseError
from rollouts.protocol.waiting import seconds_to_wait

FIRST_BACKOFF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 30.0

MAX_WAIT_WITHIN_REQUEST_SECONDS = 30.0
"""Where a server asks for a longer wait, the caller waits: it can show that it does."""


class BackendError(Exception):
    """Base of what a model server can do wrong; the message is one line."""


class NotForThisWorkerError(Exception):
    """Another worker may do what this one cannot: it has another config, model or server.

    The message is one line, with what differs and the remedy. Raise it before anything is drawn:
    the job then goes back into the queue.
    """


class BackendUnavailableError(BackendError):
    """The server does not answer; trying later may help, and the tree is not to blame."""

    def __init__(
        self, message: str, *, is_busy: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.is_busy = is_busy
        """Whether it says itself that it has too much to do, whatever the request is."""
        self.retry_after = retry_after


class BackendRefusedError(BackendError):
    """The server will never do this as things are set: wrong key, wrong model, wrong address."""


class FieldRefusedError(BackendRefusedError):
    """The server does not take a field that cannot be left out without changing the samples."""

    def __init__(self, message: str, fields: Sequence[str]) -> None:
        super().__init__(message)
        self.fields = fields


class UnopenedThoughtError(BackendRefusedError):
    """The chat template opens thoughts, and did not when this job began.

    Answers from inside a thought may have been graded meanwhile.
    """


class OutageError(BackendRefusedError):
    """The server was away or busy for longer than the settings wait."""


class RequestFailedError(BackendError):
    """This request failed for good; others may work."""


class AttemptsFailedError(RequestFailedError):
    """No attempt was answered: in time, in the protocol, or without an error of the server."""


class ThoughtEndedError(RequestFailedError):
    """A step ends a thought that nothing opened: the steps before it were no answer's."""


class PromptTooLongError(RequestFailedError):
    """The prompt does not fit the model's context."""


class PromptFlaggedError(RequestFailedError):
    """A filter of the server refused this prompt; others may pass it."""


class NoModelListError(RequestFailedError):
    """The server answers, but lists no models at all."""


class LimitSpentError(BackendError):
    """The forest has used the requests, tokens or money that it may."""


class UnfitRequestError(BackendError):
    """The server says how the request must change."""

    def __init__(self, message: str, refusal: Refusal) -> None:
        super().__init__(message)
        self.refusal = refusal


class RetryableError(BackendError):
    """A failure that another attempt may mend."""

    def __init__(
        self,
        message: str,
        *,
        is_unavailable: bool = False,
        is_busy: bool = False,
        is_internal: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.is_unavailable = is_unavailable
        self.is_busy = is_busy
        self.is_internal = is_internal
        self.retry_after = retry_after

    @property
    def is_long(self) -> bool:
        """Whether the server asks for a wait that the caller should show."""
        return (self.retry_after or 0) > MAX_WAIT_WITHIN_REQUEST_SECONDS

    def wait_seconds(self, attempt: int) -> float:
        """Return what the server asked for, or twice as long each time, with jitter."""
        if self.retry_after is not None:
            return min(self.retry_after, MAX_BACKOFF_SECONDS)
        longest = min(FIRST_BACKOFF_SECONDS * 2 ** (attempt - 1), MAX_BACKOFF_SECONDS)
        return random.uniform(longest / 2, longest)

    def final(self) -> BackendError:
        if self.is_unavailable:
            return BackendUnavailableError(
                str(self), is_busy=self.is_busy, retry_after=self.retry_after
            )
        return AttemptsFailedError(str(self))


class AnsweredError(Exception):
    """A successful answer holds an error in place of its results."""

    def __init__(self, body: Any) -> None:
        super().__init__("an error inside an answer")
        self.body = body


def classify(
    error: Exception,
    endpoint: Endpoint,
    timeout_seconds: float,
    address: ServerAddress,
    asked: Mapping[str, Any],
) -> tuple[str, BackendError]:
    """Return the kind of an error, for counting, and what it means for the body that was `asked`.

    Messages are stored and shown, so a server that repeats a key finds it taken out.
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
    """Return what `classify` does where no whole answer arrived; None where one did."""
    # The library calls a refused connection a timeout too.
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
            f"{where} {error}, and nothing was sent there: where that is the model server, name it "
            f"in {address.source}"
        )
    return None


def _bad_response(error: Exception, where: str, address: ServerAddress) -> BackendError:
    if isinstance(error, StreamedError):
        return BackendRefusedError(
            f"{where} {error}: set extra_body={{'stream': False}} in the config, or "
            f"{address.source} to a server that answers at once"
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
        remedy = refusal.remedy.format(settings=address.settings, source=address.source)
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
    """Return what a wrong address usually lacks or has too much."""
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
    """Return what an error came from in the first place.

    A timeout counts as first: asyncio names the cancellation that it made as its cause.
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
