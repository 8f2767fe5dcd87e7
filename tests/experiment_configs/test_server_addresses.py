"""One rule for the addresses of model servers, wherever they are given."""

import argparse

import pytest
from django.core.exceptions import ImproperlyConfigured

from experiment_configs.interfaces import RolloutWorkerConfig
from experiment_configs.server_addresses import has_secret, has_user, is_server_address
from prm_site.configuration.environment import HTTP, check_address
from rollouts.management.commands.score_nodes import server_address

GOOD = ["http://127.0.0.1:8000/v1", "https://a.example/v1?api-version=2024-10-21", "http://[::1]:1"]
BAD = [
    "localhost:8000", "127.0.0.1:8000/v1", "ftp://a/v1", "http://", "http:///v1", "http://a:99999/",
    "http://a:0/", "http://a:port/", "http://[::1/v1", "http://a b/v1", "http://a/v1\n", " http://a/",
]  # fmt: skip
WITH_USER = ["http://me:secret@a/v1", "https://secret@a/v1"]


def is_taken_by_settings(address: str) -> bool:
    try:
        check_address("OPENAI_BASE_URL", address, HTTP)
    except ImproperlyConfigured:
        return False
    return True


def is_taken_by_configs(address: str) -> bool:
    return RolloutWorkerConfig(base_urls=(address,)).problems() == []


def is_taken_by_score_nodes(address: str) -> bool:
    try:
        server_address(address)
    except argparse.ArgumentTypeError:
        return False
    return True


@pytest.mark.parametrize(
    "is_taken", [is_taken_by_settings, is_taken_by_configs, is_taken_by_score_nodes]
)
def test_every_place_takes_the_same_addresses(is_taken):
    assert [address for address in GOOD if not is_taken(address)] == []
    assert [address for address in BAD + WITH_USER if is_taken(address)] == []


def test_what_is_an_address_and_what_it_holds():
    assert all(map(is_server_address, GOOD + WITH_USER))
    assert not any(map(is_server_address, [*BAD, None, 7, b"http://a/"]))
    assert [has_user(address) for address in (*GOOD, *WITH_USER)] == [False] * 3 + [True] * 2
    assert has_secret("http://a/v1?API_KEY=1")
    assert not any(map(has_secret, GOOD))
