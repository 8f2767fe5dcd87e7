"""Wait, together for all requests, until model servers that are down or busy answer again."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from rollouts.client.failures import (
    BackendUnavailableError,
    NoModelListError,
    OutageError,
    RequestFailedError,
)

log = structlog.stdlib.get_logger(__name__)

FIRST_WAIT_SECONDS = 1.0
MAX_WAIT_SECONDS = 15.0


class Outages:
    """Tracks how long the server has not answered; all requests share one wait."""

    def __init__(
        self,
        *,
        answers: Callable[[], Awaitable[bool]],
        show: Callable[[str], Awaitable[None]],
        longest_seconds: float,
    ) -> None:
        self._answers = answers
        """Returns whether the server has models again; raises `BackendError`."""
        self._show = show
        """Gets the reason before each wait, and an empty string after the outage."""
        self._longest_seconds = longest_seconds
        self._began: float | None = None
        self._next_wait = FIRST_WAIT_SECONDS
        self._waiting: asyncio.Future[None] | None = None
        self._is_shown = False
        self._telling: asyncio.Future[None] | None = None

    def answered(self) -> None:
        """Record that a request was answered: this ends the outage."""
        self._began = None
        self._next_wait = FIRST_WAIT_SECONDS
        if self._is_shown:
            self._is_shown = False
            self._tell("")

    async def end(self) -> None:
        """Stop waiting and clear the reason shown."""
        if self._waiting:
            self._waiting.cancel()
        if self._telling:  # a database write cannot be cancelled
            await asyncio.gather(self._telling, return_exceptions=True)
        if self._is_shown:
            self._is_shown = False
            await self._tell("")

    def _tell(self, reason: str) -> asyncio.Future[None]:
        self._telling = asyncio.ensure_future(self._show(reason))
        return asyncio.shield(self._telling)

    async def wait(self, problem: BackendUnavailableError) -> None:
        """Return when it is time to send the request again.

        Raises:
            OutageError: the outage lasted longer than the settings allow.
            BackendRefusedError: the server answers again, and refuses.
        """
        if self._waiting is None:
            self._waiting = asyncio.ensure_future(self._wait(problem))
        await asyncio.shield(self._waiting)

    async def _wait(self, problem: BackendUnavailableError) -> None:
        log.warning("model server is away", error=str(problem))
        self._began = self._began or time.monotonic()
        try:
            seconds = max(self._next_wait, problem.retry_after or 0)
            while True:
                # Show it before each wait: another process may have cleared it meanwhile.
                self._is_shown = True
                await self._tell(str(problem))
                await self._sleep(seconds, problem)
                if await self._is_back():
                    return
                seconds = self._next_wait
        finally:
            self._waiting = None
            log.info("stopped waiting for the model server")

    async def _sleep(self, seconds: float, problem: BackendUnavailableError) -> None:
        self._next_wait = min(2 * self._next_wait, MAX_WAIT_SECONDS)
        if not self._longest_seconds:
            await asyncio.sleep(seconds)
            return
        began = self._began or time.monotonic()
        left = self._longest_seconds - (time.monotonic() - began)
        await asyncio.sleep(max(0.0, min(seconds, left)))
        if seconds >= left:
            raise OutageError(
                f"no answer for {self._longest_seconds:g} s: {problem} "
                "(run again later, or raise PRM_BACKEND_WAIT_SECONDS)"
            )

    async def _is_back(self) -> bool:
        try:
            return await self._answers()
        except NoModelListError:
            return True
        except (RequestFailedError, BackendUnavailableError):
            return False


async def show_nowhere(_: str) -> None:
    """Show nothing; the reason is in the log."""
