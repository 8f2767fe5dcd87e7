"""How many requests are in flight: as the config says, as the servers can do, or the default."""

import asyncio
from dataclasses import replace

import pytest

from experiment_configs.interfaces import DEFAULT_CONCURRENCY, ConfigError, RolloutWorkerConfig
from forests.models import Forest
from rollouts.client.server import ServerAddress
from rollouts.maintenance.configuring import configure_forest
from rollouts.sampling.completion_client import CompletionClient
from rollouts.sampling.in_flight import InFlight, find_in_flight
from tests.openai_server import OpenAIServer
from tests.rollouts.forests import reread, seeded
from tests.rollouts.test_commands import run

CONFIG = RolloutWorkerConfig(request_timeout_seconds=5.0, max_attempts=1)


def found(*urls: str, concurrency: int | None = None) -> InFlight:
    async def ask() -> InFlight:
        config = replace(CONFIG, concurrency=concurrency)
        async with CompletionClient(ServerAddress(urls, ""), config) as client:
            return await find_in_flight(client)

    return asyncio.run(ask())


@pytest.fixture
def llama_cpp() -> OpenAIServer:
    server = OpenAIServer(style="llama")
    server.num_slots = 3
    return server


@pytest.mark.parametrize("tells", ["/props", "/slots"])
def test_a_server_of_llama_cpp_says_it_in_one_of_two_places(llama_cpp: OpenAIServer, tells: str):
    llama_cpp.tells_slots = frozenset({tells})
    with llama_cpp:
        assert found(llama_cpp.url) == InFlight(3, "as many as the model server has slots")


def test_several_servers_have_the_slots_of_all(llama_cpp: OpenAIServer):
    with llama_cpp, OpenAIServer(style="llama") as other:
        other.num_slots = 2
        assert found(llama_cpp.url, other.url).number == 5
        other.num_slots = None
        assert found(llama_cpp.url, other.url).number == DEFAULT_CONCURRENCY


def test_where_nothing_is_known_it_is_the_default(llama_cpp: OpenAIServer):
    llama_cpp.num_slots = None
    with llama_cpp, OpenAIServer() as other:
        other.num_slots = 3  # not asked: only llama.cpp has such a page
        assert found(llama_cpp.url).number == found(other.url).number == DEFAULT_CONCURRENCY
    assert found("http://127.0.0.1:9/v1").number == DEFAULT_CONCURRENCY


def test_what_the_config_says_wins(llama_cpp: OpenAIServer):
    with llama_cpp:
        assert found(llama_cpp.url, concurrency=7) == InFlight(7, "as concurrency says")


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "8"])
def test_concurrency_is_a_positive_number_or_none(value: object):
    config = replace(CONFIG, concurrency=value)  # type: ignore[arg-type]
    (problem,) = config.problems()
    assert "it must be a whole number of at least 1, or None" in problem


@pytest.mark.django_db(transaction=True)
def test_a_forest_can_be_given_a_number_and_none_again():
    forest = seeded(1, concurrency=None)

    assert configure_forest(forest, ["concurrency=9"])["concurrency"] == 9
    assert configure_forest(reread(forest), ["concurrency=null"])["concurrency"] is None
    with pytest.raises(ConfigError, match="or None"):
        configure_forest(forest, ["concurrency=0"])
    assert Forest.objects.get().worker_config["concurrency"] is None


@pytest.mark.django_db(transaction=True)
def test_verify_config_says_the_number(model_server: OpenAIServer):
    out, _ = run(
        "verify_config", "--config_name", "demo_arithmetic", "--dataset_split", "test",
        "--with_backend",
    )  # fmt: skip

    assert "ok   requests: 8 at once, as concurrency says" in out
