"""A server that speaks OpenAI's protocol as a test tells it to, in a thread of this process."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODELS = {"data": [{"id": "small"}, {"id": "small-rl"}]}
Answer = tuple[int, Any]
"""HTTP status and body: JSON, or text as it is."""


@dataclass
class Server:
    """What it was asked, and what it answers."""

    respond: Callable[[dict[str, Any]], Answer]
    """A request's body → the answer."""
    models: Answer = (200, MODELS)
    key: str | None = None
    """The key that it wants."""
    port: int = 0
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Path and body of each request for a sample, in the order of arrival."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def answer(self, path: str, body: dict[str, Any] | None, key: str) -> Answer:
        if self.key is not None and key != f"Bearer {self.key}":
            return 401, {"error": {"message": f"invalid key: {key}"}}
        if body is None:
            return self.models if path == "/v1/models" else (404, {"detail": "Not Found"})
        self.asked.append((path, body))
        return self.respond(body)


@contextmanager
def serving(respond: Callable[[dict[str, Any]], Answer], **settings: Any) -> Iterator[Server]:
    """A server for the length of the block."""
    server = Server(respond, **settings)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(None)

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, body: dict[str, Any] | None) -> None:
            status, answer = server.answer(self.path, body, self.headers.get("Authorization", ""))
            text = answer if isinstance(answer, str) else json.dumps(answer)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that http.server gives it
            """Say nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server.port = http.server_port
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def chat(content: Any = "# 3", *, tokens: int = 7, finish_reason: str = "stop", **message: Any) -> Answer:
    """One chat response."""
    choice = {"message": {"role": "assistant", "content": content, **message}, "finish_reason": finish_reason}
    return 200, {"choices": [choice], "usage": {"completion_tokens": tokens}}


def text(words: str, *, tokens: int = 7, finish_reason: str = "stop") -> Answer:
    """One response to plain text."""
    choice = {"text": words, "finish_reason": finish_reason}
    return 200, {"choices": [choice], "usage": {"completion_tokens": tokens}}
