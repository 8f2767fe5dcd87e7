"""A TCP proxy in front of the database that can hold messages, and forward them later."""

import contextlib
import socket
import threading
from typing import Literal, Self

Way = Literal["requests", "replies"]
LEASE_SECONDS = 1.5
"""How long the leases of the workers behind the proxy last."""
_BYTES = 65_536


class HoldingProxy:
    """Use as a context manager; `port` is where it listens."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._change = threading.Condition()
        self._pieces_left: dict[Way, int | None] = {"requests": None, "replies": None}
        """How many pieces may still pass each way; None: all."""
        self._is_over = False
        self._sockets: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.forward()
        self._is_over = True
        for one in (self._listener, *self._sockets):
            close(one)

    def hold(self, way: Way, after: int) -> None:
        """Hold all pieces of one way but the next `after` ones. `forward` sends the held pieces."""
        with self._change:
            self._pieces_left[way] = after

    def forward(self) -> None:
        with self._change:
            self._pieces_left = {"requests": None, "replies": None}
            self._change.notify_all()

    def _accept(self) -> None:
        while not self._is_over:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
            except OSError:
                return
            self._sockets += [client, server]
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ends: tuple[tuple[Way, socket.socket, socket.socket], ...] = (
                ("requests", client, server), ("replies", server, client),
            )  # fmt: skip
            for end in ends:
                threading.Thread(target=self._pass_on, args=end, daemon=True).start()

    def _pass_on(self, way: Way, source: socket.socket, target: socket.socket) -> None:
        try:
            while piece := source.recv(_BYTES):
                self._wait_for_turn(way)
                target.sendall(piece)
        except OSError:
            pass
        finally:
            # What a client sent before it went away is still delivered: it was on its way.
            close(target)

    def _wait_for_turn(self, way: Way) -> None:
        with self._change:
            left = self._pieces_left[way]
            if left:
                self._pieces_left[way] = left - 1
                return
            self._change.wait_for(lambda: self._pieces_left[way] != 0)


def close(one: socket.socket) -> None:
    """Close a socket in a way that threads waiting for it notice."""
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
