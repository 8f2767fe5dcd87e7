"""A scripted model server that refuses what a real server refuses, and records its requests."""

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.openai_server import Fault, OpenAIServer

Judge = Callable[[dict[str, Any]], Fault | None]
"""Gets the body of a request; returns the refusal, or None."""


def refusal(http_status: int, message: str, **fields: Any) -> Fault:
    return Fault(http_status, json.dumps({"error": {"message": message, **fields}}))


class DialectServer(OpenAIServer):
    """Refuses what `judge` refuses; `headers` and `paths` record the requests so far."""

    def __init__(self, judge: Judge = lambda _: None, **options: Any) -> None:
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.listing_status = 200
        super().__init__(**options)
        self.judge = judge
        self.misbehave = lambda: self.judge(self.requests[-1])

    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        limit = body.get("max_tokens", body.get("max_completion_tokens", 1000))
        return super().answer(path.partition("?")[0], body | {"max_tokens": limit})

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        scripted, plain = self, super()._handler()

        class Handler(plain):  # type: ignore[misc, valid-type]
            def do_GET(self) -> None:  # noqa: N802
                scripted._note(self)
                if scripted.listing_status == 200:
                    super().do_GET()
                else:
                    self._send(scripted.listing_status, '{"error": "no such route"}')

            def do_POST(self) -> None:  # noqa: N802
                scripted._note(self)
                super().do_POST()

        return Handler

    def _note(self, request: BaseHTTPRequestHandler) -> None:
        self.paths.append(request.path)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
