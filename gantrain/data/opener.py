"""Python's own client of http and https for archives, with the same caution as `web`.

aiohttp drops the bytes that have arrived of a body that breaks off. This client keeps them, so that
a large download continues later.
"""

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.request import (
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    Request,
    build_opener,
    getproxies,
    proxy_bypass,
)

from gantrain.data.addresses import MOST_REDIRECTS, Guard
from gantrain.data.web import Incomplete


def guarded(url: str, stall_seconds: float) -> OpenerDirector:
    """Return an opener for one request of `url`.

    It judges redirects and addresses, and bounds the time of the answer's header.
    """
    guard = Guard()
    guard.visit(url)

    class Connection(http.client.HTTPConnection):
        def connect(self) -> None:
            super().connect()
            _judge(self, guard)

        def getresponse(self) -> http.client.HTTPResponse:
            with _limited(self.sock, 2 * stall_seconds):
                return super().getresponse()

    class SecureConnection(Connection, http.client.HTTPSConnection):
        """The same over TLS: `Connection`'s methods around those of HTTPSConnection."""

    class Plain(HTTPHandler):
        def http_open(self, request: Request) -> http.client.HTTPResponse:
            return self.do_open(Connection, request)

    class Secure(HTTPSHandler):
        def https_open(self, request: Request) -> http.client.HTTPResponse:
            return self.do_open(SecureConnection, request)

    class Redirects(HTTPRedirectHandler):
        max_redirections = MOST_REDIRECTS

        def redirect_request(self, req: Request, *answer: Any) -> Request | None:
            guard.redirect(req.full_url, answer[-1])
            return super().redirect_request(req, *answer)

    return build_opener(Plain, Secure, Redirects)


def _judge(connection: http.client.HTTPConnection, guard: Guard) -> None:
    """Judge the address of a connection, before anything is sent to it. Raises Refused."""
    request = Request(guard.url)
    guard.is_proxied = request.type in getproxies() and not proxy_bypass(request.host)
    try:
        guard.connect(connection.sock.getpeername()[0])
    except Exception:
        connection.close()
        raise


@contextmanager
def _limited(connected: socket.socket, seconds: float) -> Iterator[None]:
    """Break the connection off after so many seconds, and then raise Incomplete.

    A header that trickles in would never stall.
    """
    is_late = threading.Event()

    def break_off() -> None:
        is_late.set()
        with suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, break_off)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if is_late.is_set():  # the end of the connection looks like the header's
            raise Incomplete(f"no whole header in {seconds:g} s")
