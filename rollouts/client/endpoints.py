"""Load balancing: a session stays on one model server, others go to the least busy one."""

import asyncio
import math
import random
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import openai

from forests.core.abilities import Abilities
from rollouts.client.affinity import Affinity
from rollouts.client.posting import Poster
from rollouts.client.server import Server, ServerAddress
from rollouts.client.transport import BoundedClient
from rollouts.protocol.dialect import Dialect

SECONDS_OF_EJECTION = 10.0


@dataclass(slots=True, eq=False)
class Endpoint:
    """One model server and its state."""

    base_url: str
    """Without its query, which may contain a key."""
    openai: openai.AsyncOpenAI
    poster: Poster
    dialect: Dialect = field(default_factory=Dialect)
    abilities: Abilities = field(default_factory=Abilities)
    owners: Collection[str] | None = None
    """`owned_by` of its models, which tells the server program. None: not asked yet."""
    outstanding: int = 0
    """Requests in flight."""
    was_away: bool = False
    """Whether it had an outage since it was probed: another server may answer now."""
    ejected_until: float = 0.0
    """Monotonic time; until then it gets requests only if no other server is left."""
    looked_at: float = -math.inf
    """Monotonic time of the last check of its models."""
    unlisted_at: float = -math.inf
    """Monotonic time when it last failed to send the list of its models in time."""
    look: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held during a check of its models."""

    def url_of(self, path: str) -> str:
        """Return the URL of a path; two slashes at its start mean outside `/v1`."""
        return (
            self.base_url.rstrip("/").removesuffix("/v1") + path[1:] if path[:2] == "//" else path
        )


class EndpointPool:
    """Servers with the same models."""

    def __init__(
        self, address: ServerAddress, timeout_seconds: float, needed: Collection[str] = ()
    ) -> None:
        self.endpoints = [_endpoint(one, timeout_seconds, needed) for one in address.servers]
        self._affinity = Affinity()

    async def close(self) -> None:
        for endpoint in self.endpoints:
            await endpoint.openai.close()

    @contextmanager
    def pick(self, only: Endpoint | None = None, session: str = "") -> Iterator[Endpoint]:
        """Use a server: `only`, or the server of the session, or the least busy one."""
        endpoint = only or self._choose(session)
        endpoint.outstanding += 1
        try:
            yield endpoint
        finally:
            endpoint.outstanding -= 1

    def _choose(self, session: str) -> Endpoint:
        """Return a server that is not ejected; if all are, the one whose ejection ends first.

        Without a session, ties are broken at random: otherwise many workers with few requests each
        would all use the first server.
        """
        if len(self.endpoints) == 1:
            return self.endpoints[0]
        now = time.monotonic()
        ready = [one for one in self.endpoints if one.ejected_until <= now]
        if not ready:
            return min(self.endpoints, key=lambda one: (one.ejected_until, one.outstanding))
        if session:
            home = self._affinity.choose(
                session, [(one.base_url, one.outstanding) for one in ready]
            )
            return next(one for one in ready if one.base_url == home)
        return min(random.sample(ready, len(ready)), key=lambda one: one.outstanding)

    def eject(self, endpoint: Endpoint, seconds: float | None = None) -> bool:
        """Send no requests to a server for at least `seconds`.

        Returns whether another server is left.
        """
        endpoint.ejected_until = time.monotonic() + max(SECONDS_OF_EJECTION, seconds or 0)
        return self.has_one_left()

    def has_one_left(self) -> bool:
        """Return whether any server is not ejected."""
        return any(one.ejected_until <= time.monotonic() for one in self.endpoints)


def _endpoint(server: Server, timeout_seconds: float, needed: Collection[str]) -> Endpoint:
    # Takes half the processor time of the library's default client: see docs/benchmarks.md.
    http = BoundedClient()
    client = openai.AsyncOpenAI(
        base_url=server.address,
        api_key=server.api_key or "none",  # the library requires one, local servers do not
        organization=server.organization or None,
        default_headers=server.headers,
        default_query=server.query,
        timeout=timeout_seconds,
        max_retries=0,  # `Backend` retries
        http_client=http,
    )
    return Endpoint(server.address, client, Poster(client, http), Dialect(needed))
