"""Files behind a URL: fetched whole, with retries, and without credentials in any message."""

import errno
import hashlib
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, NamedTuple

from gantrain.core.errors import UserError
from gantrain.core.files import write_text
from gantrain.core.paths import check_not_special
from gantrain.data.addresses import Refused
from gantrain.data.index import MOST_INDEX_BYTES, largest_arrays, load, load_index
from gantrain.data.urls import CREDENTIALS, EXTRAS
from gantrain.data.web import Incomplete, answer, paced

TRIES = 6
PAUSE_SECONDS = 0.5  # doubled with each try
STALL_SECONDS = 30
LARGEST_BYTES = 64 << 30  # of a file whose length is not known: a server may never end

_NEED_CREDENTIALS = (401, 403)  # statuses of HTTP
# Errors that no later try mends, unless the file was there before.
_LASTING = (FileNotFoundError, PermissionError, ImportError, ValueError)


class FetchFailed(Exception):
    """A file that cannot be fetched; one line with its URL, the tries and the last one's reason."""


def fetch(
    url: str,
    path: Path,
    size: int | None = None,
    tries: int | None = None,
    limit: int = LARGEST_BYTES,
) -> None:
    """Copy the file at `url` to `path`, and try again after errors that may pass.

    size: the file's bytes, where they are known; else `limit` is the most that is copied. Raises
    FetchFailed.
    """
    if url.startswith("file://"):
        check_not_special(url.removeprefix("file://"), "found")

    def copy() -> None:
        if size is None:
            with path.open("wb") as file:
                _copy(url, file, limit)
            return
        # The cache has reserved the room already, with the file's length.
        with path.open("r+b") as file:
            total = _copy(url, file, size)
        if total < size:
            raise Incomplete(f"{total} of {size} bytes")

    with_retries(copy, url, path.parent, tries, is_known=size is not None)


def with_retries(
    work: Callable[[], None],
    url: str,
    folder: Path,
    tries: int | None = None,
    is_known: bool = False,
) -> None:
    """Call `work`, which fetches `url` into `folder`, and again after errors that may pass.

    is_known: the file was there before, so that it may come back where it is missing. Raises
    FetchFailed after the last try, or at once for an error that lasts.
    """
    number = tries or TRIES
    for attempt in range(1, number + 1):
        try:
            return work()
        except Exception as error:
            failure = _judge(error, url, folder, is_known)
        if failure.is_lasting or attempt == number:
            raise FetchFailed(
                f"{url} cannot be fetched (tries: {attempt}, the last: {failure.reason});"
                f" {failure.advice}"
            )
        # Jitter: all nodes of a job would come back at once. Not from the seeded generator.
        time.sleep(PAUSE_SECONDS * 2**attempt * random.SystemRandom().uniform(0.5, 1))


class _Failure(NamedTuple):
    """A failed try. is_lasting: another try would fail as well, so the user is told at once."""

    reason: str
    advice: str
    is_lasting: bool


def _judge(error: Exception, url: str, folder: Path, is_known: bool) -> _Failure:
    reason = _reason_of(error, url)
    if isinstance(error, Refused):
        return _Failure(reason, error.advice, is_lasting=True)
    if getattr(error, "status", None) in _NEED_CREDENTIALS:
        advice = f"the server wants credentials: {CREDENTIALS}"
        return _Failure(reason, advice, is_lasting=True)
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return _Failure(reason, f"make room for it in {folder}", is_lasting=True)
    is_lasting = not is_known and isinstance(error, _LASTING)
    return _Failure(reason, "when it can be had, go on with the same command", is_lasting)


def _copy(url: str, file: IO[bytes], limit: int) -> int:
    """Copy a file of at most `limit` bytes, and return its bytes. Raises Incomplete for more."""
    total = 0
    with _reading(url, limit) as read:
        for chunk in paced(read, limit):
            total += len(chunk)
            file.write(chunk)
    return total


@contextmanager
def _reading(url: str, limit: int) -> Iterator[Callable[[int], bytes]]:
    """Give a function that reads up to n bytes of the file at `url`, and none at its end."""
    scheme = url.partition("://")[0]
    if scheme in ("http", "https"):
        with answer(url, limit, STALL_SECONDS) as read:
            yield read
        return
    import fsspec

    options: dict[str, object] = {}
    if scheme == "hf":
        options["block_size"] = 0  # one request, streamed
    with fsspec.filesystem(scheme).open(url, "rb", **options) as stream:
        yield stream.read


def _reason_of(error: Exception, url: str) -> str:
    """Describe a library's error in our words, since its own may hold a signed URL or a token."""
    if isinstance(error, Incomplete | Refused):
        return str(error)
    if isinstance(error, ImportError):
        return f"a library is missing: pip install 'gantrain{EXTRAS[url.partition('://')[0]]}'"
    if isinstance(error, TimeoutError):
        return f"nothing came for {STALL_SECONDS} s"
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return f"HTTP status {status}"
    if isinstance(error, OSError) and error.errno and error.errno > 0:  # not a name's look-up
        return os.strerror(error.errno)
    return "it is not there" if isinstance(error, FileNotFoundError) else type(error).__name__


def index_folder(url: str, cache: Path) -> Path:
    """Return a folder below `cache` with the index of the data set at `url`, checked.

    Raises UserError, in one line, if there is no index, or it is not sound, or cannot be fetched.
    """
    cache.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(url.encode())
    with TemporaryDirectory(dir=cache, prefix=".index-") as temporary:
        folder = Path(temporary, "index")
        folder.mkdir()
        try:
            fetch(f"{url}/index.json", folder / "index.json", limit=MOST_INDEX_BYTES)
            digest.update(hashlib.sha256((folder / "index.json").read_bytes()).digest())
            # The shards lie where the index does, whatever base the server names.
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
            raise UserError(str(error).replace(str(folder), url)) from None
