"""Stand between the project and a server, and keep what was asked and what the server wrote."""

import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

_SECONDS_TO_ANSWER = 900.0
_THOUGHT_FIELDS = ("reasoning_content", "reasoning")


@dataclass(frozen=True)
class Exchange:
    """The texts of one request and of its answer."""

    prompt: str | Sequence[Mapping[str, Any]]
    """The prompt, or the messages without the one that is continued."""
    continued: str
    """The message that is continued; empty if there is none, and over completions."""
    stops: Sequence[str]
    written: Sequence[str]
    """The text of each choice, after its thought if the thought has a field of its own."""

    @classmethod
    def of(cls, body: Mapping[str, Any], answer: Mapping[str, Any]) -> "Exchange":
        """Return the exchange of a request and its parsed answer."""
        prompt, continued = body.get("prompt", ""), ""
        if "messages" in body:
            prompt = body["messages"]
            if prompt[-1]["role"] == "assistant":
                prompt, continued = prompt[:-1], _said(prompt[-1])
        choices = answer["choices"]
        written = [_said(one["message"]) if "message" in one else one["text"] for one in choices]
        return cls(prompt, continued, body.get("stop") or (), written)


class _Proxy(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that ends leaves its requests."""


class Recorder:
    """Passes requests on to a server and keeps the exchanges. Use as a context manager."""

    def __init__(self, url: str) -> None:
        """Return a recorder; `url`: of the server, with the path of its API."""
        self.exchanges: list[Exchange] = []
        self._server_url = urlsplit(url)
        self._began: dict[int, float] = {}
        """By thread: the time at which its waiting request came."""
        self._http = httpx.Client(
            timeout=_SECONDS_TO_ANSWER, limits=httpx.Limits(max_keepalive_connections=0)
        )
        self._proxy = _Proxy(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(
            target=self._proxy.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self.url = f"http://127.0.0.1:{self._proxy.server_port}{self._server_url.path}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._proxy.shutdown()
        self._proxy.server_close()
        self._thread.join()
        self._http.close()

    def state(self) -> str:
        """Return in words how many answers the server gave, and how many requests wait."""
        began = list(self._began.values())
        words = f"the server gave {len(self.exchanges)} answers with samples"
        if not began:
            return f"{words}, and no request waits"
        return f"{words}, and {len(began)} requests wait, for {time.monotonic() - min(began):.0f} s"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._pass_on(b"")

            def do_POST(self) -> None:
                self._pass_on(self.rfile.read(int(self.headers["Content-Length"])))

            def _pass_on(self, content: bytes) -> None:
                try:
                    status, kind, answer = recorder.pass_on(self.command, self.path, content)
                except httpx.HTTPError as error:
                    status, kind = 502, "text/plain"
                    answer = f"{type(error).__name__}: {error}".encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args: object) -> None:
                pass

        return Handler

    def pass_on(self, method: str, path: str, content: bytes) -> tuple[int, str, bytes]:
        """Return status, content type and content of the server's answer; keep the exchange.

        Raises:
            httpx.HTTPError: there is no answer.
        """
        address = f"{self._server_url.scheme}://{self._server_url.netloc}{path}"
        headers = {"Content-Type": "application/json"} if content else {}
        self._began[threading.get_ident()] = time.monotonic()
        try:
            answer = self._http.request(method, address, content=content, headers=headers)
        finally:
            del self._began[threading.get_ident()]
        if answer.is_success and path.endswith("/completions"):
            self.exchanges.append(Exchange.of(json.loads(content), answer.json()))
        return answer.status_code, answer.headers.get("content-type", ""), answer.content


def _said(message: Mapping[str, Any]) -> str:
    thought = next((message[name] for name in _THOUGHT_FIELDS if message.get(name)), "")
    return f"{thought}{message.get('content') or ''}"
