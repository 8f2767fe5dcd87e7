"""The model servers that share the work: the least busy one is asked, a dead one is left alone."""

import asyncio
import math
import random
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import openai

from forests.core.abilities import Abilities
from rollouts.client.server import Server, ServerAddress
from rollouts.client.transport import BoundedClient
from rollouts.protocol.dialect import Dialect

SECONDS_OF_EJECTION = 10.0


@dataclass(slots=True, eq=False)
class Endpoint:
    """One server."""

    base_url: str
    """Without its query, which may hold a key."""
    openai: openai.AsyncOpenAI
    dialect: Dialect = field(default_factory=Dialect)
    abilities: Abilities = field(default_factory=Abilities)
    owners: Collection[str] | None = None
    """Whom its models belong to, as it says: which program it is. None: not asked."""
    outstanding: int = 0
    """Requests that it has not answered yet."""
    was_away: bool = False
    """Whether it did not answer since it was asked what it does: it may be another one now."""
    ejected_until: float = 0.0
    """On the monotonic clock; asked before then only where no other server is left."""
    looked_at: float = -math.inf
    """When it told which models it has, on the monotonic clock; it may have changed them since."""
    look: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while it is asked which models it has."""

    def url_of(self, path: str) -> str:
        """Return where a path is; one that begins with two slashes is not under `/v1`."""
        return (
            self.base_url.rstrip("/").removesuffix("/v1") + path[1:] if path[:2] == "//" else path
        )


class EndpointPool:
    """Servers with the same models."""

    def __init__(
        self, address: ServerAddress, timeout_seconds: float, needed: Collection[str] = ()
    ) -> None:
        self.endpoints = [
            Endpoint(server.address, _client(server, timeout_seconds), Dialect(needed))
            for server in address.servers
        ]

    async def close(self) -> None:
        for endpoint in self.endpoints:
            await endpoint.openai.close()

    @contextmanager
    def pick(self, only: Endpoint | None = None) -> Iterator[Endpoint]:
        """Use the server with the fewest requests in flight, of those that are not ejected.

        Of equals a random one: many workers with few requests each would all ask the first. `only`:
        the one to use.
        """
        now = time.monotonic()
        endpoint = only or min(
            random.sample(self.endpoints, len(self.endpoints)),
            key=lambda one: (max(0.0, one.ejected_until - now), one.outstanding),
        )
        endpoint.outstanding += 1
        try:
            yield endpoint
        finally:
            endpoint.outstanding -= 1

    def eject(self, endpoint: Endpoint, seconds: float | None = None) -> bool:
        """Leave a server alone for a while, at least for `seconds`.

        Returns whether another one is left to ask.
        """
        endpoint.ejected_until = time.monotonic() + max(SECONDS_OF_EJECTION, seconds or 0)
        return self.has_one_left()

    def has_one_left(self) -> bool:
        """Return whether a server is left that is not left alone."""
        return any(one.ejected_until <= time.monotonic() for one in self.endpoints)


def _client(server: Server, timeout_seconds: float) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        base_url=server.address,
        api_key=server.api_key or "none",  # local servers ask for none, the library does
        organization=server.organization or None,
        default_headers=server.headers,
        default_query=server.query,
        timeout=timeout_seconds,
        max_retries=0,  # the client has the one retry policy
        # Half the processor time of the default: see docs/benchmarks.md.
        http_client=BoundedClient(),
    )
