"""Remote shards on the node's own disk: each fetched once, by whichever process needs it first."""

import hashlib
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from gantrain.core.files import file_lock
from gantrain.data.remote import FetchFailed, fetch

IDLE_SECONDS = 60  # what was touched since then may be another run's, and needed

Remote = tuple[str, int]  # a shard's URL and length in bytes


def cache_folder() -> Path:
    """Where data sets are kept: $GANTRAIN_CACHE, else the user's cache folder."""
    users = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("GANTRAIN_CACHE") or users / "gantrain")


def gib(size: float) -> str:
    """Bytes as GiB, rounded up, so that the number is enough."""
    return f"{(size + 2**20) / 2**30:.3f}"


class ShardCache:
    """Whole shards in a folder of at most `limit` bytes, shared by processes, workers and runs.

    A shard is NAME-1, or NAME-2 if it was fetched again since its bytes weren't right; NAME is a
    hash of URL and size. What a fetch has got so far is NAME.partial: it counts with its full
    length, and whoever holds NAME.lock writes it. The least recently touched shards go first; a
    process that has one open still reads it."""

    def __init__(self, folder: Path, limit: float) -> None:
        self.folder, self.limit = folder, limit

    def open(self, shard: Remote, again: bool = False) -> int:
        """A descriptor of the whole shard, fetched where it isn't there; `again` distrusts it.

        Distrusted, it is fetched once more in all. Raises FetchFailed.
        """
        while True:
            if path := self._find(shard, again):
                with suppress(FileNotFoundError):  # evicted meanwhile
                    descriptor = os.open(path, os.O_RDONLY)
                    self.touch([shard])
                    return descriptor
            self.fetch(shard, again)

    def touch(self, shards: Iterable[Remote], age_seconds: float = 0) -> None:
        """Count the shards as used so long ago."""
        then = time.time() - age_seconds
        for path in filter(None, map(self._find, shards)):
            with suppress(FileNotFoundError):
                os.utime(path, (then, then))

    def prefetch(self, shard: Remote) -> bool:
        """Fetch the shard unless it is there, is being fetched, or would push out a needed one.

        Returns whether it was fetched. Raises FetchFailed after a single try.
        """
        with suppress(ValueError):  # another one holds the lock
            return not self._find(shard) and self.fetch(shard, urgent=False)
        return False

    def fetch(self, shard: Remote, again: bool = False, urgent: bool = True) -> bool:
        """Returns whether this call fetched it; not urgently, it waits for nothing."""
        (url, size), place = shard, self._place(shard)
        partial = place.with_suffix(".partial")
        self.folder.mkdir(parents=True, exist_ok=True)
        with file_lock(place.with_suffix(".lock"), wait=urgent):
            if self._find(shard, again):
                return False
            while not self._reserve(partial, size, 0 if urgent else IDLE_SECONDS):
                if not urgent:
                    return False
                time.sleep(0.2)  # others' fetches fill the folder: until they have ended
            try:
                fetch(url, partial, size, None if urgent else 1)
                partial.rename(f"{place}-{2 if again else 1}")
                if again:
                    Path(f"{place}-1").unlink(missing_ok=True)
            finally:
                partial.unlink(missing_ok=True)
        return True

    def _place(self, shard: Remote) -> Path:
        return self.folder / hashlib.sha256(f"{shard[0]}\n{shard[1]}".encode()).hexdigest()[:32]

    def _find(self, shard: Remote, again: bool = False) -> Path | None:
        for number in "2" if again else "21":
            path = Path(f"{self._place(shard)}-{number}")
            with suppress(FileNotFoundError):
                if path.stat().st_size == shard[1]:
                    return path
        return None

    def _reserve(self, partial: Path, size: int, idle_seconds: float) -> bool:
        """Begin `partial` with its length; evict what has been idle so long until it fits."""
        if size > self.limit:
            needed = f"a shard has {gib(size)}; data.cache_gib={gib(size)} holds it"
            raise FetchFailed(f"data.cache_gib: found {self.limit / 2**30:.4g}, {needed}")
        partial.unlink(missing_ok=True)
        with file_lock(self.folder / "room.lock", wait=True):
            used, shards = size, []
            for path in self.folder.iterdir():
                with suppress(FileNotFoundError):
                    if path.suffix == ".partial":
                        with suppress(ValueError), file_lock(path.with_suffix(".lock"), wait=False):
                            path.unlink()  # nobody fetches it: its writer was killed
                    status = path.stat()
                    used += status.st_size
                    if not path.suffix and status.st_mtime <= time.time() - idle_seconds:
                        shards.append((status.st_mtime, status.st_size, path))
            shards.sort(reverse=True)
            if used - sum(length for _, length, _ in shards) > self.limit:
                return False
            while used > self.limit:
                _, length, path = shards.pop()
                path.unlink()
                used -= length
            with partial.open("wb") as file:
                file.truncate(size)
        return True
