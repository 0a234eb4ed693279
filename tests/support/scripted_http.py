"""A small HTTP server on loopback that answers by script: hostile, slow or cut as asked."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. `declared` is the Content-Length sent (default: the true one); the body goes
    out in pieces of `piece` bytes with `pause_s` before each."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    declared: int | None = None
    piece: int | None = None
    pause_s: float = 0.0


Answer = Callable[[str, Mapping[str, str]], Reply]


class ScriptedServer:
    """Answers with `answer(path, parameters)`, or with the next of `replies` while there are
    any; `asked` holds what came, as `path?query`, and `headers` the headers it came with."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.headers: list[Mapping[str, str]] = []
        self.replies: list[Reply] = []
        self.answer: Answer = lambda path, parameters: Reply(b"nobody answers", 404)
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"script": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def reply_to(self, target: str) -> Reply:
        """The reply to one request."""
        with self._lock:
            self.asked.append(target)
            if self.replies:
                return self.replies.pop(0)
        parts = urlsplit(target)
        return self.answer(parts.path, {k: v[0] for k, v in parse_qs(parts.query).items()})

    def serve_files(self, files: Mapping[str, bytes]) -> None:
        """Answer paths with these bytes, each zip with a matching CHECKSUM beside it."""

        def answer(path: str, parameters: Mapping[str, str]) -> Reply:
            if path in files:
                return Reply(files[path])
            named = path.removesuffix(".CHECKSUM")
            if named != path and named in files:
                digest = hashlib.sha256(files[named]).hexdigest()
                return Reply(f"{digest}  {named.rpartition('/')[2]}".encode())
            return Reply(b"<Error><Code>NoSuchKey</Code></Error>", 404)

        self.answer = answer

    def start(self) -> None:
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def scripted_server() -> Iterator[ScriptedServer]:
    """A running server for the time of the block."""
    server = ScriptedServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()


class _Handler(BaseHTTPRequestHandler):
    script: ScriptedServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.script.headers.append(dict(self.headers))
        reply = self.script.reply_to(self.path)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        declared = len(reply.body) if reply.declared is None else reply.declared
        self.send_header("Content-Length", str(declared))
        self.end_headers()
        with contextlib.suppress(OSError):
            for part in _pieces(reply):
                time.sleep(reply.pause_s)
                self.wfile.write(part)
                self.wfile.flush()
        if declared != len(reply.body):
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def _pieces(reply: Reply) -> list[bytes]:
    size = reply.piece or max(len(reply.body), 1)
    return [reply.body[i : i + size] for i in range(0, len(reply.body), size)]
