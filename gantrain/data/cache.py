"""Remote shards on the node's own disk: each fetched once, by whichever process needs it first."""

import hashlib
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from gantrain.core.files import file_lock
from gantrain.data.remote import FetchFailed, fetch

IDLE_SECONDS = 60  # what was touched since then may be another run's, and needed

Remote = tuple[str, int]  # a shard's URL and length in bytes


class _CachedShard(NamedTuple):
    """A file of the cache, in the order of eviction."""

    touched: float
    bytes: int
    path: Path


def cache_folder() -> Path:
    """Return the folder that keeps data sets: $GANTRAIN_CACHE, else one in the user's cache."""
    users = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("GANTRAIN_CACHE") or users / "gantrain")


def gib(size: float) -> str:
    """Return bytes as GiB, rounded up, so that the number is enough."""
    return f"{(size + 2**20) / 2**30:.3f}"


class ShardCache:
    """Whole shards in a folder of at most `limit` bytes, shared by processes, workers and runs.

    A shard is NAME-1, or NAME-2 if it was fetched again because its bytes were wrong. NAME is a
    hash of URL and size. NAME.partial is a fetch in progress: it counts with its full length, and
    the holder of NAME.lock writes it. The least recently touched shards are evicted first; a
    process that has one open still reads it.
    """

    def __init__(self, folder: Path, limit: float) -> None:
        self.folder = folder
        self.limit = limit

    def open(self, shard: Remote, again: bool = False) -> int:
        """Return a descriptor of the whole shard, which is fetched where it is missing.

        again: distrust the shard that is there; it is fetched one more time in all. Raises
        FetchFailed.
        """
        while True:
            path = self._find(shard, again)
            if path:
                with suppress(FileNotFoundError):  # evicted meanwhile
                    descriptor = os.open(path, os.O_RDONLY)
                    self.touch([shard])
                    return descriptor
            self.fetch(shard, again)

    def touch(self, shards: Iterable[Remote], age_seconds: float = 0) -> None:
        """Count the shards as used `age_seconds` ago."""
        then = time.time() - age_seconds
        for path in filter(None, map(self._find, shards)):
            with suppress(FileNotFoundError):
                os.utime(path, (then, then))

    def prefetch(self, shard: Remote) -> bool:
        """Fetch the shard unless it is there, is being fetched, or would evict a needed one.

        Returns whether it was fetched. Raises FetchFailed after a single try.
        """
        with suppress(ValueError):  # another one holds the lock
            return not self._find(shard) and self.fetch(shard, urgent=False)
        return False

    def fetch(self, shard: Remote, again: bool = False, urgent: bool = True) -> bool:
        """Fetch a shard, and return whether this call fetched it.

        again: whether a shard that is there is distrusted. urgent: wait for other fetches and for
        room; otherwise wait for nothing. Raises FetchFailed.
        """
        url, size = shard
        place = self._place(shard)
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
        """Make `partial` with its full length, and evict idle shards until it fits.

        idle_seconds: how long a shard must have been untouched. Returns whether it fits. Raises
        FetchFailed for a shard that is larger than the cache.
        """
        if size > self.limit:
            needed = f"a shard has {gib(size)}; data.cache_gib={gib(size)} holds it"
            raise FetchFailed(f"data.cache_gib: found {self.limit / 2**30:.4g}, {needed}")
        partial.unlink(missing_ok=True)
        with file_lock(self.folder / "room.lock", wait=True):
            used, idle = self._survey(idle_seconds)
            used += size
            if used - sum(shard.bytes for shard in idle) > self.limit:
                return False
            for shard in idle:
                if used <= self.limit:
                    break
                shard.path.unlink()
                used -= shard.bytes
            with partial.open("wb") as file:
                file.truncate(size)
        return True

    def _survey(self, idle_seconds: float) -> tuple[int, list[_CachedShard]]:
        """Return the bytes of all files, and the shards that are idle, the longest idle first.

        What a killed fetch left is removed.
        """
        used = 0
        idle = []
        for path in self.folder.iterdir():
            with suppress(FileNotFoundError):
                if path.suffix == ".partial":
                    with suppress(ValueError), file_lock(path.with_suffix(".lock"), wait=False):
                        path.unlink()  # nobody fetches it: its writer was killed
                status = path.stat()
                used += status.st_size
                if not path.suffix and status.st_mtime <= time.time() - idle_seconds:
                    idle.append(_CachedShard(status.st_mtime, status.st_size, path))
        return used, sorted(idle)
