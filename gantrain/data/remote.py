"""Files behind a URL: fetched whole, with patience, and without telling any credentials."""

import errno
import hashlib
import os
import random
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from gantrain.data.index import load, load_index
from gantrain.files import write_text

TRIES = 6
PAUSE_SECONDS = 0.5  # doubled with each try
STALL_SECONDS = 30
_CHUNK = 4 << 20
CREDENTIALS = "~/.netrc, AWS_ACCESS_KEY_ID or ~/.aws, GOOGLE_APPLICATION_CREDENTIALS, HF_TOKEN"
_LARGEST = 64 << 30  # bytes of a file whose length isn't known: a server may never end

# Schemes, and our extra for what each needs.
_EXTRAS = {"http": "", "https": "", "s3": "[s3]", "gs": "[gcs]", "hf": "[hf]", "file": ""}


class FetchFailed(Exception):
    """A file that can't be had, in one line: its URL, the tries, the last one's reason."""


class Incomplete(Exception):
    """A file of which not all came, or too much."""


def is_url(text: str) -> bool:
    return "://" in text or text.startswith("pipe:")


def check_url(url: str) -> str:
    """The URL without a slash at its end.

    Raises ValueError for a scheme that isn't known and for credentials, which would be stored with
    the run; its text repeats nothing that may be secret.
    """
    scheme, _, rest = url.partition("://")
    if url.startswith("pipe:"):
        raise ValueError("found a pipe: URL, which would run a shell command; fetch the shards")
    if scheme not in _EXTRAS:
        found = scheme if scheme.isalnum() else "another kind of URL"
        raise ValueError(f"found {found}, allowed: a folder, or {'://, '.join(_EXTRAS)}://")
    if scheme == "file" and not rest.startswith("/"):
        raise ValueError(f"found {url}, allowed: file:// and a path from the root, such as file:///data/set")
    # After its repository a Hugging Face URL may have an @revision.
    if "@" in (rest.partition("/")[0] if scheme == "hf" else rest) or "?" in rest or "#" in rest:
        raise ValueError(
            f"found a {scheme} URL with a user, query or fragment, which would be stored with the "
            f"run; leave it out and give credentials as the scheme's library takes them: {CREDENTIALS}"
        )
    return url.rstrip("/")


def fetch(url: str, path: Path, size: int | None = None, tries: int | None = None) -> None:
    """Copy the file at `url`, which has `size` bytes where that is known, to `path`.

    Tries again after what may pass. Raises FetchFailed.
    """

    def copy() -> None:
        # The cache has reserved the room already, with the file's length.
        with path.open("wb" if size is None else "r+b") as file:
            _copy(url, file, _LARGEST if size is None else size, size is not None)

    patiently(copy, url, path.parent, tries, is_known=size is not None)


def patiently(
    work: Callable[[], None], url: str, folder: Path, tries: int | None = None, is_known: bool = False
) -> None:
    """Do `work`, which gets `url` into `folder`, and again after what may pass. Raises FetchFailed.

    is_known: the file was there before, so that it may come back where it is missing.
    """
    number = tries or TRIES
    for attempt in range(number):
        if attempt:
            # Jitter: all nodes of a job would come back at once. Not from the seeded generator.
            time.sleep(PAUSE_SECONDS * 2**attempt * random.SystemRandom().uniform(0.5, 1))
        try:
            return work()
        except Exception as error:
            reason, advice = _why(error, url), "when it can be had, go on with the same command"
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                number, advice = attempt + 1, f"make room for it in {folder}"
            lasting = (FileNotFoundError, PermissionError, ImportError, ValueError)
            refused = getattr(error, "status", None) in (401, 403)
            if refused:
                advice = f"the server wants credentials: {CREDENTIALS}"
            if refused or (not is_known and isinstance(error, lasting)):  # told at once, when a run starts
                number = attempt + 1
        if number == attempt + 1:
            raise FetchFailed(f"{url} cannot be fetched (tries: {number}, the last: {reason}); {advice}")


def _copy(url: str, file: IO[bytes], limit: int, exactly: bool) -> None:
    import fsspec

    scheme, read = url.partition("://")[0], 0
    options: dict[str, Any] = {}
    how: dict[str, Any] = {"block_size": 0} if scheme == "hf" else {}  # one request, streamed
    if scheme in ("http", "https"):
        from aiohttp import ClientTimeout

        # fsspec's own limit is five minutes a file, however steadily it comes.
        stalled = ClientTimeout(total=None, sock_connect=STALL_SECONDS, sock_read=STALL_SECONDS)
        own = fsspec.config.conf.get(scheme, {}).get("client_kwargs", {})
        options = {"client_kwargs": {"timeout": stalled, "trust_env": True, **own}}
        how = {"block_size": 0, "size": 1}  # any size spares a question for it
    with fsspec.filesystem(scheme, **options).open(url, "rb", **how) as stream:
        while read <= limit and (chunk := stream.read(_CHUNK)):
            read += len(chunk)
            file.write(chunk)
    if read > limit or (exactly and read < limit):
        raise Incomplete(f"{'more than' if read > limit else f'{read} of'} {limit} bytes")


def _why(error: Exception, url: str) -> str:
    """A library's error in a few words of ours: its own may hold a signed URL or a token."""
    if isinstance(error, Incomplete):
        return str(error)
    if isinstance(error, ImportError):
        return f"a library is missing: pip install 'gantrain{_EXTRAS[url.partition('://')[0]]}'"
    if isinstance(error, TimeoutError):
        return f"nothing came for {STALL_SECONDS} s"
    if isinstance(status := getattr(error, "status", None), int):
        return f"HTTP status {status}"
    if isinstance(error, OSError) and error.errno and error.errno > 0:  # not a name's look-up
        return os.strerror(error.errno)
    return "it is not there" if isinstance(error, FileNotFoundError) else type(error).__name__


def index_folder(url: str, cache: Path) -> Path:
    """A folder below `cache` with the index of the data set at `url`, checked.

    Raises ValueError, in one line, if there is none, it isn't sound, or can't be fetched.
    """
    cache.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(url.encode())
    with TemporaryDirectory(dir=cache, prefix=".index-") as temporary:
        (folder := Path(temporary, "index")).mkdir()
        try:
            for name in ("index.json", "index.npz"):
                fetch(f"{url}/{name}", folder / name)
                digest.update(hashlib.sha256((folder / name).read_bytes()).digest())
            # Whatever base the server names: its shards lie where its index does.
            index = load_index(folder).model_copy(update={"base": url})
            write_text(folder / "index.json", index.model_dump_json())
            load(folder)
            target = cache / digest.hexdigest()[:32]
            with suppress(OSError):  # it is there already
                folder.rename(target)
            return target
        except (FetchFailed, ValueError) as error:
            raise ValueError(str(error).replace(str(folder), url)) from None
