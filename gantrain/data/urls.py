"""URLs as a recipe, the command line or an index may state them."""

from urllib.parse import urlsplit

from gantrain.core.errors import UserError
from gantrain.core.printable import printable
from gantrain.data.addresses import NOT_LINK_LOCAL, parse, sort_of

CREDENTIALS = "~/.netrc, AWS_ACCESS_KEY_ID or ~/.aws, GOOGLE_APPLICATION_CREDENTIALS, HF_TOKEN"

# Schemes, and our extra for what each needs.
EXTRAS = {"http": "", "https": "", "s3": "[s3]", "gs": "[gcs]", "hf": "[hf]", "file": ""}


def is_url(text: str) -> bool:
    return "://" in text or text.startswith("pipe:")


def check_url(url: str) -> str:
    """Return the URL without a slash at its end.

    Raises UserError for a scheme that is not known, for control characters, for a link-local
    address, and for credentials, which would be stored with the run. The error's text repeats
    nothing that may be secret.
    """
    scheme, _, rest = url.partition("://")
    if url.startswith("pipe:"):
        raise UserError("found a pipe: URL, which would run a shell command; fetch the shards")
    if scheme not in EXTRAS:
        kind = scheme if scheme.isalnum() else "another kind of URL"
        raise UserError(f"found {kind}, allowed: a folder, or {'://, '.join(EXTRAS)}://")
    # A Hugging Face URL may have an @revision after its repository.
    before_user = rest.partition("/")[0] if scheme == "hf" else rest
    if "@" in before_user or "?" in rest or "#" in rest:
        raise UserError(
            f"found a {scheme} URL with a user, query or fragment, which would be stored with the"
            " run; leave it out and give credentials as the scheme's library takes them:"
            f" {CREDENTIALS}"
        )
    if printable(url) != url:
        raise UserError(f"found a {scheme} URL with control characters; give it without them")
    if scheme in ("http", "https"):
        _check_host(url)
    if scheme == "file" and not rest.startswith("/"):
        raise UserError(
            f"found {url}, allowed: file:// and a path from the root, such as file:///data/set"
        )
    return url.rstrip("/")


def _check_host(url: str) -> None:
    """Raises UserError for an address that no request may reach.

    The address of a name is judged when it is connected to.
    """
    try:
        address = parse(urlsplit(url).hostname or "")
    except ValueError:
        raise UserError(
            "found a URL whose host cannot be read; write it as http://HOST/FOLDER"
        ) from None
    if address and sort_of(address) == "link-local":
        raise UserError(f"found the link-local address {address}; {NOT_LINK_LOCAL}")


def where(url: str) -> str:
    """Return the place of a checked URL in a few words, such as `at host example.org`."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return f"in folder {parts.path}"
    if parts.scheme in ("http", "https"):
        return f"at host {parts.netloc}"
    return f"at {parts.scheme}://{parts.netloc}"
