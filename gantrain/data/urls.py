"""URLs as a recipe, the command line or an index may state them."""

from urllib.parse import urlsplit

from gantrain.printable import printable

CREDENTIALS = "~/.netrc, AWS_ACCESS_KEY_ID or ~/.aws, GOOGLE_APPLICATION_CREDENTIALS, HF_TOKEN"

# Schemes, and our extra for what each needs.
EXTRAS = {"http": "", "https": "", "s3": "[s3]", "gs": "[gcs]", "hf": "[hf]", "file": ""}


def is_url(text: str) -> bool:
    return "://" in text or text.startswith("pipe:")


def check_url(url: str) -> str:
    """The URL without a slash at its end.

    Raises ValueError for a scheme that isn't known, for control characters, and for credentials, which would be stored
    with the run; its text repeats nothing that may be secret.
    """
    scheme, _, rest = url.partition("://")
    if url.startswith("pipe:"):
        raise ValueError("found a pipe: URL, which would run a shell command; fetch the shards")
    if scheme not in EXTRAS:
        found = scheme if scheme.isalnum() else "another kind of URL"
        raise ValueError(f"found {found}, allowed: a folder, or {'://, '.join(EXTRAS)}://")
    # After its repository a Hugging Face URL may have an @revision.
    if "@" in (rest.partition("/")[0] if scheme == "hf" else rest) or "?" in rest or "#" in rest:
        raise ValueError(
            f"found a {scheme} URL with a user, query or fragment, which would be stored with the "
            f"run; leave it out and give credentials as the scheme's library takes them: {CREDENTIALS}"
        )
    if printable(url) != url:
        raise ValueError(f"found a {scheme} URL with control characters; give it without them")
    if scheme == "file" and not rest.startswith("/"):
        raise ValueError(f"found {url}, allowed: file:// and a path from the root, such as file:///data/set")
    return url.rstrip("/")


def where(url: str) -> str:
    """The place of a checked URL in a few words, for a line such as "the shards lie at host example.org"."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return f"in folder {parts.path}"
    if parts.scheme in ("http", "https"):
        return f"at host {parts.netloc}"
    return f"at {parts.scheme}://{parts.netloc}"
