"""What can go wrong with a model server, and what that means for those who asked."""

import random
from collections.abc import Sequence
from typing import Any

from common.errors import UserError
from rollouts.protocol.refusals import Refusal

FIRST_BACKOFF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 30.0

MAX_WAIT_WITHIN_REQUEST_SECONDS = 30.0
"""Where a server asks for a longer wait, the caller waits: it can show that it does."""


class BackendError(UserError):
    """Base of what a model server can do wrong; the message is one line."""


class NotForThisWorkerError(UserError):
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
