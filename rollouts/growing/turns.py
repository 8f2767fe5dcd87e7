"""How many requests are in flight, and which one is sent next."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from heapq import heappop, heappush
from itertools import count


class Turns:
    """A semaphore that serves the lowest rank first, and within a rank the first to wait.

    With the order in which trees began as ranks, a tree's requests follow each other closely, while
    its prefix is still in the server's cache. Other trees fill the turns that it does not need.
    """

    def __init__(self, number: int) -> None:
        self._free = number
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()

    @asynccontextmanager
    async def turn(self, rank: int) -> AsyncIterator[None]:
        """Wait for a turn, and keep it inside the `with` block."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(rank)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, rank: int) -> None:
        coming = asyncio.get_running_loop().create_future()
        heappush(self._waiting, (rank, next(self._order), coming))
        try:
            await coming
        except asyncio.CancelledError:
            if coming.done() and not coming.cancelled():
                self._pass_on()  # cancelled after it got the turn
            raise

    def _pass_on(self) -> None:
        while self._waiting:
            *_, coming = heappop(self._waiting)
            if not coming.done():
                coming.set_result(None)
                return
        self._free += 1
