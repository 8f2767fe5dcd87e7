"""Which settings name the model servers, and which setting a message names."""

from typing import Any

import pytest

from rollouts.client.server import Server, ServerAddress
from rollouts.client.servers_of_settings import policy_server, scorer_server

SEVERAL = [Server("http://a/v1", "key-a"), Server("http://b/v1", "key-b")]


def named(address: ServerAddress) -> tuple[list[str], str, str]:
    return [one.base_url for one in address.servers], address.source, address.source_of_key


@pytest.mark.parametrize(
    ("given", "source", "source_of_key"),
    [
        ({"OPENAI_BASE_URLS": ["…"]}, "OPENAI_BASE_URLS", "OPENAI_API_KEY"),
        (
            {"OPENAI_BASE_URLS": ["…"], "OPENAI_API_KEYS": ["key-a", "key-b"]},
            "OPENAI_BASE_URLS",
            "OPENAI_API_KEYS",
        ),
        ({"OPENAI_SERVERS_FILE": "s.toml"}, "OPENAI_SERVERS_FILE", "OPENAI_SERVERS_FILE"),
    ],
)
def test_messages_name_the_setting_that_the_user_wrote(
    settings, given: dict[str, Any], source: str, source_of_key: str
):
    settings.OPENAI_SERVERS = SEVERAL
    for name, value in given.items():
        setattr(settings, name, value)

    assert named(policy_server()) == (["http://a/v1", "http://b/v1"], source, source_of_key)
    assert named(scorer_server()) == named(policy_server())
    assert named(policy_server(["http://c/v1"])) == (
        ["http://c/v1"], "base_urls of the forest (configure_forest)", "OPENAI_API_KEY",
    )  # fmt: skip
    # The key of an address on the command line is never one of several.
    assert named(scorer_server("http://c/v1")) == (["http://c/v1"], "--base_url", "OPENAI_API_KEY")


def test_a_server_of_the_reward_model_has_settings_of_its_own(settings):
    settings.OPENAI_BASE_URL, settings.SCORER_BASE_URL = "http://a/v1", "http://s/v1"

    assert named(policy_server()) == (["http://a/v1"], "OPENAI_BASE_URL", "OPENAI_API_KEY")
    assert named(scorer_server()) == (["http://s/v1"], "SCORER_BASE_URL", "SCORER_API_KEY")
    assert named(scorer_server("http://c/v1")) == (["http://c/v1"], "--base_url", "SCORER_API_KEY")
