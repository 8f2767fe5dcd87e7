"""Failures of model servers, by what the caller can do about them."""

import random
from collections.abc import Sequence
from typing import Any

from common.errors import UserError
from rollouts.protocol.refusals import Refusal

FIRST_BACKOFF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 30.0

MAX_WAIT_WITHIN_REQUEST_SECONDS = 30.0
"""If a server asks for a longer wait, the caller waits, because it can show the wait to users."""


class BackendError(UserError):
    """Base class for failures of model servers; the message is one line."""


class NotForThisWorkerError(UserError):
    """This worker's config, model or server does not match the forest; another worker's may.

    The message is one line and names the difference and the remedy. Raise it before any sample is
    drawn: the job then returns to the queue.
    """


class BackendUnavailableError(BackendError):
    """The server is down or busy: retrying later may help, and the tree did not cause it."""

    def __init__(
        self, message: str, *, is_busy: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.is_busy = is_busy
        """Whether the server reports overload or a rate limit, whatever the request."""
        self.retry_after = retry_after


class ModelsUnknownError(BackendUnavailableError):
    """A server sent no list of its models in time, so nothing shows which models it has."""

    def __init__(self, server: str, seconds: float) -> None:
        super().__init__(
            f"{server} sent no list of its models in {seconds:g} s, so nothing shows which model "
            "it has: check that server",
            is_busy=True,
        )


class BackendRefusedError(BackendError):
    """The server refuses every such request with these settings: wrong key, model or address."""


class FieldRefusedError(BackendRefusedError):
    """The server rejects a field that cannot be left out without changing the samples."""

    def __init__(self, message: str, fields: Sequence[str]) -> None:
        super().__init__(message)
        self.fields = fields


class UnopenedThoughtError(BackendRefusedError):
    """The chat template opens a thought, which it did not do when this job began.

    Text from inside a thought may have been graded as an answer since then.
    """


class OutageError(BackendRefusedError):
    """The server was down or busy for longer than `PRM_BACKEND_WAIT_SECONDS`."""


class RequestFailedError(BackendError):
    """This request failed permanently; other requests may work."""


class AttemptsFailedError(RequestFailedError):
    """All attempts failed: each by a timeout, an invalid response or a server error."""


class ThoughtEndedError(RequestFailedError):
    """A step ends a thought that nothing opened: the steps before it were thought, not answer."""


class PromptTooLongError(RequestFailedError):
    """The prompt does not fit the model's context."""


class PromptFlaggedError(RequestFailedError):
    """A content filter of the server refused this prompt; other prompts may pass."""


class NoModelListError(RequestFailedError):
    """The server answers, but has no list of models."""


class LimitSpentError(BackendError):
    """The forest has reached its limit of requests, tokens or money."""


class UnfitRequestError(BackendError):
    """The server refused a request that can be adapted and sent again."""

    def __init__(self, message: str, refusal: Refusal) -> None:
        super().__init__(message)
        self.refusal = refusal


class RetryableError(BackendError):
    """A failure that a retry may fix."""

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
        """Whether the server asks for a wait so long that the caller must show it."""
        return (self.retry_after or 0) > MAX_WAIT_WITHIN_REQUEST_SECONDS

    def wait_seconds(self, attempt: int) -> float:
        """Return the seconds that the server asked for, or exponential backoff with jitter."""
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
    """A response with a success status contains an error instead of results."""

    def __init__(self, body: Any) -> None:
        super().__init__("an error inside an answer")
        self.body = body
