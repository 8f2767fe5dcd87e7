"""The client against a real HTTP server."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from experiment_configs.interfaces import Prompt, RolloutWorkerConfig
from rollouts.client import backend as backend_module
from rollouts.client import failures
from rollouts.client.failures import (
    BackendError,
    BackendRefusedError,
    BackendUnavailableError,
    RequestFailedError,
)
from rollouts.client.server import ServerAddress
from rollouts.client.spending import Spending
from rollouts.sampling.completion_client import CompletionClient, SampleRequest
from rollouts.steps.completions import Completion, Ending
from tests.openai_server import Fault, OpenAIServer, Style


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(failures, "FIRST_BACKOFF_SECONDS", 0.01)


def ask(
    url: str,
    request: SampleRequest,
    spending: Spending | None = None,
    others: tuple[str, ...] = (),
    **fields: object,
) -> list[Completion]:
    config = RolloutWorkerConfig(**{"max_attempts": 3, **fields})  # type: ignore[arg-type]

    async def sample() -> list[Completion]:
        async with CompletionClient(ServerAddress([url, *others], ""), config) as client:
            return await client.sample(request, spending or Spending())

    return asyncio.run(sample())


def request(steps: str = "", *, n: int = 1, to_end: bool = False) -> SampleRequest:
    return SampleRequest("Q Answer:", steps, n, to_end, seed=4)


@pytest.mark.parametrize("style", ["vllm", "llama", "plain"])
def test_a_step_ends_with_its_delimiter_whatever_the_server_tells(
    server: OpenAIServer, style: Style
):
    server.style = style

    (completion,) = ask(server.url, request())

    assert (completion.text, completion.ending) == (" Try 0.\n", Ending.STEP)


@pytest.mark.parametrize("style", ["vllm", "llama"])
def test_the_end_of_a_solution_is_told_from_the_end_of_a_step(server: OpenAIServer, style: Style):
    server.style = style
    server.write = lambda prefix, seed: "no newline at the end"

    (completion,) = ask(server.url, request())

    assert completion.ending is Ending.SOLUTION


def test_a_whole_solution_comes_as_written(server: OpenAIServer):
    completions = ask(server.url, request(n=3, to_end=True))

    assert [c.text for c in completions] == [
        " Try 0.\n#### 0\n",
        " Try 1.\n#### 0\n",
        " Try 0.\n#### 1\n",
    ]
    assert {c.ending for c in completions} == {Ending.SOLUTION}


def test_prefix_and_sampling_settings_reach_the_server(server: OpenAIServer):
    ask(server.url, request(" Try 1.\n"), temperature=0.3, extra_body={"min_p": 0.1})

    (asked,) = server.requests
    assert asked["prompt"] == "Q Answer: Try 1.\n"
    assert (asked["temperature"], asked["seed"], asked["min_p"]) == (0.3, 4, 0.1)
    assert asked["model"] == "scripted"


def test_a_chat_continues_its_own_message(server: OpenAIServer):
    prompt: Prompt = [{"role": "user", "content": "Q"}]

    ask(server.url, SampleRequest(prompt, " Try 1.\n", 1, to_end=False, seed=0), api="chat")

    (asked,) = server.requests
    assert asked["messages"] == [*prompt, {"role": "assistant", "content": " Try 1."}]
    assert asked["continue_final_message"] is True


def test_blank_lines_before_a_step_are_continued(server: OpenAIServer):
    server.write = lambda prefix, seed: "\nstep\n" if prefix.endswith(":") else "step\n"

    (completion,) = ask(server.url, request())

    assert completion.text == "\nstep\n"
    assert [asked["prompt"] for asked in server.requests] == ["Q Answer:", "Q Answer:\n"]


def test_blank_lines_without_end_are_given_up(server: OpenAIServer):
    server.write = lambda prefix, seed: "\n"

    (completion,) = ask(server.url, request())

    assert completion.ending is Ending.LIMIT
    assert len(server.requests) < 10


NOT_HTTP = [
    b"\x15\x03\x01\x00\x02\x02\x16",  # a server of TLS
    b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 10_000 + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno number\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}",
]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(status=429, headers={"Retry-After": "0"}), "http_429"),
        (Fault(status=500, body="oops"), "http_500"),
        (Fault(body='{"choices": [{"te'), "bad_response"),
        (Fault(body='{"choices": []}'), "bad_response"),
        (Fault(body="[" * 100_000), "bad_response"),
        (Fault(drops_connection=True), "connection"),
        (Fault(cuts_body=True), "connection"),
        *[(Fault(raw=raw), "bad_response") for raw in NOT_HTTP],
    ],
)
def test_a_passing_fault_is_retried_and_counted(server: OpenAIServer, fault: Fault, kind: str):
    server.faults.append(fault)
    spending = Spending()

    (completion,) = ask(server.url, request(), spending)

    assert completion.text == " Try 0.\n"
    assert (spending.requests, spending.retries) == (2, 1)
    assert spending.failures == {kind: 1}


def test_a_hanging_server_times_out_and_is_asked_again(server: OpenAIServer):
    server.faults.append(Fault(hangs_seconds=5))
    spending = Spending()

    ask(server.url, request(), spending, request_timeout_seconds=0.2)

    assert spending.failures == {"timeout": 1}


def test_retry_after_is_waited_for(server: OpenAIServer, monkeypatch):
    waits = []

    async def record(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(backend_module.asyncio, "sleep", record)
    server.faults.append(Fault(status=429, headers={"Retry-After": "7"}))

    ask(server.url, request())

    assert waits == [7.0]


@pytest.mark.parametrize(
    ("status", "error", "remedy"),
    [
        (401, BackendRefusedError, "OPENAI_API_KEY"),
        (404, BackendRefusedError, "OPENAI_BASE_URL and `model`"),
        (400, RequestFailedError, "400"),
    ],
)
def test_a_lasting_fault_is_not_retried(
    server: OpenAIServer, status: int, error: type[Exception], remedy: str
):
    server.faults.append(Fault(status=status, body='{"error": {"message": "no"}}'))

    with pytest.raises(error, match=remedy):
        ask(server.url, request())

    assert len(server.requests) == 1


def test_a_dead_server_is_unavailable_not_wrong():
    with OpenAIServer() as server:
        url = server.url

    with pytest.raises(BackendUnavailableError, match="check OPENAI_BASE_URL"):
        ask(url, request())


def test_an_overloaded_gateway_is_unavailable_after_the_last_attempt(server: OpenAIServer):
    server.faults.extend([Fault(status=503)] * 3)

    with pytest.raises(BackendUnavailableError, match="503"):
        ask(server.url, request(), model="scripted")


def test_a_request_that_keeps_failing_is_given_up(server: OpenAIServer):
    server.faults.extend([Fault(status=500)] * 3)

    with pytest.raises(RequestFailedError, match="500"):
        ask(server.url, request(), model="scripted")


def test_a_server_without_models_is_refused(server: OpenAIServer):
    server.models = []

    with pytest.raises(BackendRefusedError, match="lists no models"):
        ask(server.url, request())


@pytest.mark.parametrize(
    "listing", ['{"data": [null]}', '{"data": "abc"}', '{"data": [{"id": 1}]}', "[" * 100_000, "[]"]
)
def test_a_list_that_names_no_models_is_an_error_of_the_server(server: OpenAIServer, listing: str):
    server.listing = listing

    with pytest.raises(BackendError, match=r"127\.0\.0\.1"):
        ask(server.url, request())


def test_work_is_shared_by_several_servers():
    all_are_in_flight = threading.Barrier(10)

    def write(prefix: str, seed: int) -> str:
        all_are_in_flight.wait(10)
        return "one\n"

    with OpenAIServer(write) as first, OpenAIServer(write) as second:

        async def sample() -> None:
            config = RolloutWorkerConfig(model="scripted")
            async with CompletionClient(
                ServerAddress([first.url, second.url], ""), config
            ) as client:
                await asyncio.gather(*(client.sample(request(), Spending()) for _ in range(10)))

        asyncio.run(sample())

        assert (len(first.requests), len(second.requests)) == (5, 5)


def test_a_dead_server_is_left_alone_while_another_lives(server: OpenAIServer):
    with OpenAIServer() as gone:
        dead = gone.url
    spending = Spending()

    for _ in range(3):
        ask(dead, request(), spending, others=(server.url,))

    assert len(server.requests) == 3
    assert spending.failures["connection"] <= 3


def test_a_client_asks_a_dead_server_once():
    with OpenAIServer() as gone:
        dead = gone.url
    with OpenAIServer() as alive:
        spending = Spending()

        async def sample() -> None:
            config = RolloutWorkerConfig(model="scripted")
            async with CompletionClient(ServerAddress([dead, alive.url], ""), config) as client:
                for _ in range(5):
                    await client.sample(request(), spending)

        asyncio.run(sample())

        assert len(alive.requests) == 5
        assert spending.failures["connection"] <= 1  # the request for the models may have found it
