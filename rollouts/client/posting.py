"""Post JSON to a model server as the openai library does, for half of its processor time."""

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx2
import openai

from rollouts.client.transport import BoundedClient

_OF_ONE_REQUEST = frozenset({b"content-length"})


@dataclass(frozen=True, slots=True)
class _Form:
    """What all requests to one path have in common."""

    url: httpx2.URL
    headers: list[tuple[bytes, bytes]]
    extensions: dict[str, Any]


class Poster:
    """Posts JSON with a client of the library.

    The library builds every request from the client's options, which takes longer than sending it.
    These options never change, so the library builds only one request for each path, and every
    request sent copies its address, headers and timeouts. Each failure is passed to the library,
    which raises its own error. docs/benchmarks.md compares the processor time.
    """

    def __init__(self, client: openai.AsyncOpenAI, http: BoundedClient) -> None:
        self._client = client
        self._http = http
        self._forms: dict[str, _Form] = {}
        self._building = asyncio.Lock()

    async def post(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> bytes:
        """Return the content of the answer.

        Raises:
            openai.APIConnectionError: there is no whole answer.
            openai.APIStatusError: the answer is an error.
            ValueError: JSON cannot hold the body.
            Exception: any other error of `BoundedClient.send`.
        """
        form = self._forms.get(path) or await self._form_of(path)
        request = httpx2.Request(
            "POST",
            form.url,
            headers=[*form.headers, *((k.encode(), v.encode()) for k, v in headers.items())],
            content=_json(body),
            extensions=form.extensions,
        )
        try:
            response = await self._http.send(request)
        except (httpx2.RequestError, ssl.SSLError) as error:
            await self._ask_library(path, partial(_raise, error))
            raise
        if not response.is_success:
            await self._ask_library(path, partial(_answer, response))
        return response.content

    async def _form_of(self, path: str) -> _Form:
        async with self._building:
            if path not in self._forms:
                answered = await self._ask_library(path, partial(_answer, httpx2.Response(200)))
                built = answered.request
                kept = [one for one in built.headers.raw if one[0].lower() not in _OF_ONE_REQUEST]
                self._forms[path] = _Form(built.url, kept, dict(built.extensions))
            return self._forms[path]

    async def _ask_library(
        self, path: str, answer: Callable[[httpx2.Request], httpx2.Response]
    ) -> httpx2.Response:
        """Let the library post to a fake server with this answer; raises the library's errors."""
        nowhere = httpx2.MockTransport(answer)
        async with httpx2.AsyncClient(transport=nowhere, trust_env=False) as http:
            client = self._client.with_options(http_client=http)
            return await client.post(path, body={}, cast_to=httpx2.Response)


def _answer(response: httpx2.Response, _: httpx2.Request) -> httpx2.Response:
    return response


def _raise(error: Exception, _: httpx2.Request) -> httpx2.Response:
    raise error


def _json(body: Mapping[str, Any]) -> bytes:
    """Return a body as the library writes it."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode()
