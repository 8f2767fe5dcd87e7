"""HTTP client with bounded time and memory that never follows a redirect to another server."""

import asyncio
import os
import ssl
from functools import cache
from typing import Any

import httpx2
import openai

MAX_BYTES_OF_ANSWER = 64_000_000
"""Limit for one decompressed answer; a thousand long samples need less."""
_MAX_REDIRECTS = 5
_NAMES_OF_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


class AnswerTooLargeError(Exception):
    """An answer is longer than `MAX_BYTES_OF_ANSWER`; the rest of it was not read."""


class RedirectedError(Exception):
    """The server redirects to another server, which the settings do not name."""

    def __init__(self, origin: str) -> None:
        super().__init__(f"sends requests to {origin}")
        self.origin = origin
        """Scheme, host and port of the other server only: paths and queries may contain keys."""


class BoundedClient(openai.DefaultAioHttpClient):
    """The library's client with a timeout for the whole request, answer included.

    The library's own timeout limits each read, so a byte now and then keeps a request open forever.
    It also reads answers of any size, and follows redirects, which sends the prompt to any host.
    """

    def __init__(self) -> None:
        super().__init__(verify=_certificates(*map(os.environ.get, _NAMES_OF_CERTIFICATES)))

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Return the whole answer.

        Raises:
            httpx2.ReadTimeout: the answer did not arrive in time.
            AnswerTooLargeError: the answer is too large.
            RedirectedError: the answer is a redirect to another server.
            httpx2.RequestError: any other error of the library.
        """
        options |= {"stream": True, "follow_redirects": False}
        try:
            async with asyncio.timeout(request.extensions.get("timeout", {}).get("read")):
                for _ in range(_MAX_REDIRECTS):
                    response = await super().send(request, **options)
                    answer = await _read(response)
                    if response.next_request is None:
                        return answer
                    request = _within_origin(request, response.next_request)
        except TimeoutError as error:
            raise httpx2.ReadTimeout("the answer is not complete", request=request) from error
        raise httpx2.TooManyRedirects("too many redirects", request=request)


@cache
def _certificates(*_named: str | None) -> ssl.SSLContext:
    """Return the library's context; reading all certificates takes as long as many requests."""
    return httpx2.create_ssl_context()


async def _read(response: httpx2.Response) -> httpx2.Response:
    """Return an answer with its decompressed content; raises `AnswerTooLargeError`."""
    if _is_short(response.headers):
        await response.aread()
        return response
    content = bytearray()
    try:
        async for piece in response.aiter_bytes():
            content += piece
            if len(content) > MAX_BYTES_OF_ANSWER:
                raise AnswerTooLargeError(
                    f"sent an answer of more than {MAX_BYTES_OF_ANSWER:,} bytes"
                )
    finally:
        await response.aclose()
    headers = [
        (name, value)
        for name, value in response.headers.multi_items()
        if name not in ("content-encoding", "content-length", "transfer-encoding")
    ]
    return httpx2.Response(
        response.status_code,
        headers=headers,
        content=bytes(content),
        request=response.request,
        extensions=response.extensions,
    )


def _is_short(headers: httpx2.Headers) -> bool:
    """Return whether headers limit the answer, so that it can be read without counting."""
    if "content-encoding" in headers or "transfer-encoding" in headers:
        return False
    length = headers.get("content-length", "")
    return length.isdecimal() and int(length) <= MAX_BYTES_OF_ANSWER


def _within_origin(asked: httpx2.Request, following: httpx2.Request) -> httpx2.Request:
    """Return the request of a redirect; raises `RedirectedError` if it leaves the server."""
    if _origin(following.url) != _origin(asked.url):
        raise RedirectedError(_origin(following.url))
    return following


def _origin(url: httpx2.URL) -> str:
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"{url.scheme}://{host}" + (f":{url.port}" if url.port else "")
