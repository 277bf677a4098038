"""The addresses to which a request may connect.

A user's URL may name any address that is not link-local. A redirect may name fewer. Clusters keep
their data at private addresses, so a user's URL may lead there. A public server's redirect may not:
it would make this machine ask services that only this machine can reach. Link-local addresses
belong to such services (a cloud's metadata, with its credentials) and are refused in any case.
"""

import ipaddress
import socket
from urllib.parse import unquote, urljoin, urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MOST_REDIRECTS = 10
WHERE_THEY_LIE = "give the URL where the files lie themselves"
NOT_LINK_LOCAL = (
    "such addresses belong to this machine's own services; give the server's own address"
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Refused(Exception):
    """An address or an answer that gantrain does not take, so that it makes no sense to try again.

    reason: what was found. advice: what the user can do.
    """

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(reason)
        self.advice = advice


def parse(host: str) -> Address | None:
    """Return the address that `host` writes out, in any form of resolvers; None for a name."""
    host = host.strip("[]").partition("%")[0]  # without the zone of an IPv6 address
    try:
        return _inner(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:  # one number, octal, hexadecimal, fewer than four parts
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeError):
        return None


def _inner(address: Address) -> Address:
    """Return the IPv4 address inside an IPv6 address that stands for one, else the address."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    is_compatible = int(address) >> 32 == 0  # ::a.b.c.d, an old form
    if is_compatible or address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def sort_of(address: Address) -> str:
    """Return `link-local`, `public` or `private`.

    Loopback, private, shared and reserved addresses count as private.
    """
    if address.is_link_local:
        return "link-local"
    return "public" if address.is_global and not address.is_multicast else "private"


class Guard:
    """Judges the addresses of one request and of its redirects, before anything is sent to them.

    Call `visit` with the request's URL, `redirect` with each redirect's, and `connect` with the
    address that a connection is made to, so that no second look-up of a name can give another one.

    is_proxied: set it before `connect` where the connection leads to a proxy, which looks up the
    names itself. Then an address can only be judged where the URL writes it out; any other place
    counts as public.
    """

    def __init__(self) -> None:
        self.url = ""
        self.is_proxied = False
        self.refusal: Refused | None = None  # for a library that hides what `connect` raised
        self._is_written_out = False
        self._was_public = False  # an earlier URL of the chain led to a public address
        self._is_public = False  # this one does

    def visit(self, url: str) -> None:
        self.url = url
        self._was_public = self._was_public or self._is_public
        self._is_public = False
        address = parse(unquote(urlsplit(url).hostname or ""))
        self._is_written_out = address is not None
        if address:
            self._judge(address)

    def redirect(self, url: str, location: str) -> str:
        """Follow a redirect from `url`, and return the URL to which it leads. Raises Refused."""
        target = urljoin(url, location)
        if urlsplit(target).scheme not in ("http", "https"):
            raise Refused(
                "a redirect leads to a URL that is neither http nor https", WHERE_THEY_LIE
            )
        if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
            raise Refused("a redirect leads from https to a URL without encryption", WHERE_THEY_LIE)
        self.visit(target)
        return target

    def connect(self, host: str) -> None:
        """Allow a connection to the address `host`, or raise Refused."""
        if self.is_proxied:  # `host` is the proxy's own address
            self._is_public = self._is_public or not self._is_written_out
            return
        address = parse(host)
        if address is None:
            raise self._refuse("its address is of an unknown form", WHERE_THEY_LIE)
        self._judge(address)

    def _judge(self, address: Address) -> None:
        sort = sort_of(address)
        if sort == "link-local":
            raise self._refuse(f"its address {address} is link-local", NOT_LINK_LOCAL)
        if sort == "private" and self._was_public:
            raise self._refuse(
                f"a public server redirects to {address}, which is not public", WHERE_THEY_LIE
            )
        self._is_public = self._is_public or sort == "public"

    def _refuse(self, reason: str, advice: str) -> Refused:
        self.refusal = Refused(reason, advice)
        return self.refusal
