"""A real HTTP server that speaks the OpenAI protocol, with scripted answers."""

import json
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self

Writer = Callable[[str, int], str]
"""Gets what stands before the sample, and the sample's seed; returns the rest of the solution."""

Style = Literal["vllm", "llama", "fastchat", "plain"]
"""How the server tells a stop text from the end: `stop_reason`, an end token, all tokens that it
cut, or not at all."""

_OWNERS = {"vllm": "vllm", "llama": "llamacpp", "fastchat": "fastchat", "plain": "owner"}


@dataclass(frozen=True)
class Fault:
    """What the server does instead of answering."""

    status: int = 200
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    hangs_seconds: float = 0.0
    drops_connection: bool = False
    cuts_body: bool = False
    """Whether the connection ends in the middle of the body that was announced."""
    raw: bytes = b""
    """What is sent instead of anything that HTTP knows."""


def write_two_steps(prefix: str, seed: int) -> str:
    """Write one of two first steps and one of two answers, as the seed says."""
    written = prefix.rpartition("Answer:")[2]
    if not written:
        return f" Try {seed % 2}.\n#### {seed // 2 % 2}\n"
    return f"#### {seed % 2}\n"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: tests kill clients in the middle of an answer."""


class OpenAIServer:
    """Use as a context manager; `url` is the base address, `requests` what was asked."""

    def __init__(
        self, write: Writer = write_two_steps, style: Style = "vllm", port: int = 0
    ) -> None:
        self.write = write
        self.style = style
        self.models = ["scripted"]
        self.listing = ""
        """What is sent in place of the models."""
        self.most_samples = 1000
        self.faults: deque[Fault] = deque()
        self.misbehave: Callable[[], Fault | None] = lambda: None
        self.requests: list[dict[str, Any]] = []
        self.num_answered = 0
        self._server = _Server(("127.0.0.1", port), self._handler())
        self._released = threading.Event()
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the response to a completion request."""
        is_chat = path.endswith("/chat/completions")
        prefix = (
            "".join(message["content"] for message in body["messages"])
            if is_chat
            else body["prompt"]
        )
        choices = [
            self._choice(index, prefix, body, is_chat=is_chat)
            for index in range(min(body.get("n", 1), self.most_samples))
        ]
        tokens = sum(choice.pop("tokens") for choice in choices)
        return {
            "id": "scripted",
            "object": "chat.completion" if is_chat else "text_completion",
            "created": 0,
            "model": body["model"],
            "choices": choices,
            "usage": {
                "prompt_tokens": len(prefix.split()),
                "completion_tokens": tokens,
                "total_tokens": len(prefix.split()) + tokens,
            },
        }

    def _choice(
        self, index: int, prefix: str, body: dict[str, Any], *, is_chat: bool
    ) -> dict[str, Any]:
        text = self.write(prefix, (body.get("seed") or 0) + index)
        pieces = text.split(" ")
        is_cut = len(pieces) > body["max_tokens"]
        if is_cut:
            text = " ".join(pieces[: body["max_tokens"]])
        found = [(text.find(stop), stop) for stop in body.get("stop") or [] if stop in text]
        matched = min(found)[1] if found else None
        if found:
            text, is_cut = text[: min(found)[0]], False
        choice: dict[str, Any] = {
            "index": index,
            "finish_reason": "length" if is_cut else "stop",
            "tokens": len(text.split()),
            **({"message": {"role": "assistant", "content": text}} if is_chat else {"text": text}),
        }
        if self.style == "vllm":
            choice["stop_reason"] = matched
        if self.style == "fastchat" and body.get("logprobs") and not is_chat:
            tokens = [*text.split(" "), *([] if is_cut else [matched or "<|im_end|>"])]
            tokens = [" " * (number > 0) + token for number, token in enumerate(tokens)]
            choice["logprobs"] = {"tokens": tokens, "token_logprobs": [-0.5] * len(tokens)}
        if self.style == "llama" and body.get("logprobs"):
            tokens = [{"token": piece, "logprob": -0.5} for piece in text.split(" ")]
            if matched is None and not is_cut:
                tokens.append({"token": "", "logprob": -0.1})
            choice["logprobs"] = {"content": tokens}
        return choice

    def _handler(self) -> type[BaseHTTPRequestHandler]:  # noqa: C901  a class, not a branch
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                owner = _OWNERS[scripted.style]
                models = [{"id": name, "owned_by": owner} for name in scripted.models]
                self._send(200, scripted.listing or json.dumps({"data": models}))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                scripted.requests.append(body)
                fault = scripted.faults.popleft() if scripted.faults else scripted.misbehave()
                if fault:
                    self._fail(fault)
                else:
                    answer = json.dumps(scripted.answer(self.path, body))
                    scripted.num_answered += 1  # also where nobody is left to read it
                    self._send(200, answer)

            def _fail(self, fault: Fault) -> None:
                scripted._released.wait(fault.hangs_seconds)
                if fault.drops_connection or fault.raw:
                    self.close_connection = True
                    self.wfile.write(fault.raw)
                elif fault.cuts_body:
                    self.close_connection = True
                    self.send_response(200)
                    self.send_header("Content-Length", "1000")
                    self.end_headers()
                    self.wfile.write(b'{"choices": [{"te')
                else:
                    self._send(fault.status, fault.body, fault.headers)

            def _send(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
                data = text.encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler
