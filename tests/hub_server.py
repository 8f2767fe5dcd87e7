"""The part of the Hugging Face hub's API that uploads use, and a record of the uploads."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class Hub(ThreadingHTTPServer):
    """Keeps repositories and files; every file comes inside the commit request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        """Content of each file by its path, which begins with the repository's path."""
        self.tokens: set[str | None] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def hub() -> Iterator[Hub]:
    server = Hub()
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._send({"sha": "0" * 40, "id": "me/x", "siblings": []})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.tokens.add(self.headers["Authorization"])
        if self.path == "/api/repos/create":
            wanted = json.loads(body)
            self.server.repositories.append(wanted)
            self._send({"url": f"{self.server.url}/{wanted['type']}s/me/{wanted['name']}"})
        elif "/preupload/" in self.path:
            files = [
                {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                for one in json.loads(body)["files"]
            ]
            self._send({"files": files})
        elif "/commit/" in self.path:
            self._commit(body)
        else:  # the front matter is checked before the upload
            self._send({"errors": [], "warnings": []})

    def _commit(self, body: bytes) -> None:
        repository = self.path.removeprefix("/api/").partition("/commit/")[0]
        for line in body.splitlines():
            one = json.loads(line)
            if one["key"] == "file":
                path = f"{repository}/{one['value']['path']}"
                self.server.files[path] = base64.b64decode(one["value"]["content"])
        url = f"{self.server.url}/{repository}/commit/{'0' * 40}"
        self._send({"commitUrl": url, "commitOid": "0" * 40, "success": True})

    def _send(self, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
