"""Which of several model servers is asked."""

from collections import Counter
from contextlib import ExitStack

import pytest

from rollouts.client.endpoints import EndpointPool
from rollouts.client.server import ServerAddress

URLS = [f"http://gpu{number}.example.org/v1" for number in range(10)]


@pytest.fixture
def pool() -> EndpointPool:
    return EndpointPool(ServerAddress(URLS, "key"), timeout_seconds=1)


def test_requests_in_flight_are_spread_evenly(pool: EndpointPool):
    with ExitStack() as stack:
        asked = Counter(stack.enter_context(pool.pick()).base_url for _ in range(30))

    assert asked == dict.fromkeys(URLS, 3)


def test_one_request_at_a_time_comes_to_every_server(pool: EndpointPool):
    asked = set()
    for _ in range(300):
        with pool.pick() as endpoint:
            asked.add(endpoint.base_url)

    assert asked == set(URLS)


def test_a_dead_server_is_left_alone_while_another_one_lives(pool: EndpointPool):
    dead, *living = pool.endpoints
    assert pool.eject(dead)

    with ExitStack() as stack:
        asked = {stack.enter_context(pool.pick()).base_url for _ in range(27)}

    assert asked == {one.base_url for one in living}


def test_where_all_are_dead_one_is_asked_nevertheless(pool: EndpointPool):
    assert [pool.eject(one) for one in pool.endpoints] == [*[True] * 9, False]

    with pool.pick() as endpoint:
        assert endpoint is pool.endpoints[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("wrong key: key-1!", "wrong key: …!"), ("wrong", "wrong")],
)
def test_a_key_is_taken_out_of_what_a_server_says(text: str, expected: str):
    assert ServerAddress(URLS, "key-1").without_key(text) == expected


def test_no_key_takes_nothing_out():
    assert ServerAddress(URLS, "").without_key("wrong") == "wrong"
