"""How many requests are in flight, and which one is sent next."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """A semaphore that serves the lowest rank first, and within a rank the first to wait.

    If the ranks are the order in which trees began, a tree's requests follow each other closely,
    while the server's cache still has its prefix. Other trees use the turns that it does not need.

    llama.cpp keeps a prefix in one slot, and computes it again if that slot is busy. For such
    servers, `spreads` serves the rank with the fewest requests in flight first.
    """

    def __init__(self, number: int, *, spreads: bool = False) -> None:
        self.spreads = spreads
        self._free = number
        self._in_flight = Counter[int]()
        self._waiting: dict[int, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def turn(self, rank: int) -> AsyncIterator[None]:
        """Wait for a turn, and keep it inside the `with` block."""
        if self._free:
            self._free -= 1
            self._in_flight[rank] += 1
        else:
            await self._wait(rank)
        try:
            yield
        finally:
            self._pass_on(rank)

    async def _wait(self, rank: int) -> None:
        coming = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(rank, deque()).append(coming)
        try:
            await coming
        except asyncio.CancelledError:
            if coming.done() and not coming.cancelled():
                self._pass_on(rank)  # cancelled after it got the turn
            raise

    def _pass_on(self, rank: int) -> None:
        self._in_flight[rank] -= 1
        if not self._in_flight[rank]:
            del self._in_flight[rank]
        while self._waiting:
            following = self._next_rank()
            coming = self._waiting[following].popleft()
            if not self._waiting[following]:
                del self._waiting[following]
            if not coming.done():
                self._in_flight[following] += 1
                coming.set_result(None)
                return
        self._free += 1

    def _next_rank(self) -> int:
        if not self.spreads:
            return min(self._waiting)
        return min(self._waiting, key=lambda rank: (self._in_flight[rank], rank))
