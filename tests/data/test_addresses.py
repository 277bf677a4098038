"""Which addresses a request and its redirects may reach."""

import pytest

from gantrain.data.addresses import Guard, Refused, parse, sort_of

SORTS = {
    "8.8.8.8": "public",
    "2606:4700::1111": "public",
    "127.0.0.1": "private",
    "127.1": "private",
    "0.0.0.0": "private",
    "0": "private",
    "10.1.2.3": "private",
    "172.16.0.1": "private",
    "192.168.1.1": "private",
    "100.64.0.1": "private",
    "224.0.0.1": "private",
    "::1": "private",
    "[::1]": "private",
    "fd00:ec2::254": "private",
    "::ffff:127.0.0.1": "private",
    "64:ff9b::a00:1": "private",
    "169.254.169.254": "link-local",
    "169.254.0.1": "link-local",
    "2852039166": "link-local",
    "0xa9fea9fe": "link-local",
    "0xA9.0xFE.0xA9.0xFE": "link-local",
    "0251.0376.0251.0376": "link-local",
    "169.254.43518": "link-local",
    "fe80::1": "link-local",
    "fe80::1%eth0": "link-local",
    "febf::1": "link-local",
    "::ffff:169.254.169.254": "link-local",
    "::ffff:a9fe:a9fe": "link-local",
    "::169.254.169.254": "link-local",
    "64:ff9b::a9fe:a9fe": "link-local",
    "2002:a9fe:a9fe::": "link-local",
}


@pytest.mark.parametrize("text", SORTS)
def test_an_address_is_known_in_any_form(text: str) -> None:
    address = parse(text)
    assert address is not None
    assert sort_of(address) == SORTS[text]


@pytest.mark.parametrize(
    "text", ["example.org", "node1", "", "1.2.3.4.5", "0x", "fe80", "256.1.1.1"]
)
def test_a_name_is_no_address(text: str) -> None:
    assert parse(text) is None


PUBLIC, PRIVATE, LOOPBACK, LINK_LOCAL = "8.8.8.8", "10.0.0.1", "127.0.0.1", "169.254.169.254"

# The addresses that a URL and its redirects lead to, and what is wrong with the last one.
CHAINS = [
    ((PUBLIC,), ""),
    ((PRIVATE,), ""),
    ((LOOPBACK,), ""),
    ((LINK_LOCAL,), "link-local"),
    ((PUBLIC, PUBLIC), ""),
    ((PRIVATE, PRIVATE), ""),
    ((PRIVATE, LOOPBACK), ""),
    ((PRIVATE, PUBLIC), ""),
    ((PUBLIC, PRIVATE), "not public"),
    ((PUBLIC, LOOPBACK), "not public"),
    ((PUBLIC, LINK_LOCAL), "link-local"),
    ((PRIVATE, LINK_LOCAL), "link-local"),
    ((PRIVATE, PUBLIC, PRIVATE), "not public"),
    ((PUBLIC, PUBLIC, LOOPBACK), "not public"),
]


def follow(guard: Guard, addresses: tuple[str, ...], written_out: bool) -> None:
    for number, address in enumerate(addresses):
        url = f"http://{address if written_out else f'name{number}.example'}/set"
        if number:
            guard.redirect("http://before.example/", url)
        else:
            guard.visit(url)
        guard.connect(address)


@pytest.mark.parametrize("written_out", [True, False])
@pytest.mark.parametrize(("addresses", "reason"), CHAINS)
def test_redirects_lead_from_public_addresses_to_public_ones_only(
    addresses: tuple[str, ...], reason: str, written_out: bool
) -> None:
    if not reason:
        follow(Guard(), addresses, written_out)
        return
    with pytest.raises(Refused, match=reason):
        follow(Guard(), addresses, written_out)


def test_one_public_address_of_a_name_makes_it_public() -> None:
    guard = Guard()
    guard.visit("http://both.example/")
    guard.connect(PUBLIC)
    guard.connect(PRIVATE)
    guard.redirect("http://both.example/", "http://inside.example/")
    with pytest.raises(Refused, match="not public"):
        guard.connect(PRIVATE)


def test_an_address_that_cannot_be_read_is_refused() -> None:
    guard = Guard()
    guard.visit("http://odd.example/")
    with pytest.raises(Refused, match="unknown form"):
        guard.connect("?")


@pytest.mark.parametrize(
    ("url", "location", "reason"),
    [
        ("https://a.example/x", "http://a.example/x", "from https to a URL without encryption"),
        ("https://a.example/x", "ftp://a.example/x", "neither http nor https"),
        ("http://a.example/x", "ftp://a.example/x", "neither http nor https"),
        ("http://a.example/x", "file:///etc/passwd", "neither http nor https"),
    ],
)
def test_a_redirect_keeps_its_encryption_and_its_protocol(
    url: str, location: str, reason: str
) -> None:
    with pytest.raises(Refused, match=reason):
        Guard().redirect(url, location)


@pytest.mark.parametrize(
    ("url", "location", "target"),
    [
        ("https://a.example/x/y", "z", "https://a.example/x/z"),
        ("http://a.example/x", "https://b.example/x", "https://b.example/x"),
        ("https://a.example/x", "//b.example/x", "https://b.example/x"),
    ],
)
def test_a_redirect_leads_where_it_says(url: str, location: str, target: str) -> None:
    assert Guard().redirect(url, location) == target


def test_behind_a_proxy_only_written_out_addresses_are_judged() -> None:
    proxy = "10.0.0.9"
    guard = Guard()
    guard.is_proxied = True
    guard.visit("http://a.example/")
    guard.connect(proxy)
    guard.redirect("http://a.example/", "http://b.example/")
    guard.connect(proxy)
    for url in (f"http://{PRIVATE}/", f"http://{LINK_LOCAL}/", "http://10.0.0.%31/"):
        with pytest.raises(Refused):
            guard.redirect("http://b.example/", url)
    guard.redirect("http://b.example/", "http://inside.example/")
    guard.is_proxied = False  # as the environment's no_proxy may say
    with pytest.raises(Refused, match="not public"):
        guard.connect(PRIVATE)


def test_a_written_out_private_address_behind_a_proxy_is_private() -> None:
    guard = Guard()
    guard.is_proxied = True
    guard.visit(f"http://{PRIVATE}/")
    guard.connect("10.0.0.9")
    guard.redirect(f"http://{PRIVATE}/", f"http://{LOOPBACK}/")
