"""Servers that nobody should trust: bodies and headers without an end, bombs, redirects into
this machine.
"""

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faulty_server import Handler, Server, serving

from gantrain.data import addresses, download, remote, web
from gantrain.data.open_dataset import open_set
from gantrain.data.remote import FetchFailed, fetch
from gantrain.data.request import DataRequest

WANTED = DataRequest("quickstart", "label", "photo", {"label": 10}, (32, 32), None, 1)
ENOUGH_SECONDS = 5


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(remote, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(remote, "TRIES", 2)
    monkeypatch.setattr(remote, "STALL_SECONDS", 0.4)
    monkeypatch.setattr(download, "STALL_SECONDS", 0.4)
    monkeypatch.setattr(web, "PATIENCE_SECONDS", 0.4)
    monkeypatch.setattr(remote, "MOST_INDEX_BYTES", 1 << 20)
    monkeypatch.setattr(download, "_MOST_BYTES", 1 << 20)
    monkeypatch.setenv("GANTRAIN_CACHE", str(tmp_path / "cache"))
    for name in ("http_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    folder = tmp_path / "there"
    folder.mkdir()
    (folder / "index.json").write_bytes(b"{}" * 1000)
    (folder / "facades.tar.gz").write_bytes(b"archive" * 1000)
    with serving(folder) as server:
        monkeypatch.setitem(download.URLS, "facades", f"{server.url}/facades.tar.gz")
        yield server


def compressed(handler: Handler, body: bytes) -> None:
    """10 MB of zeros in 10 KB."""
    bomb = gzip.compress(bytes(10**7))
    handler.send_response(200)
    handler.send_header("Content-Encoding", "gzip")
    handler.send_header("Content-Length", str(len(bomb)))
    handler.end_headers()
    handler.wfile.write(bomb)


def endless(handler: Handler, body: bytes) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    while True:
        handler.wfile.write(b"10000\r\n" + bytes(1 << 16) + b"\r\n")


def endless_plain(handler: Handler, body: bytes) -> None:
    """Neither a length nor chunks: it ends with the connection, which never ends."""
    handler.close_connection = True
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(bytes(1 << 16))


def announces_much(handler: Handler, body: bytes) -> None:
    handler.answer(200, body, 10**15)
    time.sleep(2)
    handler.close_connection = True


def trickles(handler: Handler, body: bytes) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    for _ in range(1000):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.05)


def header_trickles(handler: Handler, body: bytes) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for _ in range(1000):
        handler.wfile.write(b"X")
        handler.wfile.flush()
        time.sleep(0.05)


def header_without_end(handler: Handler, body: bytes) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        handler.wfile.write(b"X-Header: x\r\n" * 1000)


def part(handler: Handler, body: bytes) -> None:
    handler.answer(206, body[:7], content_range=f"bytes 0-6/{len(body)}")


def redirect(location: str) -> Callable[[Handler, bytes], None]:
    def answer(handler: Handler, body: bytes) -> None:
        handler.send_response(302)
        handler.send_header("Location", location)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def nothing_but_a_redirect(handler: Handler, body: bytes) -> None:
    handler.answer(302, b"")


FAULTS: dict[str, tuple[Callable[[Handler, bytes], None], str]] = {
    "compressed": (
        compressed,
        r"tries: 1, the last: it comes compressed, as 'gzip'\); have the server send",
    ),
    "endless": (endless, r"tries: 2, the last: more than 1048576 bytes"),
    "endless without chunks": (endless_plain, r"tries: 2, the last: more than 1048576 bytes"),
    "announces much": (announces_much, r"tries: 2, the last: more than 1048576 bytes"),
    "trickles": (trickles, r"tries: 2, the last: only \d+ bytes in \d+ s"),
    "header trickles": (header_trickles, r"tries: 2, the last: no whole header in 0.8 s"),
    "header without an end": (
        header_without_end,
        r"tries: 2, the last: (HTTP status 400|\w+Error)",
    ),
    "a part": (part, r"tries: 2, the last: HTTP status 206"),
    "redirects in a circle": (
        redirect("/index.json"),
        r"tries: 1, the last: more than 10 redirects",
    ),
    "redirects to a file": (
        redirect("file:///etc/passwd"),
        r"tries: 1, the last: a redirect leads to a URL that is",
    ),
    "redirects nowhere": (nothing_but_a_redirect, r"tries: 2, the last: HTTP status 302"),
    "redirects to metadata": (
        redirect("http://169.254.169.254/latest/meta-data/?token=secret"),
        r"tries: 1, the last: its address 169\.254\.169\.254 is link-local\)",
    ),
}


CASES = [
    pytest.param(name, marks=pytest.mark.slow if "trickles" in name else ()) for name in FAULTS
]


@pytest.mark.parametrize("name", CASES)
def test_an_answer_is_bounded_in_size_and_time(name: str, server: Server) -> None:
    fault, reason = FAULTS[name]
    server.faults = {"*": [fault] * 30}
    before = time.monotonic()
    with pytest.raises(
        ValueError, match=f"data.train: {server.url}/index.json cannot be fetched .{reason}"
    ) as caught:
        open_set("train", server.url, WANTED)
    assert time.monotonic() - before < ENOUGH_SECONDS
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", CASES)
def test_an_archive_is_bounded_in_size_and_time(name: str, server: Server) -> None:
    fault, _ = FAULTS[name]
    server.faults = {"*": [fault] * 30}
    before = time.monotonic()
    # Compressed bytes are taken as the file itself, which is an empty archive.
    with pytest.raises(ValueError, match=r"cannot be fetched|holds no images") as caught:
        download.download("facades", Path("data"))
    assert time.monotonic() - before < ENOUGH_SECONDS
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert sum(file.stat().st_size for file in Path("data").iterdir()) <= 1 << 20


def test_a_fault_that_passes_is_forgiven(server: Server) -> None:
    server.faults = {"index.json": [trickles]}
    fetch(f"{server.url}/index.json", Path("got"))
    assert Path("got").read_bytes() == b"{}" * 1000


# -- where a URL and its redirects may lead
# ----------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "[::ffff:169.254.169.254]",
        "[fe80::1]",
    ],
)
def test_a_link_local_address_is_refused_in_any_form(host: str) -> None:
    with pytest.raises(
        ValueError, match=r"data\.train: found the link-local address \S+; such addresses"
    ):
        open_set("train", f"http://{host}/set", WANTED)


def lookup(addresses_by_name: dict[str, str]) -> Callable[..., object]:
    real = socket.getaddrinfo

    def look_up(host: str, *arguments: object, **options: object) -> object:
        return real(addresses_by_name.get(host, host), *arguments, **options)

    return look_up


def test_a_name_may_not_stand_for_a_link_local_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lookup({"metadata.example": "169.254.169.254"}))
    with pytest.raises(ValueError, match=r"its address 169\.254\.169\.254 is link-local"):
        open_set("train", "http://metadata.example/set", WANTED)


@pytest.fixture
def public(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The host and port of a server at an address that counts as public here."""
    try:
        listening = socket.create_server(("127.0.0.2", 0))
    except OSError:
        pytest.skip("this machine has no second loopback address")
    real = addresses.sort_of
    monkeypatch.setattr(
        addresses, "sort_of", lambda x: "public" if str(x) == "127.0.0.2" else real(x)
    )

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                asked = connection.recv(1 << 16).split()[1].decode()
                answer = f"HTTP/1.1 302 Found\r\nLocation: {server.url}{asked}\r\nContent-Length: 0\r\n\r\n"
                connection.sendall(answer.encode())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"127.0.0.2:{listening.getsockname()[1]}"
    listening.close()


def test_a_public_server_may_not_redirect_to_this_machine(
    public: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = r"tries: 1, the last: a public server redirects to 127\.0\.0\.1, which is not public\); give the URL"
    with pytest.raises(FetchFailed, match=reason):
        fetch(f"http://{public}/index.json", Path("got"))
    monkeypatch.setitem(download.URLS, "facades", f"http://{public}/facades.tar.gz")
    with pytest.raises(ValueError, match=reason):
        download.download("facades", Path("data"))
    assert not server.requests, "nothing is asked of the address"


def test_what_a_name_stands_for_is_looked_up_once(
    public: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that stands for a public address first and then for this machine does not get past
    the check.
    """
    port = public.rpartition(":")[2]
    monkeypatch.setattr(
        socket, "getaddrinfo", lookup({"data.example": "127.0.0.2", "inside.example": "127.0.0.1"})
    )
    server.url = server.url.replace("127.0.0.1", "inside.example")
    with pytest.raises(FetchFailed, match="a public server redirects to"):
        fetch(f"http://data.example:{port}/index.json", Path("got"))
    assert not server.requests


# -- behind a proxy
# ----------------------------------------------------------------------------------


def fetched(way: str, url: str) -> None:
    """By either client; nothing is unpacked."""
    if way == "fetch":
        fetch(url, Path("got"))
    else:
        download._fetch(url, Path("got"))


@pytest.mark.parametrize("way", ["fetch", "download"])
def test_a_proxy_is_used(way: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for the whole URL, and may have any address but a written-out link-local one
    for its target.
    """
    monkeypatch.setenv("http_proxy", server.url)
    (server.folder / "http:" / "data.example").mkdir(parents=True)
    (server.folder / "http:" / "data.example" / "file").write_bytes(b"by the proxy")
    fetched(way, "http://data.example/file")
    assert Path("got").read_bytes() == b"by the proxy"
    before = server.requests.total()
    with pytest.raises(FetchFailed, match="link-local"):
        fetched(way, "http://169.254.169.254/file")
    assert server.requests.total() == before


@pytest.mark.parametrize("way", ["fetch", "download"])
@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.%31", "inside.example"])
def test_what_a_proxy_redirects_is_judged(
    way: str, host: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A place that the proxy reaches counts as public; the redirect leads past the proxy."""
    monkeypatch.setattr(socket, "getaddrinfo", lookup({"inside.example": "127.0.0.1"}))
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1,inside.example")
    port = server.url.rpartition(":")[2]
    (server.folder / "http:" / "data.example").mkdir(parents=True)
    (server.folder / "http:" / "data.example" / "file").write_bytes(b"")
    server.faults = {"http://data.example/file": [redirect(f"http://{host}:{port}/index.json")] * 9}
    with pytest.raises(
        FetchFailed, match=r"a public server redirects to 127\.0\.0\.1, which is not public"
    ):
        fetched(way, "http://data.example/file")
    assert not server.requests["index.json"]


def test_a_proxy_that_the_client_ignores_is_no_way_around(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiohttp leaves out proxies of https, and connects directly."""
    monkeypatch.setattr(socket, "getaddrinfo", lookup({"metadata.example": "169.254.169.254"}))
    monkeypatch.setenv("http_proxy", server.url.replace("http:", "https:"))
    with pytest.raises(FetchFailed, match=r"link-local|the last: \w+Error"):
        fetch("http://metadata.example/index.json", Path("got"))


def test_a_server_inside_may_redirect_inside(server: Server) -> None:
    server.faults = {"a": [redirect("/index.json")]}
    (server.folder / "a").write_bytes(b"")
    fetch(f"{server.url}/a", Path("got"))
    assert Path("got").read_bytes() == b"{}" * 1000
