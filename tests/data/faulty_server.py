"""An HTTP server of a folder that counts its requests and fails as it is told."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Fault = Callable[["Handler", bytes], None]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        name = self.path.removeprefix("/")
        server.requests[name] += 1
        time.sleep(server.delay_seconds)
        if server.password and self.headers.get("Authorization") != server.password:
            return self.answer(401, b"")
        server.asked.append(self.headers.get("Range"))
        faults = server.faults.get(name) or server.faults.get("*")
        try:
            body = (server.folder / name).read_bytes()
        except FileNotFoundError:
            return self.answer(404, b"")
        if faults:
            return faults.pop(0)(self, body)
        if not (server.knows_ranges and self.headers.get("Range")):
            return self.answer(200, body)
        start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        if start < len(body):
            return self.answer(
                206, body[start:], content_range=f"bytes {start}-{len(body) - 1}/{len(body)}"
            )
        self.answer(416, b"", content_range=f"bytes */{len(body)}")

    def answer(
        self, status: int, body: bytes, length: int | None = None, content_range: str = ""
    ) -> None:
        self.send_response(status)
        if content_range:
            self.send_header("Content-Range", content_range)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


def stall(handler: Handler, body: bytes, seconds: float = 3) -> None:
    handler.answer(200, body[: len(body) // 2], len(body))
    handler.wfile.flush()
    time.sleep(seconds)
    handler.close_connection = True


def hang(handler: Handler, body: bytes) -> None:
    """Stop for longer than a client waits, and for longer than any test."""
    stall(handler, body, seconds=300)


def cut(handler: Handler, body: bytes) -> None:
    handler.answer(200, body[: len(body) // 2], len(body))
    handler.close_connection = True


def error_500(handler: Handler, body: bytes) -> None:
    handler.answer(500, b"X-Amz-Signature=secret")


def not_found(handler: Handler, body: bytes) -> None:
    handler.answer(404, b"")


def elsewhere(handler: Handler, body: bytes) -> None:
    handler.answer(206, body[7:], content_range=f"bytes 7-{len(body) - 1}/{len(body)}")


def short(handler: Handler, body: bytes) -> None:
    handler.answer(200, body[:-512])


def long(handler: Handler, body: bytes) -> None:
    handler.answer(200, body + bytes(512))


def wrong(handler: Handler, body: bytes) -> None:
    handler.answer(200, bytes(255 - byte for byte in body))


def refuse(handler: Handler, body: bytes) -> None:
    handler.close_connection = True


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.requests: Counter[str] = Counter()
        self.faults: dict[str, list[Fault]] = {}  # by file, or "*"; each is used up
        self.password = ""
        self.delay_seconds = 0.0
        self.knows_ranges = False
        self.asked: list[str | None] = []  # ranges
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *arguments: object) -> None:
        pass  # a client that went away


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    server = Server(folder)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
