"""A real HTTP server that speaks the OpenAI protocol, with scripted answers."""

import json
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self

from rollouts.probing.probes import BEGUN, PLAIN_PROMPT, QUESTION

Writer = Callable[[str, int], str]
"""Gets the text before the sample, and the sample's seed; returns the rest of the solution."""

Style = Literal["vllm", "llama", "fastchat", "sglang", "plain"]
"""How an answer shows whether a stop text or the model ended it: by `stop_reason`, by an end token,
by tokens that include the stop text, by `matched_stop`, or not at all. The llama.cpp style also
repeats the message that it continues."""

Continues = Literal["always", "flag", "prefix", "never"]
"""When the server continues a chat that ends with an assistant's message: always, as llama.cpp;
with `continue_final_message`, as vLLM; with `prefix` in the message, as DeepSeek; or never: it
begins the answer from the start again."""

Logprobs = Literal["asked", "never", "refused"]
"""Whether log-probabilities come when asked for, never come, or are refused by name with a 400."""

Thoughts = Literal["content", "reasoning", "reasoning_content", "parts"]
"""Where a chat answer holds the text of `<think>…</think>`: in its content, in a field of its own,
or in a typed part of the content."""

NUMBERS = "7, 14, 21, 28, 35, 42, 49, 56, 63, 70"
"""The answer of a capable model to a probe."""

_OWNERS = {"llama": "llamacpp", "fastchat": "fastchat", "vllm": "vllm", "sglang": "sglang"}


@dataclass(frozen=True)
class Fault:
    """What the server does instead of answering."""

    status: int = 200
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    hangs_seconds: float = 0.0
    drops_connection: bool = False
    cuts_body: bool = False
    """Whether the connection ends in the middle of the announced body."""
    raw: bytes = b""
    """Bytes that are sent in place of an HTTP response."""
    pieces: Iterable[bytes] = ()
    """Bytes that are sent after `raw`, until the client closes the connection."""
    seconds_between: float = 0.0
    """The pause before each of the pieces."""


PASSING_FAULTS = (
    Fault(status=429, headers={"Retry-After": "0"}),
    Fault(status=500, body="oops"),
    Fault(cuts_body=True),
    Fault(body="not JSON"),
    Fault(body='{"choices": []}'),
    Fault(hangs_seconds=30),
    Fault(drops_connection=True),
)
"""Faults after which a client tries again."""


def is_probe(body: dict[str, Any]) -> bool:
    """Return whether a request is a probe of the server."""
    messages = body.get("messages") or [{}]
    asked = (messages[0].get("content"), body.get("prompt"))
    return QUESTION in asked or PLAIN_PROMPT in asked


def write_two_steps(prefix: str, seed: int) -> str:
    """Write one of two first steps and one of two answers, as the seed says."""
    written = prefix.rpartition("Answer:")[2]
    if not written:
        return f" Try {seed % 2}.\n#### {seed // 2 % 2}\n"
    line_end = "" if written.endswith("\n") else "\n"
    return line_end if "####" in written else f"{line_end}#### {seed % 2}\n"


def write_numbers(prefix: str, seed: int) -> str:
    """Answer a probe as a capable model does."""
    if prefix.endswith(BEGUN):
        return "2; 49; 56; 63; 70"
    return " 35, 42, 49" if prefix == PLAIN_PROMPT else NUMBERS


def writes(*solutions: str, after: str = "Answer:") -> Writer:
    """Return a writer of fixed solutions; the seed chooses among those that fit.

    It continues a solution from any character where it was cut. After text that no solution begins
    with, it writes a question mark and a line end.
    """

    def write(prefix: str, seed: int) -> str:
        written = prefix.rpartition(after)[2]
        fitting = [one for one in solutions if one.startswith(written)]
        return fitting[seed % len(fitting)][len(written) :] if fitting else "?\n"

    return write


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: tests kill clients in the middle of an answer."""


class OpenAIServer:
    """Use as a context manager; `url` is the base address.

    `requests` holds the requests for trees, `probes` those that probe the server.
    """

    host = "127.0.0.1"

    def __init__(
        self, write: Writer = write_two_steps, style: Style = "vllm", port: int = 0
    ) -> None:
        self.write = write
        self.style = style
        self.models = ["scripted"]
        self.chat_template = ""
        """The template in `/props`, as llama.cpp sends it; empty: `/props` leaves it out."""
        self.listing = ""
        """The body that is sent in place of the list of models; empty: the list itself."""
        self.lists_models = threading.Event()
        """The list of models is sent only while this is set."""
        self.lists_models.set()
        self.answers_as: Callable[[str], str] = lambda asked: asked
        """Gets the name of the requested model; returns its name in the answer."""
        self.num_slots: int | None = None
        """Requests that it works on at once, in `/props` and `/slots`; None: in neither."""
        self.tells_slots: frozenset[str] = frozenset({"/props", "/slots"})
        """Which paths tell the slots: llama.cpp can be started without one of them."""
        self.write_probe: Writer = write_numbers
        self.most_samples = 1000
        self.refuses_samples = False
        """Whether a request for more than `most_samples` is refused; else only so many come."""
        self.logprobs: Logprobs = "asked"
        self.tells_ids = False
        """Whether completions (not chats) include token ids when a request asks for them."""
        self.continues: Continues = "always"
        self.trims = False
        """Whether the template trims the message that is continued, as for Llama 3 and Gemma."""
        self.thoughts: Thoughts = "content"
        self.finish_reasons: dict[str, Any] = {}
        """Finish reasons that are sent in place of `stop` and `length`."""
        self.spoil: Callable[[int, dict[str, Any]], None] = lambda index, choice: None
        """Gets the index and each choice, and may change the choice before it is sent."""
        self.faults: deque[Fault] = deque()
        self.misbehave: Callable[[], Fault | None] = lambda: None
        self.misbehave_probe: Callable[[dict[str, Any]], Fault | None] = lambda body: None
        self.usage_details: dict[str, Any] = {}
        """Further fields of `usage`."""
        self.sent_headers: list[Message] = []
        """The headers of each of `requests`."""
        self.requests: list[dict[str, Any]] = []
        self.probes: list[dict[str, Any]] = []
        self.num_answered = 0
        self._server = _Server((self.host, port), self._handler())
        self._released = threading.Event()
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self._server.server_port}/v1"

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
        self.lists_models.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def num_asked(self) -> int:
        """Number of requests so far, probes included."""
        return len(self.requests) + len(self.probes)

    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the response to a completion request."""
        is_chat = path.endswith("/chat/completions")
        prefix = self._messages(body) if is_chat else body["prompt"]
        choices = [
            self._choice(index, prefix, body, is_chat=is_chat)
            for index in range(min(body.get("n", 1), self.most_samples))
        ]
        tokens = sum(choice.pop("tokens") for choice in choices)
        if self.tells_ids and body.get("return_token_ids"):
            for choice in choices:
                self._add_ids(choice, prefix)
        return {
            "id": "scripted",
            "object": "chat.completion" if is_chat else "text_completion",
            "created": 0,
            "model": self.answers_as(body["model"]),
            "choices": choices,
            "usage": {
                "prompt_tokens": len(prefix.split()),
                "completion_tokens": tokens,
                "total_tokens": len(prefix.split()) + tokens,
                **self.usage_details,
            },
        }

    def _add_ids(self, choice: dict[str, Any], prompt: str) -> None:
        """Add ids as vLLM tells them: a token is a character, and 0 is the end of an answer."""
        tokens = [*choice["text"], *[""] * (choice["finish_reason"] == "stop")]
        stop = choice.get("stop_reason")
        if stop:
            tokens[-1:] = list(stop)
        choice["token_ids"] = [ord(token) if token else 0 for token in tokens]
        choice["prompt_token_ids"] = list(map(ord, prompt))
        choice["logprobs"] = {"tokens": tokens, "token_logprobs": [-0.5] * len(tokens)}

    def _messages(self, body: dict[str, Any]) -> str:
        """Return the messages as one text, as the template joins them, without roles."""
        *others, last = body["messages"]
        before = "".join(message["content"] for message in others)
        if last["role"] != "assistant":
            return before + str(last["content"])
        thought = last.get("reasoning_content") or last.get("reasoning") or ""
        said = last["content"]
        if not isinstance(said, str):
            thought, said = said[0]["thinking"][0]["text"], said[1]["text"]
        said = f"<think>{thought}</think>{said}" if thought else said
        return (
            before + (said.strip() if self.trims else said) if self._is_continued(body) else before
        )

    def _is_continued(self, body: dict[str, Any]) -> bool:
        last = body["messages"][-1]
        asked = {
            "always": True,
            "flag": body.get("continue_final_message"),
            "prefix": last.get("prefix"),
            "never": False,
        }
        is_wanted = bool(asked[self.continues]) and self.style != "fastchat"
        return last["role"] == "assistant" and is_wanted

    def _message(self, text: str, body: dict[str, Any]) -> dict[str, Any]:
        if self.style == "llama" and self._is_continued(body):
            begun = body["messages"][-1]["content"]
            text = (begun if isinstance(begun, str) else begun[1]["text"]) + text
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if self.thoughts == "content" or "<think>" not in text:
            return message
        thought, closing, said = text.removeprefix("<think>").partition("</think>")
        if self.thoughts == "parts":
            parts = [{"type": "thinking", "thinking": [{"type": "text", "text": thought}]}]
            return message | {"content": [*parts, {"type": "text", "text": said}]}
        return message | {self.thoughts: thought, "content": said if closing else None}

    def _choice(
        self, index: int, prefix: str, body: dict[str, Any], *, is_chat: bool
    ) -> dict[str, Any]:
        write = self.write_probe if is_probe(body) else self.write
        text = write(prefix, (body.get("seed") or 0) + index)
        pieces = text.split(" ")
        is_cut = len(pieces) > body["max_tokens"]
        if is_cut:
            text = " ".join(pieces[: body["max_tokens"]])
        found = [(text.find(stop), stop) for stop in body.get("stop") or [] if stop in text]
        matched = min(found)[1] if found else None
        if found:
            text, is_cut = text[: min(found)[0]], False
        reason = "length" if is_cut else "stop"
        choice: dict[str, Any] = {
            "index": index,
            "finish_reason": self.finish_reasons.get(reason, reason),
            "tokens": len(text.split()),
            **({"message": self._message(text, body)} if is_chat else {"text": text}),
        }
        if self.style == "vllm":
            choice["stop_reason"] = matched
        if self.style == "sglang":
            choice["matched_stop"] = None if is_cut else matched or 151645
        if body.get("logprobs") and self.logprobs == "asked":
            end = None if is_cut else matched or ""
            choice |= self._logprobs(text, end, is_chat=is_chat, is_listed=is_probe(body))
        self.spoil(index, choice)
        return choice

    def _logprobs(
        self, text: str, end: str | None, *, is_chat: bool, is_listed: bool
    ) -> dict[str, Any]:
        """Return the tokens of a sample as the style lists them.

        `end`: the stop text that ended it, empty for the model's end, None for a limit.
        `is_listed`: whether the tokens come even if they do not show the end, as from vLLM.
        """
        if self.style == "fastchat" and not is_chat:
            tokens = [*text.split(" "), *([] if end is None else [end or "<|im_end|>"])]
            tokens = [" " * (number > 0) + token for number, token in enumerate(tokens)]
            return {"logprobs": {"tokens": tokens, "token_logprobs": [-0.5] * len(tokens)}}
        if self.style == "llama" or (is_listed and self.style != "fastchat"):
            # As many as `usage` says; llama.cpp's tokens keep their blanks.
            pieces = text.split(" ") if self.style == "llama" and text else text.split()
            listed = [{"token": piece, "logprob": -0.5} for piece in pieces]
            if self.style == "llama" and end == "":
                listed.append({"token": "", "logprob": -0.1})
            return {"logprobs": {"content": listed}}
        return {}

    def _refusal(self, body: dict[str, Any]) -> str:
        """Return why a request is refused; empty if it is answered."""
        if self.refuses_samples and body.get("n", 1) > self.most_samples:
            return f"'n': number must be at most {self.most_samples}"
        if self.logprobs == "refused" and body.get("logprobs") is not None:
            return "Unsupported parameter: 'logprobs'"
        return ""

    def _handler(self) -> type[BaseHTTPRequestHandler]:  # noqa: C901  a class, not a branch
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            """Else the body of each answer waits 40 ms until the client acknowledges the head."""

            def do_GET(self) -> None:
                if self.path in ("/props", "/slots"):
                    self._send_slots()
                    return
                scripted.lists_models.wait(60)
                owner = _OWNERS.get(scripted.style, "owner")
                models = [{"id": name, "owned_by": owner} for name in scripted.models]
                self._send(200, scripted.listing or json.dumps({"data": models}))

            def _send_slots(self) -> None:
                number, template = scripted.num_slots, scripted.chat_template
                tells = number is not None and self.path in scripted.tells_slots
                if self.path == "/props" and (tells or template):
                    props: dict[str, Any] = {"total_slots": number} if tells else {}
                    props |= {"chat_template": template} if template else {}
                    self._send(200, json.dumps(props))
                elif number is None or not tells:
                    self._send(501, '{"error": {"message": "not supported"}}')
                else:
                    self._send(200, json.dumps([{"id": place} for place in range(number)]))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if is_probe(body):
                    scripted.probes.append(body)
                    fault = scripted.misbehave_probe(body)
                else:
                    scripted.requests.append(body)
                    scripted.sent_headers.append(self.headers)
                    fault = scripted.faults.popleft() if scripted.faults else scripted.misbehave()
                if fault:
                    self._fail(fault)
                elif problem := scripted._refusal(body):
                    self._send(400, json.dumps({"error": {"message": problem}}))
                else:
                    answer = json.dumps(scripted.answer(self.path, body))
                    scripted.num_answered += 1  # even if the client is gone
                    self._send(200, answer)

            def _fail(self, fault: Fault) -> None:
                scripted._released.wait(fault.hangs_seconds)
                if fault.drops_connection or fault.raw:
                    self.close_connection = True
                    self.wfile.write(fault.raw)
                    for piece in fault.pieces:
                        if scripted._released.wait(fault.seconds_between):
                            return
                        self.wfile.write(piece)
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
