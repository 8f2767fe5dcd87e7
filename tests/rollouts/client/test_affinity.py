"""Which server the requests of one tree go to."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from rollouts.client.affinity import Affinity

SERVERS = ("http://a/v1", "http://b/v1", "http://c/v1")
loads = st.lists(st.integers(0, 40), min_size=1, max_size=8).map(
    lambda numbers: [(f"http://{place}/v1", number) for place, number in enumerate(numbers)]
)


def idle(*servers: str) -> list[tuple[str, int]]:
    return [(server, 0) for server in servers]


def test_a_session_keeps_its_server_while_others_are_less_busy():
    affinity = Affinity()
    home = affinity.choose("tree", idle(*SERVERS))

    busy = [(server, 5 if server == home else 3) for server in SERVERS]

    assert affinity.choose("tree", busy) == home


def test_two_processes_choose_the_same_server():
    sessions = [str(number) for number in range(50)]
    first, second = Affinity(), Affinity()

    assert [first.choose(one, idle(*SERVERS)) for one in sessions] == [
        second.choose(one, idle(*reversed(SERVERS))) for one in sessions
    ]


def test_sessions_are_spread_over_all_servers():
    affinity = Affinity()
    chosen = Counter(affinity.choose(str(number), idle(*SERVERS)) for number in range(300))

    assert all(chosen[server] > 60 for server in SERVERS)


def test_a_session_moves_once_if_its_server_has_far_more_than_its_share_or_is_gone():
    affinity = Affinity()
    home = affinity.choose("tree", idle(*SERVERS))
    others = [server for server in SERVERS if server != home]

    moved = affinity.choose("tree", [(home, 30), *idle(*others)])

    assert moved in others
    assert affinity.choose("tree", idle(*SERVERS)) == moved
    assert affinity.choose("tree", idle(home)) == home


@given(loads, st.text())
def test_a_new_session_never_goes_to_a_server_with_more_than_its_share(
    outstanding: list[tuple[str, int]], session: str
):
    chosen = dict(outstanding)[Affinity().choose(session, outstanding)]

    assert chosen <= sum(load for _, load in outstanding) / len(outstanding)
