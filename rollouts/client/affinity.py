"""Keep the requests of one session on one server, which has their shared prefix in its cache."""

import math
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b

BOUND_OF_NEW = 1.0
BOUND_OF_KEPT = 2.0
"""A server gets a new session, or keeps one, while it has fewer requests in flight than this many
times its even share. Consistent hashing with bounded loads, arXiv:1608.01350."""
MAX_SESSIONS = 100_000
"""Sessions to remember; the least recently used one is forgotten first."""


class Affinity:
    """Which server each session uses, by the servers' names."""

    def __init__(self) -> None:
        self._homes: OrderedDict[str, str] = OrderedDict()

    def choose(self, session: str, outstanding: Sequence[tuple[str, int]]) -> str:
        """Return the server for a request of a session.

        The first request goes to the server that rendezvous hashing names, so that all processes
        choose the same one. If that server is gone or has more than its share, the session moves
        to the next one and stays there: only one prefix has to be computed again.

        Args:
            session: name of the session.
            outstanding: names of the servers that answer, and their requests in flight; at least
                one. They cannot all have their full share, so one always has room.
        """
        loads = dict(outstanding)
        share = (sum(loads.values()) + 1) / len(loads)
        home = self._homes.get(session)
        if home not in loads or loads[home] >= math.ceil(BOUND_OF_KEPT * share):
            ranked = sorted(loads, key=lambda server: _rank(session, server), reverse=True)
            most = math.ceil(BOUND_OF_NEW * share)
            home = next(server for server in ranked if loads[server] < most)
        self._homes[session] = home
        self._homes.move_to_end(session)
        if len(self._homes) > MAX_SESSIONS:
            self._homes.popitem(last=False)
        return home


def session_of(tree_id: str) -> str:
    """Return the session of a tree's requests. A hash: servers need not know the forest's name."""
    return blake2b(tree_id.encode(), digest_size=12).hexdigest()


def _rank(session: str, server: str) -> bytes:
    """Return the rank of a server for a session: rendezvous (highest random weight) hashing."""
    return blake2b(f"{session}\0{server}".encode(), digest_size=8).digest()
