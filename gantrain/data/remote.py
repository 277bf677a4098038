"""Files behind a URL: fetched whole, with patience, and without telling any credentials."""

import errno
import hashlib
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from gantrain.core.files import write_text
from gantrain.core.paths import check_not_special
from gantrain.data.addresses import Refused
from gantrain.data.index import MOST_INDEX_BYTES, largest_arrays, load, load_index
from gantrain.data.urls import CREDENTIALS, EXTRAS
from gantrain.data.web import Incomplete, answer, paced

TRIES = 6
PAUSE_SECONDS = 0.5  # doubled with each try
STALL_SECONDS = 30
LARGEST_BYTES = 64 << 30  # of a file whose length isn't known: a server may never end


class FetchFailed(Exception):
    """A file that can't be had, in one line: its URL, the tries, the last one's reason."""


def fetch(
    url: str,
    path: Path,
    size: int | None = None,
    tries: int | None = None,
    limit: int = LARGEST_BYTES,
) -> None:
    """Copy the file at `url`, which has `size` bytes where that is known, else at most `limit`, to
    `path`.

    Tries again after what may pass. Raises FetchFailed.
    """

    if url.startswith("file://"):
        check_not_special(url.removeprefix("file://"), "found")

    def copy() -> None:
        # The cache has reserved the room already, with the file's length.
        with path.open("wb" if size is None else "r+b") as file:
            _copy(url, file, limit if size is None else size, size is not None)

    with_retries(copy, url, path.parent, tries, is_known=size is not None)


def with_retries(
    work: Callable[[], None],
    url: str,
    folder: Path,
    tries: int | None = None,
    is_known: bool = False,
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
            if isinstance(error, Refused):
                refused = True
                advice = error.advice
            if refused or (
                not is_known and isinstance(error, lasting)
            ):  # told at once, when a run starts
                number = attempt + 1
        if number == attempt + 1:
            raise FetchFailed(
                f"{url} cannot be fetched (tries: {number}, the last: {reason}); {advice}"
            )


def _copy(url: str, file: IO[bytes], limit: int, exactly: bool) -> None:
    total = 0
    with _reading(url, limit) as read:
        for chunk in paced(read, limit):
            total += len(chunk)
            file.write(chunk)
    if exactly and total < limit:
        raise Incomplete(f"{total} of {limit} bytes")


@contextmanager
def _reading(url: str, limit: int) -> Iterator[Callable[[int], bytes]]:
    """A function that reads up to so many bytes of the file at `url`, and none at its end."""
    scheme = url.partition("://")[0]
    if scheme in ("http", "https"):
        with answer(url, limit, STALL_SECONDS) as read:
            yield read
        return
    import fsspec

    how: dict[str, Any] = {"block_size": 0} if scheme == "hf" else {}  # one request, streamed
    with fsspec.filesystem(scheme).open(url, "rb", **how) as stream:
        yield stream.read


def _why(error: Exception, url: str) -> str:
    """A library's error in a few words of ours: its own may hold a signed URL or a token."""
    if isinstance(error, Incomplete | Refused):
        return str(error)
    if isinstance(error, ImportError):
        return f"a library is missing: pip install 'gantrain{EXTRAS[url.partition('://')[0]]}'"
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
        folder = Path(temporary, "index")
        folder.mkdir()
        try:
            fetch(f"{url}/index.json", folder / "index.json", limit=MOST_INDEX_BYTES)
            digest.update(hashlib.sha256((folder / "index.json").read_bytes()).digest())
            # Whatever base the server names: its shards lie where its index does.
            index = load_index(folder, base=url)
            fetch(f"{url}/index.npz", folder / "index.npz", limit=largest_arrays(index))
            with (folder / "index.npz").open("rb") as arrays:
                digest.update(hashlib.file_digest(arrays, "sha256").digest())
            write_text(folder / "index.json", index.model_dump_json())
            load(folder)
            target = cache / digest.hexdigest()[:32]
            with suppress(OSError):  # it is there already
                folder.rename(target)
            return target
        except (FetchFailed, ValueError) as error:
            raise ValueError(str(error).replace(str(folder), url)) from None
