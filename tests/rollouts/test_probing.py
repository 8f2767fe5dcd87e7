"""How a server continues a chat message is asked, not guessed."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from experiment_configs.interfaces import RolloutWorkerConfig
from rollouts import failures
from rollouts.backend import Spending
from rollouts.client import CompletionClient, SampleRequest
from rollouts.core.probing import Reply, read_reply
from rollouts.endpoints import ServerAddress
from rollouts.failures import BackendRefusedError
from rollouts.jobs import grow_slice
from tests.openai_server import Continues, Fault, OpenAIServer, writes
from tests.rollouts.forests import reread, seeded


def write(prefix: str, seed: int) -> str:
    if "NATO" in prefix:
        return (
            " Echo; Foxtrot" if prefix.endswith("Delta;") else "Alpha, Bravo, Charlie, Delta, Echo"
        )
    return writes("One.\nTwo.\nThree.")(prefix, seed)


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(write) as server:
        yield server


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(failures, "FIRST_BACKOFF_SECONDS", 0.01)


def continue_one(server: OpenAIServer, **fields: Any) -> str:
    """Return what comes after the first step, asked as the server was found to want it."""
    config = RolloutWorkerConfig(**{"api": "chat", "max_attempts": 2, **fields})

    async def sample() -> str:
        async with CompletionClient(ServerAddress([server.url], ""), config) as client:
            await client.find_continuation(Spending())
            request = SampleRequest("Q Answer:", "One.\n", 1, to_end=False, seed=0)
            return (await client.sample(request, Spending()))[0].text

    return asyncio.run(sample())


@pytest.mark.parametrize("continues", ["always", "flag", "prefix"])
def test_a_message_is_continued_as_the_server_wants_it(server: OpenAIServer, continues: Continues):
    server.continues = continues

    assert continue_one(server) == "Two.\n"


def test_a_server_that_refuses_a_field_is_asked_without_it(server: OpenAIServer):
    unknown = Fault(status=400, body='{"error": {"message": "Unknown parameter"}}')
    server.misbehave = lambda: (
        unknown
        if "continue_final_message" in server.requests[-1]
        or "prefix" in server.requests[-1]["messages"][-1]
        else None
    )

    assert continue_one(server) == "Two.\n"


def test_a_server_that_begins_from_the_start_is_refused(server: OpenAIServer):
    server.continues = "never"

    with pytest.raises(BackendRefusedError, match=r"strategy='sampled', or api='completions'"):
        continue_one(server)

    assert sum(asked["max_tokens"] for asked in server.requests) <= 24


def test_whole_solutions_need_no_continuing(server: OpenAIServer):
    server.continues = "never"

    assert continue_one(server, strategy="sampled")
    assert not any("NATO" in str(asked) for asked in server.requests)


def test_a_small_model_that_answers_anything_is_not_refused(server: OpenAIServer):
    server.write = lambda prefix, seed: "Sure!" if "NATO" in prefix else "Two.\n"

    assert continue_one(server) == "Two.\n"


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        (" Echo, Foxtrot", Reply.CONTINUED),
        ("Alpha; Bravo; Charlie; Delta; Echo", Reply.CONTINUED),  # llama.cpp repeats the message
        ("Alpha, Bravo, Charlie, Delta, Echo", Reply.RESTARTED),
        ("Alpha; Bravo", Reply.RESTARTED),
        ("Alfa, Bravo", Reply.RESTARTED),
        ("Sure! Here", Reply.UNCLEAR),
        ("", Reply.UNCLEAR),
    ],
)
def test_the_answer_is_read(text: str, reply: Reply):
    assert read_reply(text) is reply


@pytest.mark.django_db(transaction=True)
def test_a_job_stops_before_it_grows_against_a_server_that_begins_from_the_start(
    model_server: OpenAIServer,
):
    model_server.write, model_server.continues = write, "never"
    forest = seeded(4, api="chat")

    with pytest.raises(BackendRefusedError, match="does not continue"):
        grow_slice(forest.name, 0, 4)

    assert "does not continue a chat message" in reread(forest).stop_reason
    assert reread(forest).num_nodes == 0
    assert len(model_server.requests) <= 3
