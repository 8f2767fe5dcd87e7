"""Model servers that answer endlessly, answer too much, or redirect to another server."""

import asyncio
import gzip
import itertools
import time
import zlib
from collections.abc import Iterator

import pytest

from benchmarks.peak_memory import forget_most_memory, most_mebibytes
from experiment_configs.interfaces import RolloutWorkerConfig
from rollouts.client import failures
from rollouts.client.backend import Backend
from rollouts.client.failures import (
    AttemptsFailedError,
    BackendError,
    BackendRefusedError,
    BackendUnavailableError,
)
from rollouts.client.server import ServerAddress
from rollouts.client.spending import Spending
from rollouts.client.transport import MAX_BYTES_OF_ANSWER
from rollouts.sampling.completion_client import CompletionClient, SampleRequest
from rollouts.steps.completions import Completion
from tests.openai_server import Fault, OpenAIServer

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
MEGABYTE = b" " * 1_000_000


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(failures, "FIRST_BACKOFF_SECONDS", 0.01)


def ask(
    url: str, spending: Spending, *, attempts: int = 1, seconds: float = 20
) -> list[Completion]:
    config = RolloutWorkerConfig(
        model="scripted", max_attempts=attempts, request_timeout_seconds=seconds
    )

    async def sample() -> list[Completion]:
        async with CompletionClient(ServerAddress([url], ""), config) as client:
            request = SampleRequest("Q Answer:", "", 1, to_end=False, seed=4)
            return await client.sample(request, spending)

    return asyncio.run(sample())


def trickle(head: bytes) -> Fault:
    return Fault(raw=head, pieces=itertools.repeat(b" "), seconds_between=0.1)


@pytest.mark.parametrize(
    "fault",
    [
        trickle(HEAD + b"Content-Length: 1000000\r\n\r\n"),
        trickle(HEAD + b"\r\n"),
        trickle(b"HTTP/1.1 500 Oops\r\n\r\n"),
        trickle(HEAD + b"X-Slow: "),
    ],
    ids=["a body of known length", "a body without end", "an error", "the head"],
)
def test_a_byte_now_and_then_does_not_hold_a_request_longer_than_its_timeout(
    server: OpenAIServer, fault: Fault
):
    server.faults.append(fault)
    spending = Spending()
    began = time.monotonic()

    (completion,) = ask(server.url, spending, attempts=2, seconds=0.6)

    assert completion.text == " Try 0.\n"
    assert spending.failures == {"timeout": 1}
    assert time.monotonic() - began < 10


def test_a_list_of_models_that_trickles_times_out_too(server: OpenAIServer):
    class Slow(OpenAIServer):
        def _handler(self):
            handler = super()._handler()

            def do_GET(self) -> None:  # noqa: N802
                self.wfile.write(HEAD + b"\r\n")
                while True:
                    time.sleep(0.1)
                    self.wfile.write(b" ")

            handler.do_GET = do_GET  # type: ignore[attr-defined]
            return handler

    async def list_models(url: str) -> None:
        address = ServerAddress([url], "")
        async with Backend(address, timeout_seconds=0.5, max_attempts=1) as backend:
            await backend.list_models()

    with Slow() as slow, pytest.raises(BackendUnavailableError, match=r"sent no list .* in 0\.5 s"):
        asyncio.run(asyncio.wait_for(list_models(slow.url), 10))


def bomb(wbits: int) -> bytes:
    """Return a gigabyte of spaces, compressed to a thousandth.

    The same compressed megabyte comes again and again, which takes no time to make. So the checksum
    at the end is wrong, but no reader may get that far.
    """
    compressor = zlib.compressobj(wbits=wbits)

    def megabyte() -> bytes:
        return compressor.compress(b" " * 1_000_000) + compressor.flush(zlib.Z_FULL_FLUSH)

    return megabyte() + megabyte() * 999 + compressor.flush()


GZIP, DEFLATE = 31, 15
"""What `zlib` calls these formats."""


@pytest.mark.parametrize(
    "fault",
    [
        Fault(raw=HEAD + b"\r\n", pieces=itertools.repeat(MEGABYTE)),
        Fault(raw=b"HTTP/1.1 500 Oops\r\n\r\n", pieces=itertools.repeat(MEGABYTE)),
        Fault(raw=HEAD + b"Content-Encoding: gzip\r\n\r\n" + bomb(GZIP)),
        Fault(raw=HEAD + b"Content-Encoding: gzip, gzip\r\n\r\n" + gzip.compress(bomb(GZIP))),
        Fault(raw=HEAD + b"Content-Encoding: deflate\r\n\r\n" + bomb(DEFLATE)),
    ],
    ids=["an endless answer", "an endless error", "gzip", "gzip in gzip", "deflate"],
)
def test_an_answer_that_is_too_large_fails_its_attempt_and_fills_no_memory(
    server: OpenAIServer, fault: Fault
):
    server.faults.append(fault)
    spending = Spending()
    forget_most_memory()
    before = most_mebibytes()

    (completion,) = ask(server.url, spending, attempts=2)

    assert completion.text == " Try 0.\n"
    assert spending.failures == {"too_large": 1}
    assert most_mebibytes() - before < 5 * MAX_BYTES_OF_ANSWER / 2**20


def test_answers_that_stay_too_large_end_in_one_line_with_the_limit_and_the_remedy(
    server: OpenAIServer,
):
    server.faults.append(Fault(raw=HEAD + b"\r\n", pieces=itertools.repeat(MEGABYTE)))

    with pytest.raises(AttemptsFailedError) as raised:
        ask(server.url, Spending())

    assert "more than 64,000,000 bytes: ask for fewer samples or tokens" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_large_answer_within_the_limit_is_read(server: OpenAIServer):
    server.spoil = lambda index, choice: choice.update(padding="x" * 30_000_000)

    (completion,) = ask(server.url, Spending())

    assert completion.text == " Try 0.\n"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_server_sends_it_nothing(server: OpenAIServer, status: int):
    spending = Spending()
    with OpenAIServer() as other:
        server.faults.append(
            Fault(status=status, headers={"Location": f"{other.url}/completions?key=secret"})
        )
        with pytest.raises(BackendRefusedError) as raised:
            ask(server.url, spending, attempts=3)

    origin = other.url.removesuffix("/v1")
    assert not other.requests
    assert f"sends requests to {origin}, and nothing was sent there" in str(raised.value)
    assert "OPENAI_BASE_URL" in str(raised.value)
    assert "secret" not in str(raised.value)
    assert spending.failures == {"redirect": 1}
    assert spending.requests == 1


@pytest.mark.parametrize(
    "location",
    [
        "https://{host}/v1/completions",
        "http://localhost:1/v1",
        "//model.invalid/v1",
        "ftp://x/",
    ],
)
def test_another_scheme_or_host_is_another_server(server: OpenAIServer, location: str):
    host = server.url.removeprefix("http://").removesuffix("/v1")
    server.faults.append(Fault(status=307, headers={"Location": location.format(host=host)}))

    with pytest.raises(BackendRefusedError, match="nothing was sent there"):
        ask(server.url, Spending())


def test_a_redirect_within_the_server_is_followed(server: OpenAIServer):
    server.faults.append(Fault(status=307, headers={"Location": "/v1/completions"}))

    (completion,) = ask(server.url, Spending())

    assert completion.text == " Try 0.\n"
    assert len(server.requests) == 2
    assert server.requests[0] == server.requests[1]


def test_redirects_in_a_circle_fail(server: OpenAIServer):
    server.misbehave = lambda: Fault(status=307, headers={"Location": "/v1/completions"})
    spending = Spending()

    with pytest.raises(BackendError, match="too many redirects"):
        ask(server.url, spending)

    assert len(server.requests) < 20
    assert spending.failures == {"connection": 1}


@pytest.mark.parametrize("to_end", [True, False])
def test_more_samples_than_were_asked_for_are_left_out(server: OpenAIServer, to_end: bool):
    answered = server.answer

    def answer(path: str, body: dict) -> dict:
        return answered(path, body | {"n": 1000})

    server.answer = answer  # type: ignore[method-assign]
    config = RolloutWorkerConfig(model="scripted")

    async def sample() -> list[Completion]:
        async with CompletionClient(ServerAddress([server.url], ""), config) as client:
            request = SampleRequest("Q Answer:", "", 2, to_end=to_end, seed=4)
            return await client.sample(request, Spending())

    assert len(asyncio.run(sample())) == 2
