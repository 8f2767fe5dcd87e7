"""A file that describes model servers."""

import json
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from prm_site.configuration.model_servers import servers_of_file, servers_with_keys
from rollouts.client.server import Server

TOML = """
[[servers]]
url = "https://one.example.org/v1?key=a"
key_env = "ONE_KEY"
organization = "org-1"

[[servers]]
url = "http://two/v1"
key = "hunter2"
headers = { "api-key" = "azure" }
"""


def test_toml_and_json_describe_the_same_servers(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("ONE_KEY", "from-env")
    (tmp_path / "s.toml").write_text(TOML)
    listed = [
        {
            "url": "https://one.example.org/v1?key=a",
            "key_env": "ONE_KEY",
            "organization": "org-1",
        },
        {"url": "http://two/v1", "key": "hunter2", "headers": {"api-key": "azure"}},
    ]
    (tmp_path / "s.json").write_text(json.dumps(listed))

    expected = [
        Server("https://one.example.org/v1?key=a", "from-env", {}, "org-1"),
        Server("http://two/v1", "hunter2", {"api-key": "azure"}),
    ]
    assert servers_of_file(str(tmp_path / "s.toml")) == expected
    assert servers_of_file(str(tmp_path / "s.json")) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "not well-formed JSON"),
        ("[]", "at least one server"),
        ('{"servers": 1}', "at least one server"),
        ("[1]", "server 1 must have the fields"),
        ('[{"key": "hunter2"}]', "server 1 has no url"),
        ('[{"url": "http://a/v1"}, {"url": "hunter2"}]', "server 2: url is not a well-formed"),
        ('[{"url": "http://u:hunter2@a/v1"}]', "take a key, `key` or `key_env`"),
        ('[{"url": "http://a", "token": "hunter2"}]', "has token; the fields are url, key"),
        ('[{"url": "http://a", "key": ["hunter2"]}]', "key must be a text"),
        ('[{"url": "http://a", "key_env": "NOT_SET"}]', "the environment has no NOT_SET"),
        ('[{"url": "http://a", "key": "hunter2", "key_env": "PATH"}]', "give one of them"),
        ('[{"url": "http://a", "headers": {"x": "hunter2\\n"}}]', "headers must be"),
    ],
)
def test_what_is_no_description_is_refused_without_its_values(
    tmp_path: Path, text: str, complaint: str
):
    path = tmp_path / "s.json"
    path.write_text(text)

    with pytest.raises(ImproperlyConfigured, match=complaint) as caught:
        servers_of_file(str(path))

    assert "hunter2" not in str(caught.value)


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(ImproperlyConfigured, match=r"nowhere\.json cannot be read"):
        servers_of_file("nowhere.json")


def test_each_address_gets_its_key():
    servers = servers_with_keys(["http://a", "http://b"], ["1", "2"], "")

    assert servers == [Server("http://a", "1"), Server("http://b", "2")]


@pytest.mark.parametrize(
    ("keys", "key", "complaint"),
    [(["1"], "", "1 keys and .* 2 addresses"), (["1", "2"], "3", "both")],
)
def test_keys_that_do_not_fit_the_addresses_are_refused(keys: list[str], key: str, complaint: str):
    with pytest.raises(ImproperlyConfigured, match=complaint):
        servers_with_keys(["http://a", "http://b"], keys, key)
