"""A forest's page tells what the servers that grew it can do."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from forests.core.abilities import Abilities, Continuing, EndTold, Learnt
from forests.core.naming import model_server_id
from forests.models import Forest, ModelServer
from forests.progress.reading import MAX_SERVERS
from tests.forests.addresses import FOREST, FRAGMENT, text_of

pytestmark = pytest.mark.django_db

SERVER = "http://gpu-7.example.org:8000/v1"
KNOWN = Abilities(
    asked=["basics", "logprobs", "continuing"],
    continuing=Continuing.CONTINUED,
    continued_by="continue_final_message",
    several_samples=True,
    end_told=EndTold.BY_NAME,
    logprobs=False,
    thought="reasoning_content",
    learnt=Learnt(omitted=["seed"], renamed={"max_tokens": "max_completion_tokens"}),
)


def grown_by(forest: Forest, *servers: str, model: str = "qwen") -> Forest:
    forest.grown_by = [{"model": model, "server": server} for server in servers]
    forest.save()
    return forest


def keep(forest: Forest, server: str, abilities: dict[str, Any], model: str = "qwen") -> None:
    settings = forest.worker_config
    ModelServer.objects.create(
        id=model_server_id(server, model, settings["api"], settings["extra_body"]),
        server=server,
        model=model,
        api=settings["api"],
        abilities=abilities,
        probed_at=datetime(2026, 11, 2, 9, 30, tzinfo=UTC),
    )


def facts(html: str) -> dict[str, str]:
    """Return what the page says of its servers, by name."""
    told = html.partition("Abilities of the server with")[2].partition("</section>")[0]
    pairs = [one.partition("</dt><dd>") for one in told.split("<dt>")[1:]]
    return {name: text.partition("</dd>")[0] for name, _, text in pairs}


def shown(text: str) -> str:
    return f"<bdi>{text}</bdi>"


@pytest.mark.parametrize("part", [{}, FRAGMENT | {"HX-Target": "progress"}])
def test_the_page_tells_what_a_server_does(reader: Client, forest: Forest, part: dict[str, str]):
    keep(grown_by(forest, SERVER), SERVER, KNOWN.as_dict())

    html = reader.get(FOREST, headers=part).content.decode()

    assert "Abilities of the server with <bdi>qwen</bdi>" in html
    told = facts(html)
    assert "2026-11-02 09:30 UTC" in told.pop("Probed")
    assert told == {
        "Server": shown(SERVER),
        "Continues messages": shown("by continue_final_message"),
        "Samples per request": shown("several"),
        "Says why it stopped": shown("yes, by name"),
        "Log-probabilities": shown("no"),
        "Thinks": shown("in reasoning_content"),
        "Fields left out": shown("seed, max_tokens (sent as max_completion_tokens)"),
    }


def test_what_is_unclear_or_unknown_is_said_to_be(reader: Client, forest: Forest):
    unclear = Abilities(continuing=Continuing.UNCLEAR, continued_by="prefill")
    keep(grown_by(forest, SERVER), SERVER, unclear.as_dict())

    told = facts(text_of(reader, FOREST))

    assert told["Continues messages"] == shown(
        "unclear: its answers show neither; asked by just a last message of the assistant"
    )
    assert told["Samples per request"] == told["Log-probabilities"] == shown("not known")
    assert told["Thinks"] == shown("not known")


def test_addresses_are_for_those_who_are_logged_in(client: Client, forest: Forest, settings):
    settings.PUBLIC = True
    keep(grown_by(forest, SERVER), SERVER, KNOWN.as_dict())

    html = text_of(client, FOREST)

    assert "Abilities of the server with" in html
    assert "gpu-7" not in html


def test_only_servers_that_grew_the_forest_with_its_settings_are_shown(
    reader: Client, forest: Forest
):
    keep(forest, SERVER, KNOWN.as_dict())
    assert "Abilities of the server with" not in text_of(reader, FOREST)  # nothing grew yet

    grown_by(forest, SERVER, model="another")
    assert "Abilities of the server with" not in text_of(reader, FOREST)

    grown_by(forest, f"{SERVER}/")
    assert "Abilities of the server with" in text_of(reader, FOREST)

    forest.worker_config["api"] = "chat"
    grown_by(forest, SERVER)
    assert "Abilities of the server with" not in text_of(reader, FOREST)


@pytest.mark.parametrize("abilities", [{}, {"no": 1}, KNOWN.as_dict() | {"end_told": "by a bell"}])
def test_a_record_of_another_version_is_not_shown(
    reader: Client, forest: Forest, abilities: dict[str, Any]
):
    keep(grown_by(forest, SERVER), SERVER, abilities)

    assert "Abilities of the server with" not in text_of(reader, FOREST)


def test_however_many_servers_there_were_it_is_one_bounded_read(
    reader: Client, forest: Forest, reads: list[str]
):
    servers = [f"http://{number}.example.org/v1" for number in range(3 * MAX_SERVERS)]
    grown_by(forest, *servers)
    for server in servers:
        keep(forest, server, KNOWN.as_dict())
    reads.clear()

    html = text_of(reader, FOREST)

    assert html.count("Abilities of the server with") == MAX_SERVERS
    assert reads.count("forests_modelserver") == 1
