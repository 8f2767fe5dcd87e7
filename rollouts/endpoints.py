"""The model servers that share the work: the least busy one is asked, a dead one is left alone."""

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import openai

SECONDS_OF_EJECTION = 10.0


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where servers with the same models are, and which settings say so."""

    base_urls: Sequence[str]
    api_key: str
    settings: str = "OPENAI"
    """Beginning of the settings' names, for messages: `<settings>_BASE_URL`."""

    def without_key(self, text: str) -> str:
        """Return a text in which a server may have repeated the key."""
        return text.replace(self.api_key, "…") if self.api_key else text


@dataclass(slots=True, eq=False)
class Endpoint:
    """One server."""

    base_url: str
    openai: openai.AsyncOpenAI
    outstanding: int = 0
    """Requests that it has not answered yet."""
    ejected_until: float = 0.0
    """On the monotonic clock; asked before then only where no other server is left."""

    def url_of(self, path: str) -> str:
        """Return where a path is; one that begins with two slashes is not under `/v1`."""
        return (
            self.base_url.rstrip("/").removesuffix("/v1") + path[1:] if path[:2] == "//" else path
        )


class EndpointPool:
    """Servers with the same models."""

    def __init__(self, address: ServerAddress, timeout_seconds: float) -> None:
        self.endpoints = [
            Endpoint(
                base_url,
                openai.AsyncOpenAI(
                    base_url=base_url,
                    api_key=address.api_key
                    or "none",  # local servers ask for none, the library does
                    timeout=timeout_seconds,
                    max_retries=0,  # the client has the one retry policy
                    # Half the processor time of the default: see docs/benchmarks.md.
                    http_client=openai.DefaultAioHttpClient(),
                ),
            )
            for base_url in address.base_urls
        ]

    async def close(self) -> None:
        for endpoint in self.endpoints:
            await endpoint.openai.close()

    @contextmanager
    def pick(self) -> Iterator[Endpoint]:
        """Use the server with the fewest requests in flight, of those that are not ejected.

        Of equals a random one: many workers with few requests each would all ask the first.
        """
        now = time.monotonic()
        endpoint = min(
            random.sample(self.endpoints, len(self.endpoints)),
            key=lambda one: (max(0.0, one.ejected_until - now), one.outstanding),
        )
        endpoint.outstanding += 1
        try:
            yield endpoint
        finally:
            endpoint.outstanding -= 1

    def eject(self, endpoint: Endpoint) -> bool:
        """Leave a dead server alone for a while; return whether another one is left to ask."""
        endpoint.ejected_until = time.monotonic() + SECONDS_OF_EJECTION
        return any(one.ejected_until <= time.monotonic() for one in self.endpoints)
