"""Answers of untrusted http and https servers: bounded in time and bytes, never decompressed."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from gantrain.data.addresses import MOST_REDIRECTS, WHERE_THEY_LIE, Guard, Refused

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

CHUNK_BYTES = 4 << 20
# A server that sends a byte now and then never stalls. No link that is this slow could feed a
# training.
SLOWEST_BYTES_PER_SECOND = 16 << 10
PATIENCE_SECONDS = 60


class Incomplete(Exception):
    """A file that arrived incompletely, with too many bytes, or too slowly."""


class BadStatus(Exception):
    """An answer with another status than 200."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP status {status}")
        self.status = status


def paced(read: Callable[[int], bytes], limit: int) -> Iterator[bytes]:
    """Yield what `read` returns until its end.

    Raises Incomplete past `limit` bytes, or where they arrive too slowly.
    """
    total = 0
    waited_seconds = 0.0
    counted_bytes = 0  # since the pace was last looked at
    while True:
        before = time.monotonic()
        chunk = read(CHUNK_BYTES)
        if not chunk:
            return
        waited_seconds += time.monotonic() - before  # without the time that the disk takes
        counted_bytes += len(chunk)
        total += len(chunk)
        if total > limit:
            raise Incomplete(f"more than {limit} bytes")
        if waited_seconds >= PATIENCE_SECONDS:
            if counted_bytes < SLOWEST_BYTES_PER_SECOND * waited_seconds:
                raise Incomplete(f"only {counted_bytes} bytes in {waited_seconds:.0f} s")
            waited_seconds = 0.0
            counted_bytes = 0
        yield chunk


@contextmanager
def answer(url: str, limit: int, stall_seconds: float) -> Iterator[Callable[[int], bytes]]:
    """Request the file at `url`, and give a function that reads up to n bytes, none at its end.

    stall_seconds: how long to wait for a connection and for each next byte. Raises
    FileNotFoundError, BadStatus, Refused, Incomplete where the answer announces more than `limit`
    bytes, and aiohttp's errors.
    """
    from fsspec.asyn import get_loop, sync

    # The loop runs in a thread of its own, so that notebooks, which have a loop already, can fetch.
    loop = get_loop()
    guard = Guard()
    try:
        session, response = sync(loop, _ask, url, guard, stall_seconds)
    except Exception:
        if guard.refusal:  # aiohttp makes a failed connection of it
            raise guard.refusal from None
        raise
    try:
        _check(response, limit)
        yield lambda most: sync(loop, response.content.read, most)
    finally:
        sync(loop, _close, session, response)


async def _ask(
    url: str, guard: Guard, stall_seconds: float
) -> "tuple[ClientSession, ClientResponse]":
    """Send the request, and read the answer's header; the body is not read yet."""
    import aiohttp
    import fsspec
    import yarl

    class Connector(aiohttp.TCPConnector):
        """Reports whether a connection is made to a proxy."""

        async def connect(self, req: Any, traces: Any, timeout: Any) -> Any:
            guard.is_proxied = req.proxy is not None
            return await super().connect(req, traces, timeout)

    async def on_redirect(
        session: object, context: object, about: aiohttp.TraceRequestRedirectParams
    ) -> None:
        location = about.response.headers.get("Location") or about.response.headers.get("URI")
        with suppress(ValueError):  # no URL, which aiohttp reports
            guard.redirect(str(about.url), str(about.url.join(yarl.URL(location or ""))))

    def make_socket(about: Any) -> socket.socket:
        family, kind, protocol, _, address = about
        try:
            guard.connect(address[0])
        except Refused as error:
            raise OSError(str(error)) from None
        return socket.socket(family, kind, protocol)

    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(on_redirect)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=stall_seconds, sock_read=stall_seconds)
    scheme = url.partition(":")[0]
    users_options = fsspec.config.conf.get(scheme, {}).get("client_kwargs", {})
    options = {
        "timeout": timeout,
        "trust_env": True,
        **users_options,
        "connector": Connector(socket_factory=make_socket),
        "trace_configs": [trace],
        "auto_decompress": False,
    }
    guard.visit(url)
    session = aiohttp.ClientSession(**options)
    head_seconds = 2 * stall_seconds  # a header that trickles in never stalls
    try:
        async with asyncio.timeout(head_seconds):
            headers = {"Accept-Encoding": "identity"}
            return session, await session.get(url, headers=headers, max_redirects=MOST_REDIRECTS)
    except BaseException as error:
        await session.close()
        if isinstance(error, aiohttp.TooManyRedirects):
            raise Refused(f"more than {MOST_REDIRECTS} redirects", WHERE_THEY_LIE) from None
        if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ServerTimeoutError):
            raise Incomplete(f"no whole header in {head_seconds:g} s") from None
        raise


async def _close(session: "ClientSession", response: "ClientResponse") -> None:
    response.close()  # without reading the rest, which may have no end
    await session.close()


def _check(response: "ClientResponse", limit: int) -> None:
    if response.status in (404, 410):
        raise FileNotFoundError
    if response.status != 200:  # 206 would be a part of the file, which was not requested
        raise BadStatus(response.status)
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise Refused(
            f"it comes compressed, as {encoding!r:.20}", "have the server send files as they are"
        )
    if (response.content_length or 0) > limit:
        raise Incomplete(f"more than {limit} bytes")
