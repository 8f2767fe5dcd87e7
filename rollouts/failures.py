"""What can go wrong with a model server, and what that means for those who asked."""

import random
from collections.abc import Mapping

import aiohttp
import openai

from experiment_configs.messages import one_line
from rollouts.core.refusals import read_refusal
from rollouts.core.responses import ResponseError
from rollouts.endpoints import ServerAddress

FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 30.0

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


class PromptTooLongError(RequestFailedError):
    """The prompt does not fit the model's context."""


class RetryableError(BackendError):
    """A failure that another attempt may mend."""

    def __init__(
        self,
        message: str,
        *,
        is_unavailable: bool = False,
        is_internal: bool = False,
        retry_after: float | None = None,
        most_samples: int | None = None,
    ) -> None:
        super().__init__(message)
        self.is_unavailable = is_unavailable
        self.is_internal = is_internal
        self.retry_after = retry_after
        self.most_samples = most_samples

    def wait_seconds(self, attempt: int) -> float:
        """Return what the server asked for, or twice as long each time, with jitter."""
        if self.retry_after is not None:
            return min(self.retry_after, LONGEST_BACKOFF_SECONDS)
        longest = min(FIRST_BACKOFF_SECONDS * 2 ** (attempt - 1), LONGEST_BACKOFF_SECONDS)
        return random.uniform(longest / 2, longest)

    def final(self) -> BackendError:
        kind = BackendUnavailableError if self.is_unavailable else RequestFailedError
        return kind(str(self))


def classify(
    error: Exception, where: str, timeout_seconds: float, address: ServerAddress
) -> tuple[str, BackendError]:
    """Return the kind of an error, for counting, and what it means.

    Messages are stored and shown, so a server that repeats the key finds it taken out.
    """
    cause = _first_cause(error)
    # The library calls a refused connection a timeout too.
    if isinstance(error, openai.APITimeoutError) and isinstance(cause, TimeoutError):
        return "timeout", RetryableError(f"no answer from {where} in {timeout_seconds:g} s")
    if isinstance(error, openai.APIConnectionError):
        return "connection", RetryableError(
            f"cannot reach the model server at {where} ({_said(str(cause), address)}): "
            f"check {address.settings}_BASE_URL",
            is_unavailable=True,
        )
    if isinstance(error, aiohttp.ClientError):
        why = error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
        return "bad_response", RetryableError(
            f"{where} did not answer with HTTP ({_said(why, address)}): "
            f"check {address.settings}_BASE_URL",
            is_unavailable=True,
        )
    if isinstance(error, openai.APIStatusError):
        return f"http_{error.status_code}", _classify_status(error, where, address)
    if isinstance(error, ResponseError):
        return "bad_response", RetryableError(address.without_key(f"{where}: {error}"))
    return "bad_response", RetryableError(f"{where} did not answer with JSON")


def _said(message: str, address: ServerAddress) -> str:
    return one_line(address.without_key(message))


def _first_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _retry_after(headers: Mapping[str, str]) -> float | None:
    try:
        return max(0.0, float(headers.get("retry-after", "")))
    except ValueError:
        return None


def _classify_status(
    error: openai.APIStatusError, where: str, address: ServerAddress
) -> BackendError:
    refusal = read_refusal(error.status_code, error.body)
    status = refusal.status
    said = f"{where} answered {error.status_code}: {_said(error.message, address)}"
    if refusal.is_too_long:
        return PromptTooLongError(said)
    if refusal.most_samples:
        return RetryableError(said, retry_after=0, most_samples=refusal.most_samples)
    if status in _REFUSING_STATUSES:
        wrong = "API_KEY" if status != 404 else "BASE_URL and `model`"  # noqa: PLR2004
        return BackendRefusedError(f"{said} (check {address.settings}_{wrong})")
    if status in _RETRYABLE_STATUSES or status >= 500:  # noqa: PLR2004
        return RetryableError(
            said,
            is_unavailable=status in _UNAVAILABLE_STATUSES,
            is_internal=status == 500,  # noqa: PLR2004
            retry_after=_retry_after(error.response.headers),
        )
    return RequestFailedError(said)
