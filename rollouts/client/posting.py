"""The openai library's client, which posts JSON at half of the library's cost."""

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
import openai

from rollouts.client.transport import BoundedClient

_OF_ONE_REQUEST = frozenset({b"content-length"})
"""Headers that differ from request to request; names of headers in lower case."""


@dataclass(frozen=True, slots=True)
class _Form:
    """What all requests to one path have in common."""

    url: httpx2.URL
    headers: list[tuple[bytes, bytes]]
    extensions: dict[str, Any]


class PostingClient(openai.AsyncOpenAI):
    """A client of one server.

    The library builds each request from its options, which takes longer than sending it. Here the
    options never change, so it builds the first request to each path; later ones repeat its address,
    keys and timeouts (docs/benchmarks.md).
    """

    def __init__(self, http: BoundedClient, **options: Any) -> None:
        super().__init__(http_client=http, **options)
        self._http = http
        self._forms: dict[str, _Form] = {}

    async def post_json(
        self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]
    ) -> bytes:
        """Return the answer to a JSON object, as `post` with `cast_to=bytes`, and its errors.

        Raises:
            openai.APITimeoutError: the answer did not arrive in time, or the library says so of a
                refused connection.
            openai.APIConnectionError: there is no connection, or it broke.
            openai.APIStatusError: the answer is an error.
            ValueError: JSON cannot hold the body.
            Exception: any error of `BoundedClient.send`.
        """
        if (form := self._forms.get(path)) is not None:
            return await self._send(form, body, headers)
        response = await self.post(
            path, body=body, options={"headers": headers}, cast_to=httpx2.Response
        )
        if not response.history:  # an answer from elsewhere may have changed the request
            self._forms[path] = _form_of(response.request, headers)
        return response.content

    async def _send(
        self, form: _Form, body: Mapping[str, Any], headers: Mapping[str, str]
    ) -> bytes:
        request = httpx2.Request(
            "POST",
            form.url,
            headers=[*form.headers, *((k.encode(), v.encode()) for k, v in headers.items())],
            content=_json(body),
            extensions=form.extensions,
        )
        try:
            response = await self._http.send(request)
        except httpx2.TimeoutException as error:
            raise openai.APITimeoutError(request=request) from error
        except (httpx2.RequestError, ssl.SSLError) as error:
            raise openai.APIConnectionError(request=request) from error
        if not response.is_success:
            raise self._make_status_error_from_response(response)
        return response.content


def _form_of(request: httpx2.Request, headers: Mapping[str, str]) -> _Form:
    own = _OF_ONE_REQUEST | {name.lower().encode() for name in headers}
    kept = [(name, value) for name, value in request.headers.raw if name.lower() not in own]
    return _Form(request.url, kept, dict(request.extensions))


def _json(body: Mapping[str, Any]) -> bytes:
    """Return a body as the library writes it."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode()
