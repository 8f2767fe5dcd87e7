"""Requests and errors are those of the openai library."""

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import openai
import pytest

from rollouts.client.classifying import first_cause
from rollouts.client.posting import Poster
from rollouts.client.transport import BoundedClient, RedirectedError
from tests.openai_server import Fault, OpenAIServer

BODY = {"model": "scripted", "prompt": "Größe ≠ 0? Answer:", "n": 2, "temperature": 0.8}
SESSION = {"X-Session-ID": "tree-1"}


def both_ways(url: str, seconds: float = 5.0) -> tuple[list[object], list[object]]:
    """Post twice with the library and twice with the poster; return answers or errors of each."""

    async def post() -> tuple[list[object], list[object]]:
        http = BoundedClient()
        async with openai.AsyncOpenAI(
            base_url=url,
            api_key="key",
            organization="org",
            default_headers={"X-Router": "a"},
            default_query={"api-version": "2026-11"},
            timeout=seconds,
            max_retries=0,
            http_client=http,
        ) as client:
            poster = Poster(client, http)
            return (
                [
                    await result_of(
                        lambda: client.post(
                            "/completions", body=BODY, options={"headers": SESSION}, cast_to=bytes
                        )
                    )
                    for _ in range(2)
                ],
                [
                    await result_of(lambda: poster.post("/completions", BODY, SESSION))
                    for _ in range(2)
                ],
            )

    return asyncio.run(post())


async def result_of(post: Callable[[], Awaitable[bytes]]) -> object:
    try:
        return await post()
    except (openai.OpenAIError, aiohttp.ClientError, RedirectedError) as error:
        return error


def test_requests_are_those_of_the_library() -> None:
    with OpenAIServer() as server:
        both_ways(server.url)
        of_library, _, *of_poster = (dict(headers) for headers in server.sent_headers)

        assert all(of_library.items() <= headers.items() for headers in of_poster)
        assert [set(headers) for headers in of_poster] == [set(of_library)] * 2
        assert of_library["x-session-id"] == "tree-1"
        assert server.requests == [server.requests[0]] * 4


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=400, body='{"error": {"message": "no such field", "param": "n"}}'),
        Fault(status=429, body="slower", headers={"Retry-After": "7"}),
        Fault(status=500, body="oops"),
        Fault(status=304),
        Fault(drops_connection=True),
        Fault(cuts_body=True),
        Fault(hangs_seconds=5),
        Fault(raw=b"SSH-2.0-x\r\n\r\n"),
        Fault(status=307, headers={"Location": "http://other.invalid/v1"}),
    ],
    ids=repr,
)
def test_errors_are_those_of_the_library(fault: Fault) -> None:
    with OpenAIServer() as server:
        server.misbehave = lambda: fault
        of_library, of_poster = both_ways(server.url, seconds=0.3)

    for wanted, found in zip(of_library, of_poster, strict=True):
        assert isinstance(wanted, Exception)
        assert isinstance(found, Exception)
        assert (type(found), str(found)) == (type(wanted), str(wanted))
        assert type(first_cause(found)) is type(first_cause(wanted))
        if isinstance(wanted, openai.APIStatusError):
            assert isinstance(found, openai.APIStatusError)
            assert found.response.content == wanted.response.content
            assert found.response.headers.get("Retry-After") == wanted.response.headers.get(
                "Retry-After"
            )


def test_a_server_that_is_away_is_told_as_by_the_library() -> None:
    with OpenAIServer() as server:
        url = server.url
    of_library, of_poster = both_ways(url)

    assert [repr(error) for error in of_poster] == [repr(error) for error in of_library]
    assert type(first_cause(of_poster[1])) is type(first_cause(of_library[1]))  # type: ignore[arg-type]


def test_a_body_that_json_cannot_hold_is_refused() -> None:
    async def post() -> None:
        http = BoundedClient()
        async with openai.AsyncOpenAI(
            base_url="http://127.0.0.1:9/v1", api_key="x", http_client=http
        ) as client:
            await Poster(client, http).post("/completions", {"temperature": float("nan")}, {})

    with pytest.raises(ValueError, match="JSON"):
        asyncio.run(post())
